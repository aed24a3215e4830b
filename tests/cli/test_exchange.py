"""Let a judge ask and a prover answer, by files and over the network, as two people do who share only their keys."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import polarchive as pol
from polarchive.cli.exits import Exit
from polarchive.exchange import releases
from polarchive.exchange.releases import Admitted, Refused, Released
from tests.cli.test_cli import CODE, EXECUTABLE, JUDGE, Ended, is_one_line, polarc

SEGMENTS = 4
OURS = ("--trainer", f"{JUDGE}:build")


@dataclass(frozen=True)
class Two:
    """Hold what prover and judge have: keys, a run whose every second state is stored, and the judge's ledger."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def challenge(self, *more: object, own: str = "bob", run: str = "run.pol") -> Ended:
        ours = ("--as", self / f"{own}.key", "--ledger", self / f"{own}.ledger", "--key", self / "alice.pub")
        return polarc("challenge", self / run, *ours, "-o", self / "challenge.json", *more)

    def respond(self, *more: object, judge: str = "bob", batches: str = "batches") -> Ended:
        shown = ("--batches", f"{JUDGE}:{batches}", "--trainer", f"{JUDGE}:build")
        ours = ("--as", self / "alice.key", "--judge", self / f"{judge}.pub", "-o", self / "answer.polr")
        return polarc("respond", self / "challenge.json", self / "run", *ours, *shown, *more)

    def verify(self, batches: object, *more: object, own: str = "bob", run: str = "run.pol") -> Ended:
        ours = ("--as", self / f"{own}.key", "--ledger", self / f"{own}.ledger", "--key", self / "alice.pub")
        return polarc("verify", self / run, *ours, *OURS, "--batches", batches, "--exact", *more)

    @contextmanager
    def serving(
        self, batches: str = "batches", judge: str = "bob", run: str = "run", code: Path = JUDGE
    ) -> Iterator[str]:
        """Serve the run in a process of its own, and give its address."""
        shown = ("--batches", f"{code}:{batches}", "--trainer", f"{code}:build", "--port", "0")
        ours = ("--as", self / "alice.key", "--judge", self / f"{judge}.pub", "--releases", self / "released.jsonl")
        command = [str(part) for part in (EXECUTABLE, "serve", self / run, "--unstamped", *ours, *shown)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, env=environment, **pipes) as process:  # type: ignore[call-overload]
            line = process.stdout.readline()
            assert "serving" in line, process.stderr.read()
            yield re.findall(r"https://\S+", line)[0]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0 and process.stdout.read() == "stopped\n"

    def released(self) -> list[str]:
        return [fact.part for fact in releases.read(self / "released.jsonl") if isinstance(fact, Released)]


@pytest.fixture
def two(tmp_path: Path) -> Two:
    two = Two(tmp_path)
    for name in ("alice", "bob", "eve"):
        assert polarc("keygen", f"{name}.example", "-o", two / name).code == Exit.OK
    record(two)
    return two


