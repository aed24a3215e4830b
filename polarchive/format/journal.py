"""Keep a run directory: an append-only journal and states named by their roots (SPEC.md, "Run directory").

What `append` and `sync` have returned from survives a crash; a torn tail is recognised and left out.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from polarchive.errors import FormatError, Reason, RecordingError
from polarchive.format import disk, merkle
from polarchive.format.blob import Blob
from polarchive.format.disk import Raw
from polarchive.format.limits import MAX_DATASET, MAX_HEADER, MAX_ROWS
from polarchive.format.tensors import Buffer

MAGIC: Final = b"polarchive/v1/journal\n"
JOURNAL: Final = "journal"
SECRET: Final = "secret"
STATES: Final = "states"
DATASET: Final = "dataset"
EPOCH: Final = "epoch"
HEADER, ROWS, ENTRY, HEAD = b"H", b"R", b"E", b"N"
FORMS: Final = (".coded", ".safetensors")
_CHECK: Final = 8
_MAX_FRAME: Final = max(MAX_HEADER, MAX_ROWS)
_PATIENCE: Final = 10.0  # seconds in which what a killed process left behind gives up the directory


def frame(kind: bytes, payload: bytes) -> bytes:
    """Return a journal frame: u32 length, kind, payload, the first 8 bytes of the SHA-256 of all that."""
    body = len(payload).to_bytes(4, "big") + kind + payload
    return body + sha256(body).digest()[:_CHECK]


class Journal:
    """Append to the journal of one run directory, which no other process may then do.

    The lock belongs to the open file, so that a process that is given its descriptor holds it too.
    """

    def __init__(self, folder: Path, file: Raw) -> None:
        self.folder = folder
        self._file = file
        self._failed = False

    @classmethod
    def create(cls, folder: Path) -> "Journal":
        """Start the journal of a new run; RecordingError if the directory holds one."""
        if (folder / JOURNAL).exists():
            raise RecordingError(
                f"{folder}: holds a recorded run already; choose another directory, or go on with resume=True"
            )
        folder.mkdir(parents=True, exist_ok=True)
        journal = cls(folder, _locked(folder, 0))
        with journal._or_closed():
            return journal._begin()

    @classmethod
    def reopen(cls, folder: Path) -> tuple["Journal", "Run | None"]:
        """Go on with a run after its last signed head, of which nothing follows then; None if there was no head yet."""
        journal = cls(folder, _locked(folder, _PATIENCE))
        with journal._or_closed():
            if not _has_begun(folder):
                return journal._begin(), None
            run = read(folder)
            os.ftruncate(journal._file.fileno(), run.length)
            journal.sync()
            return journal, run

    @classmethod
    def adopt(cls, folder: Path, descriptor: int) -> "Journal":
        """Take over a journal, and its lock, that another process has opened."""
        return cls(folder, Raw(descriptor, "ab"))

    @property
    def descriptor(self) -> int:
        """Return the file descriptor, for a process that adopts the journal."""
        return self._file.fileno()

    def append(self, kind: bytes, payload: bytes) -> None:
        """Add one frame; it is durable after the next `sync`."""
        if len(payload) > _MAX_FRAME:
            raise RecordingError(f"{self.folder}: {len(payload)} bytes in one entry; take fewer steps per segment")
        with self._once():
            self._file.append(frame(kind, payload))

    def sync(self) -> None:
        """Make all that was appended durable."""
        with self._once():
            disk.sync(self._file)

    def store(self, root: bytes, form: str, parts: Iterable[Buffer]) -> bool:
        """Store a state under its root, durably; one that is there already is not written again: return False."""
        if self.holds(root):
            return False
        with self._once(), disk.replacing(self.folder / STATES / (root.hex() + form)) as file:
            file.writelines(parts)
        return True

    def holds(self, root: bytes) -> bool:
        """Tell whether a state is there."""
        return find(self.folder, root) is not None

    def drop(self, roots: Iterable[bytes]) -> None:
        """Delete states."""
        with self._once():
            for path in filter(None, (find(self.folder, root) for root in roots)):
                path.unlink()

    def keep_only(self, roots: Iterable[bytes]) -> None:
        """Delete every state but these, and what was not finished: nothing may build on what a crash left behind."""
        names = {root.hex() for root in roots}
        for path in (self.folder / STATES).iterdir():
            if path.suffix not in FORMS or path.stem not in names:
                path.unlink()

    def next_epoch(self, least: int) -> int:
        """Return a number, at least `least`, that no earlier recording into this directory was given."""
        path = self.folder / EPOCH
        epoch = max(least, int(path.read_text()) + 1 if path.exists() else 0)
        with disk.replacing(path) as file:
            file.write(b"%d\n" % epoch)
        return epoch

    def close(self) -> None:
        """Give up the directory."""
        self._file.close()

    @contextmanager
    def _or_closed(self) -> Iterator[None]:
        """Give up the directory if the block fails, however long its error is looked at."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _begin(self) -> "Journal":
        (self.folder / STATES).mkdir(exist_ok=True)
        os.ftruncate(self._file.fileno(), 0)
        with self._once():
            self._file.append(MAGIC)
        self.sync()
        disk.sync_folder(self.folder)
        disk.sync_folder(self.folder.parent)
        return self

    @contextmanager
    def _once(self) -> Iterator[None]:
        """Let nothing follow what failed: it may be there in part, and readers stop at it."""
        if self._failed:
            raise RecordingError(f"{self.folder}: writing failed before; go on in a new process with resume=True")
        self._failed = True
        yield
        self._failed = False


