"""Verify with workers from the command line: processes of one's own, and a Dask cluster."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import MagicMock

import pytest

import polarchive as pol
from polarchive.cli.cluster import _require_closed
from polarchive.cli.exits import Exit
from polarchive.cli.sources import forget, sources
from polarchive.cli.travelling import Answered, Named
from polarchive.errors import PolError
from polarchive.format.answer import Answers
from tests.cli.test_cli import EXECUTABLE, JUDGE, Place, is_one_line, place, polarc, run
from tests.cli.test_exchange import Two, record, two

__all__ = ["place", "two"]  # the fixtures


DYING: Final = JUDGE.with_name("dying.py")
MARK: Final = "POLARCHIVE_TEST_MARK"
SCALED: Final = {  # the judge's file, with a neighbour that it needs as it loads, or only when it builds
    "above": "import scale\ndef build_scaled(header, device):\n    return with_weight(lambda: scale.WEIGHT)\n",
    "within": "def build_scaled(header, device):\n    import scale\n    return with_weight(lambda: scale.WEIGHT)\n",
}


def verify(place: Place, *more: str, trainer: str = f"{JUDGE}:build", batches: str = "batches") -> list[object]:
    given = ["--trainer", trainer, "--batches", f"{JUDGE}:{batches}", "--secret", place / "run/secret"]
    return ["verify", place / "run.pol", "--key", place / "alice.pub", *given, "--threads", "1", *more]


KILLING: Final = """
import os
import signal
from pathlib import Path

def build_killing(header, device):
    def weight():
        os.kill(int(Path(__file__).with_name("scheduler.pid").read_text()), signal.SIGKILL)
        return 1.0
    return with_weight(weight)
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """Give a judge's folder, of which nothing stays loaded."""
    yield tmp_path
    forget(tmp_path)


def scaled(folder: Path, form: str) -> str:
    """Write a judge whose trainer depends on a neighbour, which is right, and return its name."""
    (folder / "judge.py").write_text(JUDGE.read_text() + SCALED[form])
    weigh(folder, "1.0")
    return f"{folder / 'judge.py'}:build_scaled"


def weigh(folder: Path, weight: str) -> None:
    """Write the neighbour; weights of different lengths, because Python looks at a file's size and second only."""
    (folder / "scale.py").write_text(f"WEIGHT = {weight}\n")


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


@pytest.mark.parametrize("form", SCALED)
def test_what_is_kept_is_made_again_when_a_neighbour_of_the_trainer_changes(form: str, place: Place, own: Path) -> None:
    trainer, keep = scaled(own, form), ("--keep", str(own / "kept"))
    first, again = (polarc(*verify(place, *keep, trainer=trainer)) for _ in "12")
    assert first.code == again.code == Exit.OK
    assert "taken from" not in first.out and f"5 replays were not made now but taken from {keep[1]}" in again.out
    weigh(own, "2.00")
    forget(own)  # as a process of its own would not have it
    assert polarc(*verify(place, *keep, trainer=trainer)).code == Exit.REJECTED


