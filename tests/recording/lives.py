"""Record one run in many processes, each of which may be killed or fail, and hold the run to what they acknowledged."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Final

import pytest

from polarchive.errors import FormatError, Reason
from polarchive.format import journal, tensors
from polarchive.format.archive import Archive, open_archive, pack
from polarchive.format.commitment import Opening, Salts
from polarchive.format.entry import Segment
from polarchive.recording.start import begin
from polarchive.trust.keys import read_secret
from tests.recording.recording_child import Message, Order, fed, feed, hyper_of, state_of
from tests.simulator import PROVER

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60.0  # seconds until a process counts as hanging


# What a run directory must be, whatever befell it.


def held(folder: Path, least: int, left: int | None = None) -> list[Segment] | None:
    """Return the segments in a run directory, all its content checked; None of one that holds nothing, as it may.

    If `left` is given, at most so many states may lie there that a crash left behind.
    """
    try:
        archive = open_archive(folder, trusted=[PROVER.key])
    except (FormatError, FileNotFoundError) as error:
        assert least < 0, "what was acknowledged is lost"
        assert not folder.exists() or (isinstance(error, FormatError) and error.reason == Reason.JOURNAL)
        return None
    with archive:
        archive.seal()
        assert sum(segment.steps for segment in archive.segments) >= least
        assert archive.header.root == tensors.root_of(state_of(0))
        check_segments(archive, folder)
        if left is not None:
            check_files(archive, folder, left)
    return list(archive.segments)


def check_segments(archive: Archive, folder: Path) -> None:
    """Hold every step to what training does, and its batch to its opening."""
    secret = read_secret(folder / journal.SECRET) if archive.header.commitment.salted else None
    salts = Salts(secret, archive.header.run)
    for segment in archive.segments:
        assert segment.root == tensors.root_of(state_of(segment.first + segment.steps))
        for row in archive.steps(segment.index):
            batch = fed(row.step)
            Opening(batch, salts.of(segment.epoch, row.step, 0, 1 + batch.count)).check(row.batches[0])
            assert row.hyper == hyper_of(row.step)


def check_files(archive: Archive, folder: Path, left: int) -> None:
    """Check that a run directory holds the states that it should, and nothing else but what crashes leave behind."""
    count = len(archive.segments)
    needed = {archive.root(index).hex() for index in range(count + 1) if archive.is_stored(index) or index == count}
    names = [path.name for path in (folder / journal.STATES).iterdir()]
    assert needed <= {name.partition(".")[0] for name in names}
    assert len(names) <= len(needed) + left
    known = {journal.JOURNAL, journal.STATES, journal.SECRET, journal.EPOCH}
    assert {path.name.removesuffix(".tmp" if left else "") for path in folder.iterdir()} <= known


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def hurried() -> Iterator[None]:
    """Wait for no disk, where nothing goes wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


def record(folder: Path, steps: int, salted: bool = False) -> Path:
    """Record in this process, to the end, from where the run stands."""
    with hurried():
        begun = begin(Order(folder, salted=salted).wanted, resume=True)
        assert list(feed(begun, begun.recording(PROVER, background=False), steps))[-1] == steps
    return folder


def check_end(folder: Path, steps: int, tmp_path: Path) -> None:
    """Check that a run came to its end: it is whole, leaves nothing behind, and packs."""
    held(folder, steps, left=0)
    with hurried():
        pack(folder, tmp_path / "packed.pol")
    with open_archive(tmp_path / "packed.pol", trusted=[PROVER.key]) as archive:
        archive.seal()
        assert archive.end is not None and archive.end.steps == steps


def check_same(folder: Path, whole: Path) -> None:
    """Check that a run without salt says what an uninterrupted one says, but for epochs, and takes no more room."""
    with open_archive(folder, trusted=None) as found, open_archive(whole, trusted=None) as expected:
        assert found.lines[0] == expected.lines[0] and found.end == expected.end
        assert [replace(segment, epoch=0) for segment in found.segments] == list(expected.segments)
        longer = sum(len(str(segment.epoch)) - 1 for segment in found.segments)
    sizes = [(path / journal.JOURNAL).stat().st_size for path in (folder, whole)]
    assert sizes[0] == sizes[1] + longer
    assert states(folder) == states(whole)


def states(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / journal.STATES).iterdir())


# Processes that record until they are killed.


