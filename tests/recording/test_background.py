"""Record in another process: what comes of it is the same, and what goes wrong there is said here."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import polarchive as pol
from polarchive.errors import RecordingError
from polarchive.format.note import VerifierKey
from polarchive.recording import background, ring, start
from polarchive.training.writer import Writer
from polarchive.verification.verdict import ACCEPTED
from tests.simulator import PROVER
from tests.training.test_writer import Training, judged

RUN = bytes(16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def writer(training: Training, folder: Path, **settings: Any) -> Writer:
    return training.writer(folder, **{"background": True, **settings})


def files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name not in ("secret", "journal")}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_writes_what_recording_at_once_writes(folder: Path, accumulate: int) -> None:
    for name, behind in (("at_once", False), ("behind", True)):
        training = Training()
        settings = {"salted": False, "run": RUN, "accumulate": accumulate, "background": behind}
        with training.writer(folder / name, **settings) as log:
            training.record(log, 10)
    assert files(folder / "at_once") == files(folder / "behind")
    assert (folder / "at_once/journal").read_bytes() == (folder / "behind/journal").read_bytes()


def test_its_runs_are_accepted(folder: Path) -> None:
    training = Training()
    with writer(training, folder) as log:
        training.record(log, 9)
    assert log.durable == 9
    assert judged(folder) == ACCEPTED


def test_it_is_the_default(folder: Path) -> None:
    training = Training()
    with Writer(folder, training.trainer, every=2, signer=PROVER) as log:
        assert isinstance(log._recorder, background.Background)
        training.record(log, 2)


def test_durable_follows(folder: Path) -> None:
    training = Training()
    with writer(training, folder) as log:
        training.record(log, 5)
        deadline = time.monotonic() + 60
        while log.durable < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        with pol.open(folder, trusted=None) as archive:
            assert log.durable == 4 == sum(segment.steps for segment in archive.segments)


def test_the_body_may_change_state_and_batch_at_once(folder: Path) -> None:
    """The model is wiped right after each record, and restored for the step: what was copied is what was there."""
    training = Training()
    with writer(training, folder) as log:
        for x, y in training.batches[:6]:
            batch = x.clone(), y.clone()
            log.record(batch)
            kept = training.trainer.save()
            with torch.no_grad():
                for parameter in training.model.parameters():
                    parameter.zero_()
            training.trainer.load(kept)
            training.body(batch)
            batch[0].zero_()
    assert judged(folder) == ACCEPTED


def test_memory_is_bounded_and_the_loop_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "_LEAST", 1 << 12)
    training = Training()
    with writer(training, folder) as log:
        for number in range(30):
            log.record((torch.full((100, 4), float(number)), torch.zeros(100, dtype=torch.long)))
            training.body(training.batches[0])
        assert log._recorder._ring.capacity <= 1 << 16
    with pol.open(folder, trusted=None) as archive:
        assert archive.end is not None and archive.end.records == 3000
        archive.seal()


def killed(log: Writer) -> None:
    os.kill(log._recorder._process.pid, signal.SIGKILL)


def test_a_killed_recorder_is_reported_and_the_run_goes_on_later(folder: Path) -> None:
    training = Training()
    log = writer(training, folder)
    training.record(log, 5)
    killed(log)
    with pytest.raises(RecordingError, match=r"status -9.*stays"):
        for batch in training.batches * 100:
            log.record(batch)
            time.sleep(0.001)
    with pytest.raises(RecordingError):
        log.close()
    training = Training()
    with writer(training, folder, resume=True) as log:
        for batch in training.batches[log.step : 9]:
            log.record(batch)
            training.body(batch)
    assert judged(folder) == ACCEPTED


def test_an_error_there_does_not_hide_the_one_here(folder: Path) -> None:
    training = Training()
    with (
        pytest.warns(UserWarning, match="status -9"),
        pytest.raises(ZeroDivisionError),
        writer(training, folder) as log,
    ):
        training.record(log, 3)
        killed(log)
        log._recorder._thread.join()
        raise ZeroDivisionError


class Broken:
    """Sign nothing, as a key server does that is down."""

    key: VerifierKey = PROVER.key

    def sign(self, message: bytes) -> bytes:
        raise ConnectionError("no route to the key")


def test_a_signer_that_fails_is_reported(folder: Path) -> None:
    training = Training()
    with pytest.raises(RecordingError, match="no route to the key"), writer(training, folder, signer=Broken()) as log:
        training.record(log, 9)


def test_rows_beyond_the_dataset_are_reported(tmp_path: Path) -> None:
    training = Training()
    data = pol.commit_dataset(torch.rand(5, 3), tmp_path / "data", workers=1)
    with (
        pytest.raises(RecordingError, match="beyond the dataset's 5"),
        writer(training, tmp_path / "run", dataset=data) as log,
    ):
        log.record(rows=[5])


def test_a_directory_in_use_is_refused_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polarchive.format.journal._PATIENCE", 0.1)
    training = Training()
    with writer(training, folder) as log:
        training.record(log, 2)
        with pytest.raises(RecordingError, match="another process"):
            start.begin(log._wanted, resume=True)


SCRIPT = """
import torch
import polarchive as pol
from tests.training.test_writer import Training, PROVER

training = Training()
log = pol.Writer({folder!r}, training.trainer, every=2, signer=PROVER, seed=0)
training.record(log, 5)
{end}
"""


@pytest.mark.parametrize(
    ("end", "steps"),
    [
        ("", 4),
        pytest.param("log.close()", 5, marks=pytest.mark.slow),
        pytest.param("log.abandon()", 4, marks=pytest.mark.slow),
    ],
    ids=["left_open", "closed", "abandoned"],
)
def test_a_script_without_a_main_guard_records(end: str, steps: int, folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(folder=str(folder), end=end))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, script], check=True, env=environment, timeout=120)
    run, _ = start.Journal.reopen(folder)
    run.close()
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        assert sum(segment.steps for segment in archive.segments) == steps


def test_the_process_that_records_needs_no_torch(folder: Path) -> None:
    training = Training()
    with writer(training, folder) as log:
        training.record(log, 2)
        maps = Path(f"/proc/{log._recorder._process.pid}/maps")
        assert not maps.exists() or "libtorch" not in maps.read_text()
