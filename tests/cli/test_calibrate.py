"""Calibrate from the command line: what is written, what is said, and what is refused."""

from pathlib import Path

import pytest
import torch

import polarchive as pol
from polarchive.cli.exits import Exit
from polarchive.verification import calibrationfile
from tests.cli.test_cli import CODE, JUDGE, Ended, is_one_line, polarc


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a key and two honest runs of four segments, from other seeds."""
    place = tmp_path_factory.mktemp("calibrate")
    assert polarc("keygen", "alice.example", "-o", place / "alice").code == Exit.OK
    for seed in (0, 1):
        record(place, seed)
    return place


def record(place: Path, seed: int) -> None:
    torch.manual_seed(seed)
    trainer = CODE.build(None, "cpu")
    signer = pol.load_signer(place / "alice.key")
    with pol.Writer(place / f"run{seed}", trainer, every=2, signer=signer, seed=seed, background=False) as log:
        for step in range(8):
            log.record(CODE.batches(step))
            trainer.step([CODE.batches(step)])
    pol.pack(place / f"run{seed}", place / f"run{seed}.pol")


def calibrate(place: Path, *more: object, batches: str = "batches") -> Ended:
    own = ("--trainer", f"{JUDGE}:build", "--batches", f"{JUDGE}:{batches}", "--secret", place / "run0/secret")
    usual = ("--sample", 2, "--tau", 0.5, "-o", place / "calibration.json")
    return polarc("calibrate", place / "run0.pol", "--key", place / "alice.pub", *own, *usual, *more)


def test_calibration_is_written_and_told(place: Path) -> None:
    done = calibrate(place, "--vary", "onednn", "--vary", "float64", "--plot", place / "noise.svg")
    assert (done.code, done.err) == (Exit.OK, ""), done
    found = calibrationfile.load(place / "calibration.json")
    assert [spread.name for spread in found.spreads] == ["the same again", "without oneDNN", "float64"]
    assert [limits.steps for limits in found.limits] == [2, 4] and (found.tau, found.margin) == (0.5, 3.0)
    for told in ("float64", "k = 2, lr up to 0.1", "3 times what 0.5 of", "estimated from one run", "calibration.json"):
        assert told in done.out
    assert "ε_repr" in (place / "noise.svg").read_text()


def test_json_is_one_object_and_d_ref_comes_from_runs(place: Path) -> None:
    runs = ("--runs", place / "run0.pol", "--runs", place / "run1.pol")
    done = calibrate(place, "--vary", "onednn", "--margin", 5, "--threads", 1, *runs, "--json")
    assert done.code == Exit.OK and done.json["d_ref"]["runs"] == 2 and done.json["margin"] == 5
    assert {each["name"] for each in done.json["sources"]} == {"the same again", "without oneDNN"}


def test_help_lists_the_command() -> None:
    assert "calibrate" in polarc("--help").out and "--elsewhere" in polarc("calibrate", "--help").out


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (("--vary", "tf32"), Exit.USAGE, "tf32 cannot be varied on cpu"),
        (("--sample", 1), Exit.USAGE, "τ = 0.5 needs 2 segments of 2 steps, and there are 1"),
        (("--tau", 0.95), Exit.USAGE, "there are 2; lower --tau, raise --sample, or"),
        (("--runs", JUDGE, "--runs", JUDGE), Exit.BROKEN, "zip"),
    ],
)
def test_what_cannot_be_done_is_one_line(options: tuple[object, ...], code: Exit, reason: str, place: Path) -> None:
    done = calibrate(place, *options)
    assert done.code == code and reason in done.err and is_one_line(done.err), done


@pytest.mark.parametrize(
    "options", [("--tau", 1), ("--margin", 0), ("--sample", 0), ("--runs", JUDGE), ("--trainer", "no.py:build")]
)
def test_usage_errors(options: tuple[object, ...], place: Path) -> None:
    assert calibrate(place, *options).code == Exit.USAGE


def test_other_batches_than_those_recorded_are_refused(place: Path) -> None:
    done = calibrate(place, batches="other_batches")
    assert done.code == Exit.USAGE and "committed" in done.err and is_one_line(done.err)


def test_run_of_a_stranger_is_refused(place: Path, tmp_path: Path) -> None:
    polarc("keygen", "eve.example", "-o", tmp_path / "eve")
    own = ("--trainer", f"{JUDGE}:build", "--batches", f"{JUDGE}:batches", "-o", tmp_path / "c.json")
    done = polarc("calibrate", place / "run0.pol", "--key", tmp_path / "eve.pub", *own)
    assert done.code == Exit.BROKEN and not (tmp_path / "c.json").exists()
