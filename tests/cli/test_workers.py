"""Verify with workers from the command line: processes of one's own, and a Dask cluster."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from polarchive.cli.exits import Exit
from polarchive.cli.working import Named
from polarchive.errors import PolError
from tests.cli.test_cli import EXECUTABLE, JUDGE, Place, is_one_line, place, polarc, run
from tests.cli.test_exchange import Two, two

__all__ = ["place", "two"]  # the fixtures


DYING: Final = JUDGE.with_name("dying.py")
MARK: Final = "POLARCHIVE_TEST_MARK"


def verify(place: Place, *more: str, trainer: str = f"{JUDGE}:build", batches: str = "batches") -> list[object]:
    given = ["--trainer", trainer, "--batches", f"{JUDGE}:{batches}", "--secret", place / "run/secret"]
    return ["verify", place / "run.pol", "--key", place / "alice.pub", *given, "--threads", "1", *more]


def same(one: Any, other: Any) -> bool:
    """Tell whether two reports say the same, but for the nonces and what they draw: that is all for a short run."""
    names = ("verdict", "findings", "segments", "recorded_on", "replayed_on", "unexplained")
    return all(one[name] == other[name] for name in names)


@pytest.mark.slow
def test_workers_come_to_the_same_verdict_even_if_one_is_killed(place: Place, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    ended = run(EXECUTABLE, *verify(place, "--json", "--workers", "2", trainer=f"{DYING}:build"), **{MARK: str(killed)})
    assert killed.exists() and (ended.code, ended.err) == (Exit.OK, "")
    assert same(ended.json, polarc(*verify(place, "--json")).json)


@pytest.mark.slow
def test_raising_judge_is_told_file_and_line_from_a_worker(place: Place) -> None:
    ended = run(EXECUTABLE, *verify(place, "--workers", "1", batches="batches_raising"))
    assert ended.code == Exit.INTERNAL and is_one_line(ended.err), ended.err
    alone = polarc(*verify(place, batches="batches_raising"))
    assert "judge.py line" in alone.err and ended.err.split(":")[:3] == alone.err.split(":")[:3]


@pytest.mark.slow
def test_each_worker_opens_a_provers_answer_itself(two: Two) -> None:
    two.challenge()
    two.respond()
    alone, ended = (two.verify(two / "answer.polr", "--json", *more) for more in ((), ("--workers", "1")))
    assert (ended.code, ended.err) == (Exit.OK, "") and len(ended.json["states_obtained"]) == 2
    assert same(ended.json, alone.json)


def test_what_is_kept_is_not_replayed_again_while_the_trainer_is_the_same(place: Place, tmp_path: Path) -> None:
    code, keep = tmp_path / "judge.py", ("--keep", tmp_path / "kept", "--json")
    code.write_text(JUDGE.read_text())
    first = polarc(*verify(place, *keep, trainer=f"{code}:build"))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("kept/*/*")}
    assert first.code == Exit.OK and len(kept) == 5
    assert same(polarc(*verify(place, *keep, trainer=f"{code}:build")).json, first.json)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("kept/*/*")} == kept
    code.write_text(JUDGE.read_text() + "# changed\n")
    assert same(polarc(*verify(place, *keep, trainer=f"{code}:build")).json, first.json)
    assert len(list(tmp_path.glob("kept/*/*"))) == 10


def test_file_of_the_judge_that_a_worker_finds_otherwise_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "judge.py"
    file.write_text("def build(header, device):\n    return device\n")
    named = pickle.loads(pickle.dumps(Named.of(f"{file}:build")))
    assert named(None, "cpu") == "cpu"
    file.write_text("def build(header, device):\n    return None\n")
    with pytest.raises(PolError, match="does not find the judge's own file"):
        Named(named.reference, bytes(32))(None, "cpu")


def test_workers_here_or_elsewhere(place: Place) -> None:
    ended = polarc(*verify(place, "--workers", "2", "--scheduler", "tcp://localhost:1"))
    assert ended.code == Exit.USAGE and "give one of them" in ended.err


def test_workers_need_data_at_hand(place: Place) -> None:
    ended = polarc(
        "verify",
        place / "run.pol",
        "--key",
        place / "alice.pub",
        "--trainer",
        f"{JUDGE}:build",
        "--batches",
        "https://localhost:1",
        "--as",
        place / "alice.key",
        "--workers",
        "2",
    )
    assert ended.code == Exit.USAGE and "data at hand" in ended.err


def test_scheduler_that_is_not_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polarchive.cli.working._PATIENCE", 0.5)
    ended = polarc(*verify(place, "--scheduler", "tcp://127.0.0.1:1"))
    assert ended.code == Exit.INCONCLUSIVE and is_one_line(ended.err) and "no Dask scheduler answers" in ended.err


def test_dask_that_is_not_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    ended = polarc(*verify(place, "--scheduler", "tcp://127.0.0.1:1"))
    assert ended.code == Exit.USAGE and "polarchive[dask]" in ended.err


# A real cluster.


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """Run a scheduler and two workers, as processes of their own that listen on loopback only."""
    pytest.importorskip("distributed")
    environment = os.environ | {MARK: str(tmp_path / "killed"), "OMP_NUM_THREADS": "1"}
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    options = {"stderr": subprocess.PIPE, "text": True, "env": environment, "cwd": tmp_path}
    scheduler = subprocess.Popen([*dask, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], **options)
    address = next(word for line in scheduler.stderr for word in line.split() if word.startswith("tcp://"))
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    options["stderr"] = subprocess.DEVNULL
    processes = [
        scheduler,
        *(subprocess.Popen([*worker, "--host", "127.0.0.1", "--no-dashboard"], **options) for _ in "ab"),
    ]
    try:
        yield address, processes[1:]
    finally:
        for process in processes[::-1]:
            process.terminate()
            process.wait()


@pytest.mark.slow
def test_cluster_that_loses_a_worker_comes_to_the_same_verdict(
    place: Place, cluster: tuple[str, list[subprocess.Popen[str]]], tmp_path: Path
) -> None:
    address, workers = cluster
    ended = run(EXECUTABLE, *verify(place, "--json", "--scheduler", address, trainer=f"{DYING}:build"))
    assert (tmp_path / "killed").exists() and sum(worker.poll() is not None for worker in workers) == 1
    assert ended.code == Exit.OK, ended.err
    assert same(ended.json, polarc(*verify(place, "--json")).json)