def record(two: Two, name: str = "run", store: int = 2) -> None:
    """Record a run under a run id and a secret of its own, and seal it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    trainer = CODE.build(None, "cpu")
    settings = {
        "every": 2,
        "signer": pol.load_signer(two / "alice.key"),
        "seed": 0,
        "store": store,
        "background": False,
    }
    with pol.Writer(two / name, trainer, **settings) as log:
        for step in range(2 * SEGMENTS):
            log.record(CODE.batches(step))
            trainer.step([CODE.batches(step)])
    assert polarc("pack", two / name, "-o", two / f"{name}.pol").code == Exit.OK


# By files.


def test_an_answered_challenge_is_accepted(two: Two) -> None:
    asked = two.challenge()
    assert asked.code == Exit.OK and "4 segments, 8 steps, 2 states" in asked.out
    assert two.respond().code == Exit.OK
    judged = two.verify(two / "answer.polr")
    assert judged.code == Exit.OK, judged.out + judged.err
    assert "3 of 5 stored; 2 shown by the prover" in judged.out


def test_a_challenge_asked_again_is_the_same(two: Two) -> None:
    two.challenge("--select", "sample:1")
    first = json.loads((two / "challenge.json").read_text())
    two.challenge("--select", "sample:1")
    second = json.loads((two / "challenge.json").read_text())
    assert (first["nonce"], first["segments"]) == (second["nonce"], second["segments"])
    two.challenge("--select", "sample:1", own="eve")
    assert json.loads((two / "challenge.json").read_text())["nonce"] != first["nonce"]


@pytest.mark.parametrize("select", ["sample:1", "top:1", "top:1+1", "epoch:32:1"])
def test_what_is_drawn_is_all_that_is_shown(select: str, two: Two) -> None:
    two.challenge("--select", select)
    chosen = json.loads((two / "challenge.json").read_text())["segments"]
    two.respond()
    judged = two.verify(two / "answer.polr", "--select", select, "--json")
    assert judged.code == Exit.OK, judged.out + judged.err
    assert [str(segment["index"]) for segment in judged.json["segments"]] == chosen and len(chosen) < SEGMENTS
    assert 0 <= judged.json["odds"]["one"] <= judged.json["odds"]["tenth"] <= 1


def test_answers_for_other_segments_are_said_to_be(two: Two) -> None:
    two.challenge("--select", "sample:1")
    two.respond()
    judged = two.verify(two / "answer.polr")
    assert judged.code == Exit.USAGE and "other segments" in judged.err and is_one_line(judged.err)


def test_a_prover_is_kept_from_signing_other_batches(two: Two) -> None:
    two.challenge()
    answered = two.respond(batches="other_batches")
    assert answered.code == Exit.USAGE and "step 0: the records shown are not the ones committed" in answered.err
    assert is_one_line(answered.err) and not (two / "answer.polr").exists()


def test_signed_batches_that_are_wrong_reject(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    two.challenge()
    monkeypatch.setattr("polarchive.cli.proving.showing.check", lambda *_: None)
    monkeypatch.setattr("polarchive.verification.states._is_committed", lambda *_: True)
    assert two.respond(batches="other_batches").code == Exit.OK
    monkeypatch.undo()
    judged = two.verify(two / "answer.polr", "--json")
    assert judged.code == Exit.REJECTED
    assert {reason["check"] for reason in judged.json["reasons"]} == {"openings"}


def test_answers_to_another_judges_challenge_are_refused(two: Two) -> None:
    two.challenge(own="eve")
    assert two.respond(judge="eve").code == Exit.OK
    judged = two.verify(two / "answer.polr")
    assert judged.code == Exit.USAGE and "another challenge" in judged.err


def test_a_prover_answers_the_judges_it_names_only(two: Two) -> None:
    two.challenge(own="eve")
    answered = two.respond()
    assert answered.code == Exit.USAGE and "no --judge names" in answered.err and is_one_line(answered.err)
    assert not (two / "answer.polr").exists()


def test_a_damaged_answer_is_refused(two: Two) -> None:
    two.challenge()
    two.respond()
    data = bytearray((two / "answer.polr").read_bytes())
    data[len(data) // 2] ^= 1
    (two / "answer.polr").write_bytes(data)
    assert two.verify(two / "answer.polr").code in (Exit.REJECTED, Exit.BROKEN)


def test_an_answer_may_be_encrypted_to_the_judge(two: Two) -> None:
    pytest.importorskip("pyrage")
    two.challenge()
    assert two.respond("--encrypt").code == Exit.USAGE
    assert two.respond("--encrypt", "-o", two / "answer.polr.age").code == Exit.OK
    assert b"batch-0000" not in (two / "answer.polr.age").read_bytes()
    assert two.verify(two / "answer.polr.age").code == Exit.OK
    stranger = two.verify(two / "answer.polr.age", own="eve")
    assert stranger.code == Exit.USAGE and is_one_line(stranger.err)


def test_an_earlier_challenge_is_named(two: Two) -> None:
    """The prover had shown an unfinished run; the judge asked, and then came the whole one."""
    journal = (two / "run" / "journal").read_bytes()
    (two / "short").mkdir()
    (two / "short" / "journal").write_bytes(journal[: journal.rindex(b"E{")])
    (two / "short" / "states").symlink_to(two / "run" / "states")
    assert two.challenge(run="short").code == Exit.OK
    two.challenge()
    two.respond()
    judged = two.verify(two / "answer.polr")
    assert judged.code == Exit.OK, judged.out + judged.err
    assert "challenge about the head of size 5: never finished" in judged.out


# Over the network.


def test_a_served_run_is_accepted(two: Two) -> None:
    with two.serving() as url:
        judged = two.verify(url)
    assert judged.code == Exit.OK, judged.out + judged.err
    parts = two.released()
    assert len(parts) == len(set(parts)) == 2 * SEGMENTS + 2


def test_only_what_is_drawn_is_served(two: Two) -> None:
    with two.serving() as url:
        judged = two.verify(url, "--select", "sample:0", "--json")
    assert judged.code == Exit.OK, judged.out + judged.err
    steps = {int(part.split("-")[1]) for part in two.released() if part.startswith("batch")}
    assert steps == {0, 1, 6, 7}


def test_wrong_data_over_the_network_are_refused(two: Two) -> None:
    with two.serving(batches="other_batches") as url:
        judged = two.verify(url, "--json")
    assert judged.code == Exit.REJECTED
    assert {reason["check"] for reason in judged.json["reasons"]} == {"openings"}


def test_what_the_prover_cannot_show_counts_as_withheld(two: Two) -> None:
    with two.serving(batches="batches_raising") as url:
        judged = two.verify(url, "--json")
    assert judged.code == Exit.REJECTED
    assert all(reason["check"] == "openings" and reason["step"] is not None for reason in judged.json["reasons"])


def test_a_stranger_is_not_served(two: Two) -> None:
    with two.serving() as url:
        judged = two.verify(url, own="eve")
    assert judged.code == Exit.INCONCLUSIVE and is_one_line(judged.err) and "does not know your key" in judged.err
    facts = releases.read(two / "released.jsonl")
    assert facts and all(isinstance(fact, Refused) for fact in facts)


@pytest.mark.parametrize("store", [1, 2], ids=["asked for a batch", "asked for a state"])
def test_a_server_that_is_not_there_is_inconclusive(store: int, two: Two) -> None:
    """A batch is asked for while the judge's own code runs, which is not to blame."""
    record(two, "other", store)
    judged = two.verify("https://127.0.0.1:9", "--patience", "0.5", run="other.pol")
    assert judged.code == Exit.INCONCLUSIVE and is_one_line(judged.err)
    assert re.match(f"polarc: {['step', 'state'][store - 1]} [0-9]: no answer from https://127.0.0.1:9", judged.err)


