#!/usr/bin/env bash
# Show polarchive at work: an honest run is accepted, a forged one is rejected. Everything it makes is in demo/.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n# %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

verify() { # ARCHIVE KEY RUN: the judge's call, the same for everyone
    run polarc verify "$1" --key "$2" --trainer examples/cifar10.py:build \
        --batches examples/cifar10.py:batches --secret "$3/secret" --report demo/thief.json
}

start() { # LOG COMMAND: start a server and wait for its url
    local log=$1 && shift
    "$@" > "$log" 2> "$log.err" &
    server=$!
    until url=$(grep -o 'https\?://[^ ]*' "$log"); do
        kill -0 "$server" || { cat "$log.err" >&2; exit 1; }
        sleep 0.2
    done
}

rm -rf demo
mkdir demo

say "Alice, a thief and Bob, who will judge, each make a signing key."
run polarc keygen alice.example -o demo/alice
run polarc keygen thief.example -o demo/thief
run polarc keygen bob.example -o demo/bob

say "A timestamp authority answers on this machine (openssl ts, which sends its chain); yours would be a public one."
printf '$ python tools/authority.py demo/authority\n'
start demo/authority.log python tools/authority.py demo/authority
authority=$server tsa=$url
trap 'kill "$authority" "$server" 2> /dev/null || true' EXIT

say "Alice trains ResNet-20 on CIFAR-10 for 60 steps, records the run as it goes, and has it stamped meanwhile."
run python examples/cifar10.py demo/run --steps 60 --every 10 --key demo/alice.key --tsa "$tsa"
run polarc pack demo/run -o demo/run.pol
run polarc inspect demo/run.pol

say "Anyone can check a stamp with openssl alone: the last head existed when the authority says."
python -m zipfile -e demo/run.pol demo/unzipped
tail -n 5 demo/unzipped/30-heads.txt > demo/head.note
cp "$(printf '%s\n' demo/unzipped/50-stamp-* | tail -n 1)" demo/head.tsr
run openssl ts -verify -data demo/head.note -in demo/head.tsr -CAfile demo/authority/ca.pem

say "Alice serves her data to Bob, for the steps that his challenge draws, and to nobody else."
printf '$ polarc serve demo/run --as demo/alice.key --judge demo/bob.pub --batches examples/cifar10.py:batches\n'
start demo/serve.log polarc serve demo/run --as demo/alice.key --judge demo/bob.pub \
    --batches examples/cifar10.py:batches --port 0

say "Bob's trust file names Alice's key and the authority; he replays every step on the data that he is shown."
cp examples/trust.toml demo/trust.toml
run polarc verify demo/run.pol --trust demo/trust.toml --as demo/bob.key --ledger demo/ledger \
    --trainer examples/cifar10.py:build --batches "$url" --report demo/alice.json
kill "$server" && wait "$server"
say "What Alice's server released is on record: $(grep -c '"released"' demo/run.releases.jsonl) batches."

say "The thief never trained: he draws a line from a fresh model to Alice's, and records it with the same writer."
run python examples/forge_interpolation.py demo/run.pol demo/forged --key demo/thief.key
run polarc pack demo/forged -o demo/forged.pol

say "His archive is well formed and signed with a key the judge trusts; the replay must reject it (exit code 1)."
status=0
verify demo/forged.pol demo/thief.pub demo/forged || status=$?
if [ "$status" -ne 1 ]; then
    echo "demo: the forgery should have been rejected with exit code 1, but verify gave $status" >&2
    exit 1
fi

say "Both claim the model, so Bob settles it: by seals, stamps, replay, and how near the weights are."
run polarc dispute demo/run.pol demo/forged.pol --trust demo/trust.toml --key demo/thief.pub \
    --report demo/alice.json --report demo/thief.json --symmetries examples/cifar10.py:symmetries

say "Done: the honest run was accepted, the forged one was rejected, and the dispute is settled."
