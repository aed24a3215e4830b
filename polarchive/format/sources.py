"""Give the parts of a run, out of a container or a run directory, and hold a container to its log."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from polarchive.errors import FormatError, Reason
from polarchive.format import attach, container, journal, log, merkle, note
from polarchive.format.blob import Blob
from polarchive.format.container import Container
from polarchive.format.entry import Segment
from polarchive.format.limits import (
    MAX_ATTACHED,
    MAX_DATASET,
    MAX_ENTRIES,
    MAX_ENTRIES_SIZE,
    MAX_HEADS_SIZE,
    MAX_NOTE,
    MAX_STAMP,
    MAX_VALUES,
)


class Source(Protocol):
    """Give the parts of a run, wherever they lie."""

    def rows(self, segment: Segment, offset: int) -> bytes:
        """Return the bytes of a segment's rows, which `offset` bytes of rows precede."""

    @contextmanager
    def state(self, index: int, root: bytes) -> Iterator[Blob]:
        """Open state `index`, which is committed by `root`."""

    def holds(self, root: bytes) -> bool:
        """Tell whether a state that is not stored lies there all the same."""

    def dataset(self) -> bytes:
        """Return the leaf digests of a dataset in indexed mode."""

    def attached(self) -> Mapping[str, bytes]:
        """Return what lies beside the heads, by the name of its member."""

    def seal(self) -> None:
        """Check every byte that is not checked where it is read."""

    def close(self) -> None:
        """Close the files."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Give the parts of a run out of a container."""

    parts: Container

    def rows(self, segment: Segment, offset: int) -> bytes:
        """Return a stretch of the rows member."""
        blob = self.parts.blobs[container.ROWS]
        return bytes(blob.slice(offset, segment.rows.size, f"segment {segment.index} rows").read())

    @contextmanager
    def state(self, index: int, root: bytes) -> Iterator[Blob]:
        """Open the member that stores state `index`."""
        name = container.coded_name(index)
        yield self.parts.blobs[name if name in self.parts.blobs else container.state_name(index)]

    def holds(self, root: bytes) -> bool:
        """Return False: an archive has no other states than those it lists as stored."""
        return False

    def dataset(self) -> bytes:
        """Return the dataset member."""
        return bytes(self.parts.blobs[container.DATASET].bounded(merkle.SIZE * MAX_DATASET))

    def attached(self) -> Mapping[str, bytes]:
        """Return the members that are stamps and cosignatures; FormatError if they are too much to hold."""
        names = list(filter(container.is_attached, self.parts.blobs))
        size = sum(self.parts.listed[name].size for name in names)
        if size > MAX_ATTACHED:
            raise FormatError(
                Reason.LIMIT, "stamps", f"{size} bytes with cosignatures, at most {MAX_ATTACHED} are allowed"
            )
        return {name: self.parts.read(name, MAX_STAMP) for name in names}

    def seal(self) -> None:
        """Compare every member with the index."""
        for name in self.parts.blobs:
            self.parts.check(name)

    def close(self) -> None:
        """Close the container."""
        self.parts.close()


@dataclass(frozen=True, slots=True)
class Recorded:
    """Give the parts of a run out of a run directory."""

    run: journal.Run

    def rows(self, segment: Segment, offset: int) -> bytes:
        """Return the frame of rows that precedes the segment's entry."""
        if segment.index >= len(self.run.rows):
            raise FormatError(Reason.ROWS, f"segment {segment.index} rows", "missing from the journal")
        return self.run.rows[segment.index]

    @contextmanager
    def state(self, index: int, root: bytes) -> Iterator[Blob]:
        """Open the file that is named by the root."""
        with self.run.state(root) as blob:
            yield blob

    def holds(self, root: bytes) -> bool:
        """Tell whether a state lies there in passing: the last one does, so that recording can go on."""
        return journal.find(self.run.folder, root) is not None

    def dataset(self) -> bytes:
        """Return the dataset file."""
        return self.run.dataset()

    def attached(self) -> Mapping[str, bytes]:
        """Return the files of the folder for that."""
        entries = 1 + len(self.run.lines)  # what came since the journal was read is over no head in it
        found = attach.attached(self.run.folder)
        return {name: data for name, data in found if container.size_of_name(name) <= entries}

    def seal(self) -> None:
        """Do nothing: every part of a run directory is checked where it is read."""

    def close(self) -> None:
        """Do nothing: files are open only while they are read."""


def lines_of(blob: Blob) -> list[bytes]:
    """Return the lines of the entries member; FormatError if they are too many bytes or the last one is not ended."""
    data = bytes(blob.bounded(MAX_ENTRIES_SIZE))
    if data.count(b"\n") >= MAX_ENTRIES or data.count(b",") > 2 * MAX_VALUES:
        raise FormatError(Reason.LIMIT, blob.place, f"more than {MAX_ENTRIES} entries or {2 * MAX_VALUES} commas")
    lines = data.split(b"\n")
    if lines.pop():
        raise FormatError(Reason.ENTRY, blob.place, "the last entry has no line end")
    return lines


def notes_of(blob: Blob, entries: int) -> list[bytes]:
    """Return the notes of the heads member; FormatError if they are too many for so many entries, or not whole."""
    data = bytes(blob.bounded(min(MAX_HEADS_SIZE, MAX_NOTE * entries)))
    if data.count(b"\n") > 2 * note.LINES * entries:  # before each becomes an object
        raise FormatError(Reason.HEAD, blob.place, f"more heads than {entries} entries")
    return list(note.split(data))


def check_members(checked: log.Log, parts: Container) -> None:
    """Raise FormatError unless a container has just the members that its log and heads ask for, or allow."""
    stored = [0, *(segment.index + 1 for segment in checked.segments if segment.stored)]
    states = [name if (name := container.coded_name(i)) in parts.listed else container.state_name(i) for i in stored]
    indexed = [container.DATASET] if checked.header.commitment.mode == "indexed" else []
    for name in parts.listed.keys() - {*container.REQUIRED, container.INDEX, *states, *indexed}:
        if not container.is_attached(name):
            raise FormatError(Reason.MEMBER, name, "no entry or head has this member")
    for name in {*states, *indexed} - parts.listed.keys():
        raise FormatError(Reason.MEMBER, name, "an entry commits to it and it is missing")
    rows = sum(segment.rows.size for segment in checked.segments)
    if parts.listed[container.ROWS].size != rows:
        raise FormatError(Reason.ROWS, container.ROWS, f"not the {rows} bytes that the segments commit to")