def test_a_refusal_names_its_step_once(two: Two) -> None:
    record(two, "other", store=1)
    with two.serving(run="other") as url:
        assert two.verify(url, "--select", "sample:0", run="other.pol").code == Exit.OK
        judged = two.verify(url, run="other.pol")
    assert judged.code == Exit.REJECTED and "openings: step 2: the prover refuses: 409 another" in judged.out


def test_a_verification_that_was_killed_asks_for_nothing_twice(two: Two) -> None:
    ours = ("--as", two / "bob.key", "--ledger", two / "bob.ledger", "--key", two / "alice.pub", "--exact")
    with two.serving() as url:
        command = [EXECUTABLE, "verify", two / "run.pol", *ours, *OURS, "--batches", url, "--resume"]
        refused = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        assert refused.returncode == Exit.USAGE and "nothing to resume" in refused.stderr
        with subprocess.Popen([str(part) for part in command[:-1]], stdout=subprocess.DEVNULL) as process:
            while len(list((two / "bob.ledger").glob("*/*/batch-*.signature"))) < SEGMENTS:
                assert process.poll() is None
            process.kill()
        judged = two.verify(url, "--resume")
    assert judged.code == Exit.OK, judged.out + judged.err
    facts = releases.read(two / "released.jsonl")
    assert len([fact for fact in facts if isinstance(fact, Admitted)]) == 1
    parts = two.released()
    assert sorted(set(parts)) == sorted(parts) or parts.count(max(parts, key=parts.count)) == 2
