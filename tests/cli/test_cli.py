"""Run `polarc` as people and programs do: what it prints, where, and with which exit code it ends."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import torch

import polarchive as pol
from polarchive.cli.exits import Exit
from polarchive.cli.main import main
from polarchive.training.seeds import probe
from tests.workloads import load, threads

JUDGE: Final = Path(__file__).with_name("judge.py")
EXECUTABLE: Final = Path(sys.executable).with_name("polarc")
EVERY: Final = 2
CODE: Final = load(JUDGE)


@dataclass(frozen=True)
class Ended:
    """Hold how a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=refuse)


@dataclass(frozen=True)
class Place:
    """Hold where the keys and archives of this module's prover lie."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def record(self, name: str, build: Callable[..., pol.TorchTrainer] = CODE.build, steps: int = 6) -> Iterator[int]:
        """Record a run, handing each step out after it is recorded and before it is taken."""
        torch.manual_seed(0)
        trainer = build(None, "cpu")
        signer = pol.load_signer(self / "alice.key")
        settings = {"every": EVERY, "signer": signer, "seed": 0, "run": bytes(16), "background": False}
        with pol.Writer(self / name, trainer, **settings) as log:
            for step in range(steps):
                log.record(CODE.batches(step))
                yield step
                trainer.step([CODE.batches(step)])

    def verify(self, path: str | Path, *more: str, secret: str = "run/secret", **functions: str) -> Ended:
        """Verify one archive of this place, with the functions of the judge's file."""
        chosen = {"trainer": "build", "batches": "batches", **functions}
        given = (part for name, function in chosen.items() for part in (f"--{name}", f"{JUDGE}:{function}"))
        return polarc("verify", self / path, "--key", self / "alice.pub", *given, "--secret", self / secret, *more)

    def seal(self, path: str | Path, *more: str) -> Ended:
        """Check the seal of one archive of this place."""
        return polarc("verify", self / path, "--key", self / "alice.pub", *more)