def test_kept_folder_that_others_can_write_to_is_refused(place: Place, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    ended = polarc(*verify(place, "--keep", str(tmp_path)))
    assert ended.code == Exit.USAGE and is_one_line(ended.err) and f"chmod go-w {tmp_path}" in ended.err


NAMED: Final = "from neighbour import VALUE\ndef build(header, device):\n    return VALUE\n"


def named(folder: Path) -> Named:
    """Write a judge and its neighbour, and return what a worker gets of it, from another process."""
    (folder / "judge.py").write_text(NAMED)
    (folder / "neighbour.py").write_text("VALUE = 1\n")
    return replace(Named.of(f"{folder / 'judge.py'}:build"), sender=bytes(16))


@pytest.mark.parametrize("changed", ["judge.py", "neighbour.py"])
def test_file_of_the_judge_that_a_worker_finds_otherwise_is_refused(changed: str, own: Path) -> None:
    sent = named(own)
    assert pickle.loads(pickle.dumps(sent))(None, "cpu") == 1
    (own / changed).write_text("VALUE = 10\n")
    with pytest.raises(PolError, match=rf"{changed}: a worker does not find the judge's own file"):
        replace(sent, sender=bytes(15) + b"\1")(None, "cpu")


def test_worker_loads_anew_for_another_verification_and_once_for_each(own: Path) -> None:
    sent = named(own)
    assert sent(None, "cpu") == 1
    (own / "neighbour.py").write_text("VALUE = 10\n")
    later = replace(sent, code=sources(sent.file), sender=bytes(15) + b"\1")
    assert sent(None, "cpu") == 1 and later(None, "cpu") == 10


def test_another_answer_than_the_judges_is_refused_by_a_worker(two: Two) -> None:
    two.challenge()
    two.respond()
    assert two.verify(os.path.relpath(two / "answer.polr"), "--keep", two / "kept").code == Exit.OK
    key = pol.load_verifier(two / "alice.pub")
    with Answers.open(two / "answer.polr", key) as answers:
        digest = answers.digest
    assert Answered(two / "answer.polr", key, digest).state(1)
    with pytest.raises(PolError, match=r"answer\.polr: another answer than the judge's"):
        Answered(two / "answer.polr", key, bytes(32)).state(1)


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
    monkeypatch.setattr("polarchive.cli.cluster._PATIENCE", 0.5)
    for address in ("tcp://127.0.0.1:1", "127.0.0.1:1", "tls://127.0.0.1:1", "tls://gibberish"):
        ended = polarc(*verify(place, "--scheduler", address))
        assert ended.code == Exit.INCONCLUSIVE and is_one_line(ended.err) and "no Dask scheduler answers" in ended.err


@pytest.mark.parametrize(
    "address",
    ["tcp://192.0.2.1:8786", "192.0.2.1:8786", "ws://dask.example:8786", "tcp://[2001:db8::1]:1", "tcp://[::1"],
)
def test_secret_does_not_travel_unencrypted(address: str, place: Place) -> None:
    pytest.importorskip("distributed")
    ended = polarc(*verify(place, "--scheduler", address))
    assert ended.code == Exit.USAGE and is_one_line(ended.err) and "secret would travel there unencrypted" in ended.err


def test_secret_does_not_travel_to_workers_unencrypted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that listens here may have workers elsewhere."""
    pytest.importorskip("distributed")
    client = MagicMock()
    client.__enter__.return_value.nthreads.return_value = {"tcp://127.0.0.1:1": 1, "tcp://192.0.2.1:1": 1}
    monkeypatch.setattr("polarchive.cli.cluster._client", lambda address: client)
    ended = polarc(*verify(place, "--scheduler", "tcp://127.0.0.1:8786"))
    assert ended.code == Exit.USAGE and ended.err.startswith("polarc: tcp://192.0.2.1:1: the run's secret would travel")


@pytest.mark.parametrize("address", ["tls://192.0.2.1:8786", "tcp://127.8.0.1:1", "localhost:8786", "tcp://[::1]:8786"])
def test_secret_travels_encrypted_or_not_at_all(address: str) -> None:
    _require_closed([address])


def test_dask_that_is_not_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    ended = polarc(*verify(place, "--scheduler", "tcp://127.0.0.1:1"))
    assert ended.code == Exit.USAGE and "polarchive[dask]" in ended.err


@pytest.mark.slow
def test_address_that_means_nothing_is_told_in_one_line(place: Place) -> None:
    pytest.importorskip("distributed")
    ended = run(EXECUTABLE, *verify(place, "--scheduler", "tls://gibberish"))
    assert ended.code == Exit.INCONCLUSIVE and is_one_line(ended.err) and "no Dask scheduler answers" in ended.err


# A real cluster.


@dataclass(frozen=True)
class Cluster:
    """Hold a scheduler that listens on loopback only, and its workers, each a process of its own."""

    address: str
    scheduler: "subprocess.Popen[str]"
    workers: list["subprocess.Popen[str]"]


@contextmanager
def running(folder: Path, workers: int) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    environment = os.environ | {MARK: str(folder / "killed"), "OMP_NUM_THREADS": "1"}
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    options = {"stderr": subprocess.PIPE, "text": True, "env": environment, "cwd": folder}
    scheduler = subprocess.Popen([*dask, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], **options)
    address = next(word for line in scheduler.stderr for word in line.split() if word.startswith("tcp://"))
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    worker += ["--host", "127.0.0.1", "--no-dashboard"]
    options["stderr"] = subprocess.DEVNULL
    cluster = Cluster(address, scheduler, [subprocess.Popen(worker, **options) for _ in range(workers)])
    try:
        yield cluster
    finally:
        for process in (*cluster.workers, scheduler):
            process.terminate()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Run a scheduler and two workers."""
    with running(tmp_path, workers=2) as cluster:
        yield cluster


@pytest.mark.slow
def test_cluster_that_loses_a_worker_comes_to_the_same_verdict(place: Place, cluster: Cluster, tmp_path: Path) -> None:
    ended = run(EXECUTABLE, *verify(place, "--json", "--scheduler", cluster.address, trainer=f"{DYING}:build"))
    assert (tmp_path / "killed").exists() and sum(worker.poll() is not None for worker in cluster.workers) == 1
    assert ended.code == Exit.OK, ended.err
    assert same(ended.json, polarc(*verify(place, "--json")).json)


@pytest.mark.slow
@pytest.mark.parametrize("form", SCALED)
def test_cluster_replays_with_the_neighbours_that_the_judge_has_now(
    form: str, place: Place, cluster: Cluster, tmp_path: Path
) -> None:
    trainer = scaled(tmp_path, form)
    for weight, code in (("1.0", Exit.OK), ("2.00", Exit.REJECTED)):
        weigh(tmp_path, weight)
        ended = run(EXECUTABLE, *verify(place, "--scheduler", cluster.address, trainer=trainer))
        assert (ended.code, ended.err) == (code, "")


@pytest.mark.slow
def test_cluster_opens_the_answer_that_the_judge_has_now(two: Two, cluster: Cluster) -> None:
    answer = two / "answer.polr"
    ours = ("--as", two / "bob.key", "--ledger", two / "bob.ledger", "--key", two / "alice.pub", "--exact")
    shown = ("--batches", os.path.relpath(answer), "--trainer", f"{JUDGE}:build", "--scheduler", cluster.address)
    for again in (False, True):
        if again:  # another run by the same prover
            shutil.rmtree(two / "run")
            for path in (two / "run.pol", two / "challenge.json", answer):
                path.unlink()
            record(two)
        assert (two.challenge().code, two.respond().code) == (Exit.OK, Exit.OK)
        ended = run(EXECUTABLE, "verify", two / "run.pol", *ours, *shown)
        assert (ended.code, ended.err) == (Exit.OK, "")


@pytest.mark.slow
def test_scheduler_that_is_lost_is_told_in_one_line(place: Place, cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text(JUDGE.read_text() + KILLING)
    (tmp_path / "scheduler.pid").write_text(str(cluster.scheduler.pid))
    trainer = f"{tmp_path / 'judge.py'}:build_killing"
    ended = run(EXECUTABLE, *verify(place, "--scheduler", cluster.address, trainer=trainer))
    assert ended.code == Exit.USAGE and is_one_line(ended.err) and "shut down or is lost" in ended.err, ended.err


@pytest.mark.slow
def test_scheduler_without_workers_is_given_up(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polarchive.cli.cluster._PATIENCE", 2)
    with running(tmp_path, workers=0) as cluster:
        ended = polarc(*verify(place, "--scheduler", cluster.address))
    assert ended.code == Exit.INCONCLUSIVE and is_one_line(ended.err) and "has no worker" in ended.err
