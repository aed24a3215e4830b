"""Write a run directory out of batches, settings and states, in the order that loses nothing (SPEC.md)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from polarchive.errors import RecordingError
from polarchive.format import journal, merkle, note, storage
from polarchive.format.commitment import Batch, BatchRow, Salts, commit
from polarchive.format.entry import End, Entry, Header, Hyper, Rows, Segment
from polarchive.format.journal import Journal
from polarchive.format.merkle import Digest, Digests
from polarchive.format.spelling import encode_entry, encode_header
from polarchive.format.storage import PLAIN
from polarchive.format.tensors import Array, layout_of, root_of
from polarchive.recording.coder import Coder
from polarchive.recording.snapshot import Snapshot, State
from polarchive.recording.stamping import Stamping
from polarchive.recording.steps import Steps

Indices: TypeAlias = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Position:
    """Say where a run stands, of which `leaves` are the entries' digests and `first` is the raw size of state 0.

    `stored` is said of the last state; `passing`, that it is there only so that recording can go on from it. `stamp` is
    the digest of the newest stamp beside the log.
    """

    segments: int = 0
    steps: int = 0
    records: int = 0
    root: Digest = b""
    stored: bool = True
    passing: bool = False
    leaves: tuple[Digest, ...] = ()
    first: int | None = None
    epoch: int = 0
    stamp: Digest | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """Say which run is recorded and how: what a recorder needs besides what the loop feeds it.

    `store` means that every so many-th state is stored; `dataset` is where the leaf digests lie in indexed mode;
    `stamps` says how heads are to be stamped.
    """

    folder: Path
    key: note.VerifierKey
    run: bytes
    secret: bytes | None
    micro: int
    store: int
    dataset: Path | None
    position: Position
    stamps: Stamping | None = None


class Recording(Protocol):
    """Record a run, here or in another process. Everything is taken in the order of the calls."""

    @property
    def durable(self) -> int:
        """Return how many steps are on disk under a signed head."""

    def open(self, header: Header, state: Snapshot) -> None:
        """Begin with state 0; the header's layout and root are filled in."""

    def reopen(self, state: Snapshot) -> None:
        """Go on from a state that must be the last one recorded."""

    def step(self, hyper: Hyper) -> None:
        """Begin a step under these settings."""

    def batch(self, batch: Batch) -> None:
        """Commit to a batch of the step."""

    def rows(self, indices: Indices) -> None:
        """Commit to a batch of the step as the records of the dataset at `indices`."""

    def segment(self, state: Snapshot, last: bool) -> None:
        """Close the segment of the steps so far with the state that they led to."""

    def end(self) -> None:
        """End the run."""

    def stop(self) -> str:
        """Finish what was asked for, drop the open segment, give up the directory; return what people should know."""