def polarc(*arguments: object) -> Ended:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), threads(1), pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def run(*command: object, **variables: str) -> Ended:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=os.environ | variables, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def is_one_line(text: str) -> bool:
    return text.count("\n") == 1 and text.endswith("\n") and "Traceback" not in text


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Make a key and an honest, finished run of three segments, and seal it."""
    place = Place(tmp_path_factory.mktemp("cli"))
    assert polarc("keygen", "alice.example", "-o", place / "alice").code == Exit.OK
    assert list(place.record("run")) == list(range(6))
    assert polarc("pack", place / "run", "-o", place / "run.pol").code == Exit.OK
    return place


# keygen, pack, inspect


def test_keygen_keeps_the_private_key_private(tmp_path: Path) -> None:
    made = polarc("keygen", "bob.example", "-o", tmp_path / "bob")
    assert made.code == Exit.OK and (tmp_path / "bob.pub").read_text().strip() in made.out
    assert (tmp_path / "bob.key").stat().st_mode & 0o077 == 0


def test_keygen_overwrites_nothing(place: Place) -> None:
    before = (place / "alice.key").read_bytes()
    again = polarc("keygen", "alice.example", "-o", place / "alice")
    assert again.code == Exit.USAGE and is_one_line(again.err)
    assert (place / "alice.key").read_bytes() == before


def test_keygen_refuses_a_name_that_is_none(tmp_path: Path) -> None:
    assert polarc("keygen", "not a name", "-o", tmp_path / "key").code == Exit.USAGE
    assert list(tmp_path.iterdir()) == []


def test_pack_tells_the_digest_that_verdicts_name(place: Place) -> None:
    packed = polarc("pack", place / "run", "-o", place / "again.pol")
    assert packed.code == Exit.OK and "3 segments" in packed.out
    assert packed.out.split()[-1] == place.verify("run.pol", "--json").json["archive"]


def test_pack_names_the_file_that_it_cannot_write(place: Place) -> None:
    refused = polarc("pack", place / "run", "-o", place / "missing" / "run.pol")
    assert refused.code == Exit.USAGE and f"there is no folder {place / 'missing'}\n" in refused.err


def test_pack_leaves_the_secret_out(place: Place) -> None:
    secret = (place / "run/secret").read_text().strip()
    sealed = (place / "run.pol").read_bytes()
    assert secret.encode() not in sealed and bytes.fromhex(secret) not in sealed


def test_pack_refuses_what_is_no_run(tmp_path: Path) -> None:
    refused = polarc("pack", tmp_path, "-o", tmp_path / "run.pol")
    assert refused.code == Exit.BROKEN and is_one_line(refused.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["run", "run.pol"])
def test_inspect_says_first_that_nothing_is_verified(name: str, place: Place) -> None:
    seen = polarc("inspect", place / name)
    assert seen.code == Exit.OK and "not verified" in seen.out.splitlines()[0]


@pytest.mark.parametrize("name", ["run", "run.pol"])
def test_inspect_json_counts(name: str, place: Place) -> None:
    facts = polarc("inspect", place / name, "--json").json
    counted = {"segments": 3, "steps": 6, "records": 48, "heads": 5, "verified": False, "finished": True}
    assert facts.items() >= counted.items()
    assert 0 < facts["raw_bytes"] < facts["stored_bytes"]


def test_inspect_imports_no_torch(place: Place, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    assert run(EXECUTABLE, "inspect", place / "run.pol", PYTHONPATH=str(tmp_path)).code == Exit.OK
    assert run(EXECUTABLE, "--help", PYTHONPATH=str(tmp_path)).code == Exit.OK
    assert "torch was imported" in run(sys.executable, "-c", "import torch", PYTHONPATH=str(tmp_path)).err


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system does not count what a process reads")
def test_inspect_of_100_megabytes_reads_less_than_one(place: Place, tmp_path: Path) -> None:
    record_large(place, tmp_path / "large")
    large = tmp_path / "large.pol"
    assert polarc("pack", tmp_path / "large", "-o", large).code == Exit.OK and large.stat().st_size > 100e6
    seen = run(sys.executable, "-c", COUNT_READ, place / "run.pol", large)
    *_, read = map(int, seen.out.split())
    assert 1000 < read < 1_000_000


def record_large(place: Place, folder: Path) -> None:
    """Record five states of 20 MiB of noise, which no coding makes smaller."""
    noise = torch.zeros(20 << 20, dtype=torch.uint8)
    noise.random_()
    trainer = pol.TorchTrainer(noise=noise)
    with pol.Writer(folder, trainer, every=1, signer=pol.load_signer(place / "alice.key")) as log:
        for _ in range(4):
            log.record(torch.zeros(1))
            noise.random_()


# The first inspection imports what there is to import; the second is counted.
COUNT_READ: Final = """
import re, sys
from pathlib import Path
from polarchive.format.inspect import inspect

def characters_read():
    return int(re.search(r"rchar: ([0-9]+)", Path("/proc/self/io").read_text())[1])

