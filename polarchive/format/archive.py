"""Open a sealed archive or a run directory and read from it, every byte checked against its commitment."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from polarchive.errors import FormatError, Reason, SignatureError
from polarchive.format import container, journal, log, note, tensors
from polarchive.format.blob import Blob
from polarchive.format.container import Container
from polarchive.format.entry import End, Header, Segment
from polarchive.format.limits import MAX_ENTRY, MAX_HEADER, MAX_NOTE
from polarchive.format.note import Head, VerifierKey
from polarchive.format.tensors import Array, Buffer


class Source(Protocol):
    """Give the parts of a run, wherever they lie."""

    def rows(self, segment: Segment, offset: int) -> bytes:
        """Return the bytes of a segment's rows, which `offset` bytes of rows precede."""

    @contextmanager
    def state(self, index: int, root: bytes) -> Iterator[Blob]:
        """Open state `index`, which is committed by `root`."""

    def seal(self) -> None:
        """Check every byte that is not checked where it is read."""

    def close(self) -> None:
        """Close the files."""


class Archive:
    """Read a run whose entries, heads and signatures have been checked.

    State 0 is the initial one and state i + 1 closes segment i. `digest` is the SHA-256 of a sealed archive's index,
    which names these very bytes; a run directory has none.
    """

    def __init__(self, path: Path, checked: log.Log, source: Source, digest: bytes | None, dropped: int = 0) -> None:
        self.path = path
        self.digest = digest
        self.dropped = dropped
        self._log = checked
        self._source = source
        self._offsets = _running(segment.rows.size for segment in checked.segments)

    @property
    def header(self) -> Header:
        """Return entry 0."""
        return self._log.header

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Return the segments in order."""
        return self._log.segments

    @property
    def end(self) -> End | None:
        """Return the end, or None of a run that is not finished."""
        return self._log.end

    @property
    def heads(self) -> tuple[Head, ...]:
        """Return the heads in order; the last one covers every entry."""
        return self._log.heads

    @property
    def notes(self) -> tuple[bytes, ...]:
        """Return the heads as signed."""
        return self._log.notes

    def root(self, index: int) -> bytes:
        """Return the committed root of state `index`."""
        return self.segments[index - 1].root if index else self.header.root

    def is_stored(self, index: int) -> bool:
        """Tell whether state `index` is in the archive, or only committed by its root."""
        return self.segments[index - 1].stored if index else True

    def steps(self, index: int) -> tuple[log.Step, ...]:
        """Return the steps of segment `index`; FormatError unless its rows are the committed ones."""
        segment = self.segments[index]
        return log.check_rows(self.header, segment, self._source.rows(segment, self._offsets[index]))

    def state(self, index: int) -> dict[str, Array]:
        """Return state `index` (-1: the last); DigestError unless it has its committed root."""
        index = index if index >= 0 else len(self.segments) + 1 + index
        root = self.root(index)
        with self._source.state(index, root) as blob:
            return tensors.read_state(blob, root)

    def seal(self) -> None:
        """Read and check every byte; raise FormatError if one differs from its commitment."""
        self._source.seal()
        for segment in self.segments:
            self.steps(segment.index)
        for index in range(len(self.segments) + 1):
            if self.is_stored(index):
                self.state(index)

    def members(self) -> Iterator[tuple[str, Iterable[Buffer]]]:
        """Yield what a container of this run holds, in order, one member at a time."""
        yield container.HEADER, [self._log.raw[0]]
        yield container.ENTRIES, [line + b"\n" for line in self._log.raw[1:]]
        yield (
            container.ROWS,
            (self._source.rows(segment, self._offsets[segment.index]) for segment in self.segments),
        )
        yield container.HEADS, self.notes
        for index in filter(self.is_stored, range(len(self.segments) + 1)):
            with self._source.state(index, self.root(index)) as blob:
                yield container.state_name(index), blob.chunks()

    def close(self) -> None:
        """Close the files."""
        self._source.close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Sealed:
    """Give the parts of a run out of a container."""

    parts: Container

    def rows(self, segment: Segment, offset: int) -> bytes:
        blob = self.parts.blobs[container.ROWS]
        return bytes(blob.slice(offset, segment.rows.size, f"segment {segment.index} rows").read())

    @contextmanager
    def state(self, index: int, root: bytes) -> Iterator[Blob]:
        yield self.parts.blobs[container.state_name(index)]

    def seal(self) -> None:
        for name in self.parts.blobs:
            self.parts.check(name)

    def close(self) -> None:
        self.parts.close()


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Give the parts of a run out of a run directory."""

    run: journal.Run

    def rows(self, segment: Segment, offset: int) -> bytes:
        if segment.index >= len(self.run.rows):
            raise FormatError(Reason.ROWS, f"segment {segment.index} rows", "missing from the journal")
        return self.run.rows[segment.index]

    @contextmanager
    def state(self, index: int, root: bytes) -> Iterator[Blob]:
        with self.run.state(root) as blob:
            yield blob

    def seal(self) -> None:
        pass  # every part of a run directory is checked where it is read

    def close(self) -> None:
        pass