class Recorder:
    """Record a run at once, in the calls themselves."""

    def __init__(self, kept: Journal, task: Task, signer: note.Signer) -> None:
        at = task.position
        self._journal, self._task, self._signer = kept, task, signer
        self._salts = Salts(task.secret, task.run)
        self._dataset = Digests(task.dataset.read_bytes()) if task.dataset else None
        self._tree = merkle.Tree(at.leaves)
        self._coder = Coder(at.first)
        self._segments, self._records, self._root = at.segments, at.records, at.root
        self._stored, self._passing = at.stored, at.root if at.passing else None
        self._open = Steps(at.steps, task.micro)
        self._stamper = task.stamps.start(task.folder) if task.stamps else None
        self.durable = at.steps
        self._failed = False

    def open(self, header: Header, state: Snapshot) -> None:
        """Begin with state 0; the header's layout and root are filled in."""
        arrays = state.arrays()
        self._root = root_of(arrays)
        line = encode_header(replace(header, layout=layout_of(arrays), root=self._root))
        with self._once():
            self._store(0, self._root, arrays, {})
            self._journal.append(journal.HEADER, line)
            self._sign(line)

    def reopen(self, state: Snapshot) -> None:
        """Go on from a state; RecordingError unless it is the last one recorded."""
        if root_of(state.arrays()) != self._root:
            raise RecordingError(
                f"{self._task.folder}: the trainer no longer holds the state of step {self.durable}; Writer(…, "
                "resume=True) has loaded it, so load no other checkpoint after that"
            )

    def step(self, hyper: Hyper) -> None:
        """Begin a step under these settings."""
        self._open.begin(hyper)

    def batch(self, batch: Batch) -> None:
        """Commit to a batch of the step."""
        salts = self._salts.of(self._task.position.epoch, self._open.step, self._open.salts, 1 + batch.count)
        self._open.add(commit(batch, salts))

    def rows(self, indices: Indices) -> None:
        """Commit to a batch of the step as the records of the dataset at `indices`."""
        assert self._dataset is not None
        chosen = tuple(indices.tolist())
        if chosen and not (min(chosen) >= 0 and max(chosen) < len(self._dataset)):
            raise RecordingError(f"step {self._open.step}: a row beyond the dataset's {len(self._dataset)} records")
        root = merkle.root(self._dataset[index] for index in chosen)
        self._open.add(BatchRow(len(chosen), root, None, chosen))

    def segment(self, state: Snapshot, last: bool) -> None:
        """Close the segment of the steps so far with the state that they led to."""
        arrays = state.arrays()
        segment, data = self._made(root_of(arrays), last)
        with self._once():
            left = self._keep(segment, arrays)
            self._journal.append(journal.ROWS, data)
            self._append(segment)
            self._journal.drop(left)
        self._segments, self._records = self._segments + 1, self._records + segment.records
        self.durable = self._open.step
        self._open.clear()

    def end(self) -> None:
        """End the run; RecordingError if its last state is not stored."""
        if not self._stored:
            raise RecordingError(f"{self._task.folder}: the last state is not stored; record one more step to end")
        with self._once():
            self._append(End(self._root, self.durable, self._records))

    def stop(self) -> str:
        """Drop the open segment and give up the directory; what is durable stays. Return what people should know."""
        self._journal.close()  # first, so that whoever goes on with the run waits for no authority
        return self._stamper.stop() if self._stamper else ""

    def _made(self, root: Digest, last: bool) -> tuple[Segment, bytes]:
        """Return the segment that a state closes, and its rows."""
        number, rows = self._segments + 1, self._open.rows
        data = b"".join(line + b"\n" for line in rows)
        segment = Segment(
            index=self._segments,
            first=self._open.step - len(rows),
            steps=len(rows),
            records=self._open.records,
            rows=Rows(len(data), merkle.root(map(merkle.leaf, rows))),
            hyper=self._open.first,
            root=root,
            stored=last or number % self._task.store == 0,
            epoch=self._task.position.epoch,
            not_before=self._not_before(),
        )
        return segment, data

    def _not_before(self) -> Digest | None:
        """Return the digest of the newest stamp: it is over an earlier head, since this segment is in none yet."""
        newest = self._stamper.latest if self._stamper else None
        return newest or self._task.position.stamp

    def _keep(self, segment: Segment, state: State) -> list[Digest]:
        """Put a state on disk, stored or in passing, and return the one that may go once its entry is durable."""
        left = [self._passing] if self._passing and self._passing != segment.root else []
        if segment.stored:
            self._store(segment.index + 1, segment.root, state, segment.hyper)
            self._passing = None
        elif self._journal.store(segment.root, PLAIN, storage.plain(state)) or segment.root == self._passing:
            self._passing = segment.root
        else:
            self._passing = None
        self._root, self._stored = segment.root, segment.stored
        return left

    def _store(self, index: int, root: Digest, state: State, hyper: Hyper) -> None:
        if self._journal.holds(root):
            self._coder.forget()
            return
        copy = {name: Array(array.dtype, array.shape, bytes(array.data)) for name, array in state.items()}
        form, parts = self._coder.store(index, copy, hyper)  # which the next state is coded against
        self._journal.store(root, form, parts)

    @contextmanager
    def _once(self) -> Iterator[None]:
        """Let nothing follow what failed, and may have been written in part: an entry that has no head, say."""
        if self._failed:
            raise RecordingError(f"{self._task.folder}: recording failed before; go on with resume=True")
        self._failed = True
        yield
        self._failed = False

    def _append(self, entry: Entry) -> None:
        data = encode_entry(entry)
        self._journal.append(journal.ENTRY, data)
        self._sign(data)

    def _sign(self, entry: bytes) -> None:
        self._journal.sync()  # an entry is durable before its head exists, so no head outlives what it covers
        self._tree.append(merkle.leaf(entry))
        head = note.Head(note.origin(self._task.key, self._task.run), len(self._tree), self._tree.root())
        signed = note.sign(head, self._signer)
        self._journal.append(journal.HEAD, signed)
        self._journal.sync()
        if self._stamper:
            self._stamper.head(head.size, signed)  # which is durable before it leaves the machine