@dataclass(frozen=True, slots=True)
class Run:
    """Hold what a run directory's journal says: entries up to the last signed head, and where their rows lie."""

    folder: Path
    header: bytes
    lines: tuple[bytes, ...]
    rows: tuple[bytes, ...]
    notes: tuple[bytes, ...]
    length: int
    dropped: int

    @contextmanager
    def state(self, root: bytes) -> Iterator[Blob]:
        """Open the stored state with this root."""
        path = find(self.folder, root)
        if path is None:
            place = str(self.folder / STATES / root.hex())
            raise FormatError(Reason.STATE, place, "the state is missing from the run directory")
        blob = Blob.of(path)
        with blob.file:
            yield blob

    def dataset(self) -> bytes:
        """Return the leaf digests of the dataset of a run in indexed mode."""
        path = self.folder / DATASET
        if not path.exists():
            raise FormatError(Reason.DIGEST, str(path), "the dataset is missing from the run directory")
        blob = Blob.of(path)
        with blob.file:
            return bytes(blob.bounded(merkle.SIZE * MAX_DATASET))


def read(folder: Path) -> Run:
    """Return what the journal of `folder` says; a torn tail and entries after the last head are counted and dropped."""
    header, lines, rows, notes = b"", [], [], []
    if not (folder / JOURNAL).is_file():
        raise FormatError(Reason.JOURNAL, str(folder), "not a run directory: it has no journal")
    signed = (0, 0)  # entries, and bytes of the journal, that the last head covers
    with (folder / JOURNAL).open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise FormatError(Reason.JOURNAL, str(folder / JOURNAL), "not a polarchive journal")
        for kind, payload in _frames(file):
            if kind == HEADER and not header:
                header = payload
            elif kind == ROWS:
                rows.append(payload)
            elif kind == ENTRY:
                lines.append(payload)
            elif kind == HEAD:
                notes.append(payload)
                signed = (len(lines), file.tell())
            else:
                raise FormatError(
                    Reason.JOURNAL, str(folder / JOURNAL), f"a second header, or a frame of kind {kind!r}"
                )
        size = file.seek(0, os.SEEK_END)
    if not header or not notes:
        raise FormatError(Reason.JOURNAL, str(folder / JOURNAL), "nothing is recorded yet")
    count, length = signed
    return Run(folder, header, tuple(lines[:count]), tuple(rows[:count]), tuple(notes), length, size - length)


def find(folder: Path, root: bytes) -> Path | None:
    """Return where a run directory keeps the state with this root, None if it does not."""
    paths = (folder / STATES / (root.hex() + form) for form in FORMS)
    return next((path for path in paths if path.exists()), None)


def _locked(folder: Path, patience: float) -> Raw:
    file = Raw(folder / JOURNAL, "ab")
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            if time.monotonic() > until:
                file.close()
                raise RecordingError(f"{folder}: another process is recording into this directory") from None
            time.sleep(0.05)


def _has_begun(folder: Path) -> bool:
    """Tell whether a journal has, or had, a head. One that is torn before its first was never acknowledged.

    A damaged one looks alike at worst if its first length is damaged; then more than one state gives it away.
    """
    states = folder / STATES
    if states.is_dir() and sum(path.suffix in FORMS for path in states.iterdir()) > 1:
        return True
    with (folder / JOURNAL).open("rb") as file:
        if (start := file.read(len(MAGIC))) != MAGIC:
            return not MAGIC.startswith(start)
        at = file.tell()
        for kind, _ in _frames(file):
            if kind == HEAD:
                return True
            at = file.tell()
        file.seek(at)
        rest = file.read(5)
        return len(rest) == 5 and at + 5 + int.from_bytes(rest[:4], "big") + _CHECK <= os.fstat(file.fileno()).st_size


def _frames(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while len(head := file.read(5)) == 5:
        length = int.from_bytes(head[:4], "big")
        body = head + file.read(length) if length <= _MAX_FRAME else head
        if file.read(_CHECK) != sha256(body).digest()[:_CHECK] or len(body) != 5 + length:
            return
        yield head[4:], body[5:]
