"""Keep a run directory: an append-only journal and states named by their roots (SPEC.md, "Run directory").

What `append` and `sync` have returned from survives a crash; a torn tail is recognised and left out.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from polarchive.errors import FormatError, Reason, RecordingError
from polarchive.format import container, merkle, tensors
from polarchive.format.blob import Blob
from polarchive.format.limits import MAX_DATASET, MAX_HEADER, MAX_ROWS
from polarchive.format.tensors import Array

MAGIC: Final = b"polarchive/v1/journal\n"
JOURNAL: Final = "journal"
SECRET: Final = "secret"
STATES: Final = "states"
DATASET: Final = "dataset"
HEADER, ROWS, ENTRY, HEAD = b"H", b"R", b"E", b"N"
_CHECK: Final = 8
_MAX_FRAME: Final = max(MAX_HEADER, MAX_ROWS)


def frame(kind: bytes, payload: bytes) -> bytes:
    """Return a journal frame: u32 length, kind, payload, the first 8 bytes of the SHA-256 of all that."""
    body = len(payload).to_bytes(4, "big") + kind + payload
    return body + sha256(body).digest()[:_CHECK]


class Journal:
    """Append to the journal of one run directory, which no other process may then do."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STATES).mkdir(exist_ok=True)
        self.folder = folder
        self._file = (folder / JOURNAL).open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise RecordingError(f"{folder}: another process is recording into this directory") from None

    @classmethod
    def create(cls, folder: Path) -> "Journal":
        """Start the journal of a new run; RecordingError if the directory holds one."""
        if (folder / JOURNAL).exists():
            raise RecordingError(f"{folder}: holds a recorded run already; choose another directory")
        journal = cls(folder)
        journal._file.write(MAGIC)
        journal.sync()
        container.sync_folder(folder)
        return journal

    def append(self, kind: bytes, payload: bytes) -> None:
        """Add one frame; it is durable after the next `sync`."""
        if len(payload) > _MAX_FRAME:
            raise RecordingError(f"{self.folder}: {len(payload)} bytes in one entry; take fewer steps per segment")
        self._file.write(frame(kind, payload))

    def sync(self) -> None:
        """Make all that was appended durable."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def store(self, root: bytes, state: Mapping[str, Array]) -> None:
        """Store a state under its root, durably; one that is there already is not written again."""
        path = state_path(self.folder, root)
        if not path.exists():
            with container.replacing(path) as file:
                tensors.write(file, state)

    def close(self) -> None:
        """Make everything durable and give up the directory."""
        self.sync()
        container.sync_folder(self.folder)
        self._file.close()


@dataclass(frozen=True, slots=True)
class Run:
    """Hold what a run directory's journal says: entries up to the last signed head, and where their rows lie."""

    folder: Path
    header: bytes
    lines: tuple[bytes, ...]
    rows: tuple[bytes, ...]
    notes: tuple[bytes, ...]
    dropped: int

    @contextmanager
    def state(self, root: bytes) -> Iterator[Blob]:
        """Open the stored state with this root."""
        path = state_path(self.folder, root)
        if not path.exists():
            raise FormatError(Reason.STATE, str(path), "the state is missing from the run directory")
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
    return Run(folder, header, tuple(lines[:count]), tuple(rows[:count]), tuple(notes), size - length)


def state_path(folder: Path, root: bytes) -> Path:
    """Return where a run directory keeps the state with this root."""
    return folder / STATES / f"{root.hex()}.safetensors"


def _frames(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while len(head := file.read(5)) == 5:
        length = int.from_bytes(head[:4], "big")
        body = head + file.read(length) if length <= _MAX_FRAME else head
        if file.read(_CHECK) != sha256(body).digest()[:_CHECK] or len(body) != 5 + length:
            return
        yield head[4:], body[5:]