inspect(sys.argv[1])
before = characters_read()
assert inspect(sys.argv[2]).raw_bytes > 100e6
print(characters_read() - before)
"""


# verify: the seal alone


def test_seal_alone_gives_no_verdict(place: Place) -> None:
    said = place.seal("run.pol")
    assert said.code == Exit.OK and "no verdict" in said.out
    facts = place.seal("run.pol", "--json").json
    assert facts["verdict"] is None and facts["reasons"] == facts["segments"] == []


def test_untrusted_key_breaks_the_seal(place: Place) -> None:
    polarc("keygen", "bob.example", "-o", place / "bob")
    refused = polarc("verify", place / "run.pol", "--key", place / "bob.pub")
    assert refused.code == Exit.BROKEN and is_one_line(refused.err) and refused.out == ""
    both = polarc("verify", place / "run.pol", "--key", place / "bob.pub", "--key", place / "alice.pub")
    assert both.code == Exit.OK


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"no archive", bytes(5000)])
def test_no_archive_is_broken(content: bytes, place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    for ended in (place.seal(tmp_path / "file"), polarc("inspect", tmp_path / "file")):
        assert ended.code == Exit.BROKEN and is_one_line(ended.err) and ended.out == ""


@pytest.mark.parametrize("share", range(12))
def test_truncated_archive_is_broken(share: int, place: Place, tmp_path: Path) -> None:
    whole = (place / "run.pol").read_bytes()
    (tmp_path / "short.pol").write_bytes(whole[: len(whole) * share // 12 or -1])
    refused = place.seal(tmp_path / "short.pol")
    assert refused.code == Exit.BROKEN and is_one_line(refused.err) and refused.out == ""


@pytest.mark.parametrize("share", range(40))
def test_flipped_bit_is_broken(share: int, place: Place, tmp_path: Path) -> None:
    data = bytearray((place / "run.pol").read_bytes())
    data[len(data) * share // 40] ^= 1 << share % 8
    (tmp_path / "flipped.pol").write_bytes(data)
    refused = place.seal(tmp_path / "flipped.pol")
    assert refused.code == Exit.BROKEN and is_one_line(refused.err) and refused.out == ""


def test_flipped_bit_is_broken_for_the_executable_too(place: Place, tmp_path: Path) -> None:
    data = bytearray((place / "run.pol").read_bytes())
    data[-1000] ^= 1
    (tmp_path / "flipped.pol").write_bytes(data)
    refused = run(EXECUTABLE, "verify", tmp_path / "flipped.pol", "--key", place / "alice.pub")
    assert refused.code == Exit.BROKEN and is_one_line(refused.err) and refused.out == ""


# verify: the replay


def test_honest_run_is_accepted(place: Place) -> None:
    accepted = place.verify("run.pol", "--exact")
    assert accepted.code == Exit.OK and accepted.out.startswith("ACCEPTED: 3 of 3 segments")
    assert accepted.err == ""


def test_verdict_as_json(place: Place) -> None:
    verdict = place.verify("run.pol", "--exact", "--json").json
    assert verdict["verdict"] == "accepted" and verdict["reasons"] == []
    found = [(each["index"], each["start"], each["steps"], each["accepted"]) for each in verdict["segments"]]
    assert found == [(0, 0, 2, True), (1, 2, 2, True), (2, 4, 2, True)]
    for segment in verdict["segments"]:
        assert len(segment["errors"]) == 8 and set(segment["errors"].values()) == {0.0}


def test_executable_verifies(place: Place) -> None:
    judged = run(
        EXECUTABLE, "verify", place / "run.pol", "--key", place / "alice.pub", "--secret", place / "run/secret",
        "--trainer", f"{JUDGE}:build", "--batches", f"{JUDGE}:batches", "--json",
    )  # fmt: skip
    assert judged.code == Exit.OK and judged.json["verdict"] == "accepted"


def test_tampered_run_is_rejected(place: Place) -> None:
    assert len(list(place.record("tampered", build=lambda header, device: CODE.with_weight(lambda: 2.0)))) == 6
    rejected = place.verify("tampered", secret="tampered/secret")
    assert rejected.code == Exit.REJECTED and rejected.out.startswith("REJECTED")
    facts = place.verify("tampered", "--json", secret="tampered/secret").json
    assert facts["verdict"] == "rejected" and not facts["segments"][0]["accepted"]
    assert {"check", "segment", "tensor", "error", "allowed"} <= facts["reasons"][0].keys()


@pytest.mark.parametrize("functions", [{"batches": "other_batches"}, {"secret": "wrong"}], ids=["batches", "secret"])
def test_batches_that_do_not_open_are_rejected(functions: dict[str, str], place: Place) -> None:
    (place / "wrong").write_text("00" * 32 + "\n")
    rejected = place.verify("run.pol", "--json", **functions)
    assert rejected.code == Exit.REJECTED
    assert [(reason["check"], reason["step"]) for reason in rejected.json["reasons"]] == [
        ("openings", 0), ("openings", 2), ("openings", 4)
    ]  # fmt: skip


def test_unfinished_run_is_inconclusive(place: Place) -> None:
    recording = place.record("unfinished")
    assert [next(recording) for _ in range(6)] == list(range(6))
    recording.close()  # as if the process were interrupted: the third segment never closes
    ended = place.verify("unfinished", secret="unfinished/secret")
    assert ended.code == Exit.INCONCLUSIVE and "unfinished" in ended.out


@pytest.mark.parametrize("segments", ["3", "3:", "50:60", "2:1"])
def test_segments_that_the_run_does_not_have(segments: str, place: Place) -> None:
    ended = place.verify("run.pol", "--segments", segments)
    assert ended.code == Exit.USAGE and ended.out == ""
    assert f"this run has 3 segments, counted from 0: none of them is in --segments {segments}\n" in ended.err


@pytest.mark.parametrize("option", ["--report", "--html"])
@pytest.mark.parametrize("target", ["missing/x", "run.pol/x"])
def test_file_that_cannot_be_written_is_refused_before_the_replay(option: str, target: str, place: Place) -> None:
    ended = place.verify("run.pol", option, str(place / target), trainer="build_raising")
    assert ended.code == Exit.USAGE and f"there is no folder {(place / target).parent}" in ended.err


@pytest.mark.parametrize("option", ["--report", "--html"])
def test_verdict_is_told_before_files_are_written(
    option: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polarchive.format.disk.Raw", lambda path, mode: (path.parent / "gone" / "file").open(mode))
    ended = place.verify("run.pol", option, str(tmp_path / "x"))
    assert ended.code == Exit.USAGE and ended.out.startswith("ACCEPTED")
    assert ended.err == f"polarc: {tmp_path / 'gone' / 'file'}: No such file or directory\n"


# verify: a rehearsal, while the run grows


def test_rehearsal_of_a_growing_run_finds_nothing_but_its_missing_end(place: Place) -> None:
    for step in place.record("growing"):
        if step == 5:
            rehearsed = place.verify("growing", "--segments", "0:2", "--exact", "--json", secret="growing/secret")
    assert rehearsed.code == Exit.INCONCLUSIVE
    assert [reason["check"] for reason in rehearsed.json["reasons"]] == ["end"]
    assert [segment["index"] for segment in rehearsed.json["segments"]] == [0, 1]


def test_rehearsal_names_a_tensor_that_undeclared_state_changes(place: Place) -> None:
    for step in place.record("undeclared", build=CODE.build_with_undeclared_state):
        if step == 5:
            rehearsed = place.verify(
                "undeclared", "--segments", "0:2", secret="undeclared/secret", trainer="build_with_undeclared_state"
            )
    assert rehearsed.code == Exit.REJECTED
    assert "FAIL segment 1" in rehearsed.out and "model/0.weight" in rehearsed.out


# verify: what is not the archive's fault


def test_missing_file_is_a_usage_error(place: Place) -> None:
    assert place.seal("missing.pol").code == Exit.USAGE
    assert polarc("inspect", place / "missing.pol").code == Exit.USAGE


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify"],
        ["verify", "run.pol"],
        ["verify", "run.pol", "--key", "alice.pub", "--trainer", f"{JUDGE}:build"],
        ["verify", "run.pol", "--key", "alice.pub", "--unknown"],
        ["no-such-command"],
    ],
    ids=["no file", "no key", "no batches", "unknown option", "unknown command"],
)
def test_bad_usage(arguments: list[str], place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place.folder)
    ended = polarc(*arguments)
    assert ended.code == Exit.USAGE and ended.err and ended.out == "" and "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--model", JUDGE], "--model"),
        (["--policy", "exact"], "--policy"),
        (["--select", "every", "--device", "cpu"], "--device, --select"),
        (["--workers", "2"], "--workers"),
        (["--batches", f"{JUDGE}:batches"], "--batches"),
        (["--exact"], "--exact"),
    ],
    ids=["model", "policy", "two", "workers", "batches", "flag"],
)
def test_options_of_a_replay_are_not_ignored_without_one(given: list[object], named: str, place: Place) -> None:
    ended = polarc("verify", place / "run.pol", "--key", place / "alice.pub", *given)
    assert ended.code == Exit.USAGE and ended.out == "" and "they tell of a replay, which needs --trainer" in ended.err
    assert all(each in ended.err for each in named.split(", "))


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", "cpu,cuda:99"])
def test_device_that_is_not_here_is_refused_before_anything_is_read(device: str, place: Place, tmp_path: Path) -> None:
    (tmp_path / "none.pol").write_bytes(b"no archive")
    ended = place.verify(tmp_path / "none.pol", "--device", device)
    assert ended.code == Exit.USAGE and ended.out == ""
    refused = device.rpartition(",")[2]
    assert f"Error: --device {refused}: this machine has no such device; use --device cpu\n" in ended.err


@pytest.mark.parametrize("segments", ["x", "0:y", "0:1:2"])
def test_segments_that_are_no_range(segments: str, place: Place) -> None:
    assert place.verify("run.pol", "--segments", segments).code == Exit.USAGE


@pytest.mark.parametrize("function", ["missing", "not_callable"])
def test_function_that_is_not_there(function: str, place: Place) -> None:
    ended = place.verify("run.pol", trainer=function)
    assert ended.code == Exit.USAGE and f"judge.py has no function {function}" in ended.err


def test_file_that_is_not_there(place: Place) -> None:
    ended = polarc("verify", place / "run.pol", "--key", place / "alice.pub", "--trainer", "x.py:f", "--batches", "y")
    assert ended.code == Exit.USAGE and "x.py:f" in ended.err


def test_secret_or_policy_that_is_not_there(place: Place) -> None:
    secret = place.verify("run.pol", secret="nope")
    assert secret.code == Exit.USAGE and f"File '{place / 'nope'}' does not exist" in secret.err
    policy = place.verify("run.pol", "--policy", "nope.toml")
    assert (policy.code, policy.err) == (Exit.USAGE, "polarc: nope.toml: No such file or directory\n")


def test_salted_run_needs_its_secret(place: Place) -> None:
    trainer, batches = f"{JUDGE}:build", f"{JUDGE}:batches"
    ended = place.seal("run.pol", "--trainer", trainer, "--batches", batches)
    assert ended.code == Exit.USAGE and "--secret" in ended.err


@pytest.mark.parametrize(
    ("functions", "line", "error"),
    [
        ({"trainer": "build_raising"}, 'FileNotFoundError("no such model")', "FileNotFoundError: no such model"),
        ({"trainer": "build_that_steps_into_an_error"}, '1 / len("")', "ZeroDivisionError: "),
        ({"trainer": "build_that_exits"}, "sys.exit(0)", "SystemExit: 0"),
        ({"batches": "batches_raising"}, "raise KeyError", "KeyError: 'no batch"),
    ],
    ids=["build", "step", "exit", "batches"],
)
def test_raising_judge_is_told_file_and_line(functions: dict[str, str], line: str, error: str, place: Place) -> None:
    number = next(number for number, text in enumerate(JUDGE.read_text().splitlines(), 1) if line in text)
    ended = place.verify("run.pol", **functions)
    assert ended.code == Exit.INTERNAL and is_one_line(ended.err) and ended.out == ""
    assert f"judge.py line {number}: {error}" in ended.err


def test_judge_that_draws_other_numbers_is_told_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe([]).keys() == {"cpu"}
    monkeypatch.setattr("polarchive.training.seeds.probe", lambda devices: {"cpu": bytes(32)})
    monkeypatch.setattr("polarchive.training.seeds.TAG", b"another")
    assert place.verify("run.pol").code == Exit.INCONCLUSIVE