@dataclass
class Life:
    """Hold what a process that records has told, which then must be so: -1 steps are durable if nothing is."""

    background: bool
    pids: dict[str, int] = field(default_factory=dict)
    durable: int = -1
    lines: int = 0
    epoch: int | None = None
    resumed: bool = False
    failure: tuple[str, str] = ("", "")
    status: int | None = None

    def take(self, message: Message) -> None:
        match message:
            case "began", pid:
                self.pids["training"] = pid
            case "recorder", pid:
                self.pids["recorder"] = pid
            case "epoch", number, resumed:
                self.epoch, self.resumed = number, resumed
            case "durable", steps:
                steps = steps or -self.background  # behind, 0 says nothing yet
                self.lines, self.durable = self.lines + (steps > self.durable), max(steps, self.durable)
            case "failed", *what:
                self.failure = (what[0], what[1])
            case "ended", status:
                self.status = status


class Nursery:
    """Stand for the process, without torch, that forks those that record."""

    def __init__(self, errors: Path, *prefix: str) -> None:
        given, self._orders = Pipe(duplex=False)
        self._answers, tell = Pipe(duplex=False)
        self.errors = errors
        ends = [given.fileno(), tell.fileno()]
        command = [*prefix, sys.executable, "-m", "tests.recording.recording_child", *map(str, ends)]
        with errors.open("wb") as file:
            self.process = subprocess.Popen(command, cwd=ROOT, pass_fds=ends, stderr=file)
        given.close()
        tell.close()
        assert self._answers.recv() == ("ready",)

    def start(self, order: Order) -> Life:
        self._orders.send(order)
        return Life(order.background)

    def hear(self, life: Life, until: Callable[[], bool]) -> None:
        """Take what is told until something holds, or the process has ended."""
        hanging = time.monotonic() + PATIENCE
        while life.status is None and not until():
            assert self._answers.poll(hanging - time.monotonic()), f"it does not end: {self.errors.read_text()}"
            life.take(self._answers.recv())

    def close(self) -> None:
        self._orders.close()
        self._answers.close()
        self.process.wait()


@dataclass
class Chain:
    """Record one run in many lives, and check after each what the run must be then."""

    nursery: Nursery
    folder: Path
    background: bool = False
    salted: bool = False
    durable: int = -1
    epochs: list[int] = field(default_factory=list)
    segments: list[Segment] | None = None

    def start(self, **options: Any) -> Life:
        return self.nursery.start(
            Order(self.folder, **{"background": self.background, "salted": self.salted} | options)
        )

    def live(self, **options: Any) -> Life:
        """Let a process record until something ends it."""
        return self.end(self.start(**options))

    def kill(self, victims: Sequence[str], lines: int, delay: float) -> Life:
        """Kill processes some time after more became durable so many times."""
        life = self.start()
        self.nursery.hear(life, lambda: {*victims} <= life.pids.keys() and life.lines >= lines)
        time.sleep(delay)
        for victim in victims:
            with suppress(ProcessLookupError):  # then it says below why it ended
                os.kill(life.pids[victim], signal.SIGKILL)
        return self.end(life)

    def end(self, life: Life) -> Life:
        """Hear what a process has to say until it ends, and check all of it."""
        self.nursery.hear(life, lambda: False)
        self.durable = max(self.durable, life.durable)
        self._check_epoch(life)
        if self.background:
            self._check(left=None)
            settle(self.folder)
        self._check(left=1)
        return life

    def finish(self, tmp_path: Path) -> None:
        """End the run without another interruption."""
        steps = 3 + max(0, *(segment.first + segment.steps for segment in self.segments or []), self.durable)
        life = self.live(steps=steps)
        assert (life.status, life.durable) == (0, steps)
        check_end(self.folder, steps, tmp_path)
        if not self.salted:
            check_same(self.folder, record(tmp_path / "whole", steps))

    def _check_epoch(self, life: Life) -> None:
        """Check that no epoch is taken twice, unless nothing was recorded the first time."""
        if life.epoch is None:
            return
        assert life.resumed or self.segments is None
        assert life.epoch > max(self.epochs, default=-1) or not life.resumed
        self.epochs.append(life.epoch)

    def _check(self, left: int | None) -> None:
        segments = held(self.folder, self.durable, left)
        if self.segments:
            assert segments is not None and segments[: len(self.segments)] == self.segments
        epochs = [segment.epoch for segment in segments or []]
        assert epochs == sorted(epochs) and {*epochs} <= {*self.epochs}
        self.segments = segments


def settle(folder: Path) -> None:
    """Wait until no process records any more: one that lost its training process writes what it was told and ends."""
    if (folder / journal.JOURNAL).exists():
        with (folder / journal.JOURNAL).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
