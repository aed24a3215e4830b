"""Open a sealed archive or a run directory and read from it, every byte checked against its commitment."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from polarchive.errors import DigestError, FormatError, OpeningError, Reason, SignatureError
from polarchive.format import container, journal, log, merkle, note, storage, tensors
from polarchive.format.blob import Blob
from polarchive.format.container import Container
from polarchive.format.entry import End, Header, Segment
from polarchive.format.limits import (
    MAX_COSIGNATURES,
    MAX_DATASET,
    MAX_ENTRIES,
    MAX_ENTRIES_SIZE,
    MAX_HEADER,
    MAX_HEADS_SIZE,
    MAX_NOTE,
    MAX_STAMP,
    MAX_VALUES,
)
from polarchive.format.note import Head, VerifierKey
from polarchive.format.tensors import Array, Buffer


class Source(Protocol):
    """Give the parts of a run, wherever they lie."""

    def rows(self, segment: Segment, offset: int) -> bytes:
        """Return the bytes of a segment's rows, which `offset` bytes of rows precede."""

    @contextmanager
    def state(self, index: int, root: bytes) -> Iterator[Blob]:
        """Open state `index`, which is committed by `root`."""

    def dataset(self) -> bytes:
        """Return the leaf digests of a dataset in indexed mode."""

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
        self._last: tuple[int, dict[str, Array]] = (-1, {})  # a replay reads states in order, and codings build on it
        self._bounded = False  # whether the layout is known to be state 0's, which bounds how large coded ones may be
        self._chain = 0  # how many coded states lead to it
        self._offsets = _running(segment.rows.size for segment in checked.segments)
        commitment = checked.header.commitment
        indexed = commitment.mode == "indexed"
        self._leaves = log.check_dataset(commitment, source.dataset()) if indexed else merkle.Digests(b"")

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
    def lines(self) -> tuple[bytes, ...]:
        """Return the header and the entries as committed: the leaves of the log's tree."""
        return self._log.raw

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
        return tuple(self._each_step(self.segments[index]))

    def state(self, index: int) -> dict[str, Array]:
        """Return state `index` (-1: the last); DigestError unless it is the committed one.

        OpeningError if it is committed by its root and not stored.
        """
        return self._state(index if index >= 0 else len(self.segments) + 1 + index, 0)

    def _state(self, index: int, depth: int) -> dict[str, Array]:
        if self._last[0] == index:
            return dict(self._last[1])
        if not self.is_stored(index):
            raise OpeningError(f"state {index} is committed by its root only, and was not shown")
        self._check_layout(index)
        with self._source.state(index, self.root(index)) as blob:
            state = storage.read(index, blob, self._state, depth, sum(spec.nbytes for spec in self.header.layout))
            chain = storage.links(blob, self._chain)
            if tensors.root_of(state) != self.root(index):
                raise DigestError(Reason.STATE, blob.place, "the state differs from its committed root")
        self._last, self._chain = (index, {name: _read_only(array) for name, array in state.items()}), chain
        return dict(self._last[1])

    def seal(self) -> None:
        """Read and check every byte; raise FormatError if one differs from its commitment.

        What costs little comes first: sizes that lie need not be read to their end.
        """
        stored = list(filter(self.is_stored, range(len(self.segments) + 1)))
        for index in stored:
            self._check_layout(index)
        for segment in self.segments:
            for _ in self._each_step(segment):
                pass
        self._source.seal()
        for index in stored:
            self._check_state(index)

    def _each_step(self, segment: Segment) -> Iterator[log.Step]:
        data = self._source.rows(segment, self._offsets[segment.index])
        return log.each_step(self.header, segment, data, self._leaves)

    def _check_layout(self, index: int) -> None:
        with self._source.state(index, self.root(index)) as blob:
            layout = None if storage.is_coded(blob) else tensors.read_layout(blob)
        if index and layout is None and not self._bounded:
            self._check_layout(0)
        if index == 0 and layout not in (None, self.header.layout):
            raise FormatError(Reason.STATE, "header", "its layout is not that of state 0")
        self._bounded |= not index

    def _check_state(self, index: int) -> None:
        """Check a state in memory that does not grow with it, unless it is coded and so needs the one it builds on."""
        with self._source.state(index, self.root(index)) as blob:
            if not storage.is_coded(blob):
                tensors.check_state(blob, self.root(index))
                return
        self._state(index, 0)

    def members(self) -> Iterator[tuple[str, Iterable[Buffer]]]:
        """Yield what a container of this run holds, in order, one member at a time."""
        yield container.HEADER, [self._log.raw[0]]
        yield container.ENTRIES, [line + b"\n" for line in self._log.raw[1:]]
        yield (
            container.ROWS,
            (self._source.rows(segment, self._offsets[segment.index]) for segment in self.segments),
        )
        yield container.HEADS, self.notes
        if self.header.commitment.mode == "indexed":
            yield container.DATASET, self._leaves
        before: dict[str, Array] | None = None
        for index in range(len(self.segments) + 1):
            state = self.state(index) if self.is_stored(index) else None
            if state is not None:
                yield storage.member(index, state, before)
            before = state

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
        name = container.coded_name(index)
        yield self.parts.blobs[name if name in self.parts.blobs else container.state_name(index)]

    def dataset(self) -> bytes:
        return bytes(self.parts.blobs[container.DATASET].bounded(merkle.SIZE * MAX_DATASET))

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

    def dataset(self) -> bytes:
        return self.run.dataset()

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
        notes = notes_of(parts.blobs[container.HEADS], len(lines) + 1)
        checked = log.check(header, lines, notes)
        _check_members(checked, parts)
        return Archive(path, checked, _Sealed(parts), parts.digest)
    except BaseException:
        parts.close()
        raise


def _open_run(path: Path) -> Archive:
    run = journal.read(path)
    return Archive(path, log.check(run.header, run.lines, run.notes), _Recorded(run), None, run.dropped)


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


def _check_members(checked: log.Log, parts: Container) -> None:
    stored = [0, *(segment.index + 1 for segment in checked.segments if segment.stored)]
    states = [name if (name := container.coded_name(i)) in parts.listed else container.state_name(i) for i in stored]
    indexed = [container.DATASET] if checked.header.commitment.mode == "indexed" else []
    sizes = {f"{head.size:010}" for head in checked.heads}
    for name in parts.listed.keys() - {*container.REQUIRED, container.INDEX, *states, *indexed}:
        limit = MAX_STAMP if name.startswith("50") else MAX_COSIGNATURES
        if parts.listed[name].size > limit:
            raise FormatError(Reason.LIMIT, name, f"{parts.listed[name].size} bytes, at most {limit} are allowed")
        if name[:2] not in ("50", "60") or name.split("-")[2][:10] not in sizes:
            raise FormatError(Reason.MEMBER, name, "no entry or head has this member")
    for name in {*states, *indexed} - parts.listed.keys():
        raise FormatError(Reason.MEMBER, name, "an entry commits to it and it is missing")
    rows = sum(segment.rows.size for segment in checked.segments)
    if parts.listed[container.ROWS].size != rows:
        raise FormatError(Reason.ROWS, container.ROWS, f"not the {rows} bytes that the segments commit to")


def _read_only(array: Array) -> Array:
    return Array(array.dtype, array.shape, memoryview(array.data).toreadonly())


def _running(sizes: Iterable[int]) -> list[int]:
    offsets = [0]
    for size in sizes:
        offsets.append(offsets[-1] + size)
    return offsets