def open_archive(path: str | Path, *, trusted: Iterable[VerifierKey] | None) -> Archive:
    """Open a sealed archive or a run directory, verifying entries, heads and signatures.

    `trusted` are the keys of provers; None accepts any key, which shows integrity but not who recorded. Raises
    FormatError for bytes that break the format and SignatureError for a key that is not trusted. States and step rows
    are checked when they are read.
    """
    path = Path(path)
    archive = _open_run(path) if path.is_dir() else _open_sealed(path)
    if trusted is not None and archive.header.key not in list(trusted):
        archive.close()
        raise SignatureError(Reason.KEY, path.name, f"signed by {archive.header.key}, which is not a trusted key")
    return archive


def pack(run: str | Path, target: str | Path) -> bytes:
    """Seal the run directory `run` into the container `target` and return the digest of its index.

    Nothing is signed here: what the run's last head covers is what the archive holds.
    """
    with _open_run(Path(run)) as archive:
        return container.write(Path(target), archive.members())


def _open_sealed(path: Path) -> Archive:
    parts = container.read(path)
    try:
        header = parts.read(container.HEADER, MAX_HEADER)
        lines = lines_of(parts.blobs[container.ENTRIES])
        notes = note.split(bytes(parts.blobs[container.HEADS].bounded(MAX_NOTE * (len(lines) + 1))))
        checked = log.check(header, lines, notes)
        _check_members(checked, parts)
        return Archive(path, checked, _Sealed(parts), parts.digest)
    except BaseException:
        parts.close()
        raise


def _open_run(path: Path) -> Archive:
    if not (path / journal.JOURNAL).is_file():
        raise FormatError(Reason.JOURNAL, str(path), "not a run directory: it has no journal")
    run = journal.read(path)
    return Archive(path, log.check(run.header, run.lines, run.notes), _Recorded(run), None, run.dropped)


def lines_of(blob: Blob) -> list[bytes]:
    """Return the lines of the entries member; FormatError if they are too many bytes or the last one is not ended."""
    lines = bytes(blob.bounded(256 * MAX_ENTRY)).split(b"\n")
    if lines.pop():
        raise FormatError(Reason.ENTRY, blob.place, "the last entry has no line end")
    return lines


def _check_members(checked: log.Log, parts: Container) -> None:
    states = [container.state_name(0)]
    states += [container.state_name(segment.index + 1) for segment in checked.segments if segment.stored]
    indexed = [container.DATASET] if checked.header.commitment.mode == "indexed" else []
    sizes = {f"{head.size:010}" for head in checked.heads}
    for name in parts.listed.keys() - {*container.REQUIRED, container.INDEX, *states, *indexed}:
        if name[:2] not in ("50", "60") or name.split("-")[2][:10] not in sizes:
            raise FormatError(Reason.MEMBER, name, "no entry or head has this member")
    for name in {*states, *indexed} - parts.listed.keys():
        raise FormatError(Reason.MEMBER, name, "an entry commits to it and it is missing")
    rows = sum(segment.rows.size for segment in checked.segments)
    if parts.listed[container.ROWS].size != rows:
        raise FormatError(Reason.ROWS, container.ROWS, f"not the {rows} bytes that the segments commit to")


def _running(sizes: Iterable[int]) -> list[int]:
    offsets = [0]
    for size in sizes:
        offsets.append(offsets[-1] + size)
    return offsets
