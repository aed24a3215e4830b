"""Open a sealed archive or a run directory and read from it, every byte checked against its commitment."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from polarchive.errors import DigestError, FormatError, OpeningError, Reason, SignatureError
from polarchive.format import container, journal, log, merkle, storage, tensors
from polarchive.format.attached import Attached
from polarchive.format.entry import End, Header, Segment
from polarchive.format.limits import MAX_HEADER
from polarchive.format.note import Head, VerifierKey
from polarchive.format.sources import Recorded, Sealed, Source, check_members, lines_of, notes_of
from polarchive.format.tensors import Array, Buffer


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
        self._first_size = tensors.size_of(checked.header.layout)
        self._offsets = _running(segment.rows.size for segment in checked.segments)
        commitment = checked.header.commitment
        indexed = commitment.mode == "indexed"
        self._leaves = log.check_dataset(commitment, source.dataset()) if indexed else merkle.Digests(b"")
        self._members = source.attached()  # read once: what is packed is what was checked
        self._attached = Attached.of(checked, self._members)

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

    @property
    def attached(self) -> Attached:
        """Return the stamps and cosignatures beside the heads; whether to believe them is the judge's matter."""
        return self._attached

    def require_signer(self, trusted: Iterable[VerifierKey]) -> None:
        """Raise SignatureError unless a trusted key signed the run."""
        if self.header.key not in list(trusted):
            raise SignatureError(Reason.KEY, self.path.name, f"signed by {self.header.key}, which is not a trusted key")

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
        if not self.is_stored(index) and not self._source.holds(self.root(index)):
            raise OpeningError(f"state {index} is committed by its root only, and was not shown")
        self._check_layout(index)
        with self._source.state(index, self.root(index)) as blob:
            state = storage.read(index, blob, self._state, depth, self._first_size)
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
        for name, data in sorted(self._members.items()):
            yield name, [data]
        for index in filter(self.is_stored, range(len(self.segments) + 1)):
            self._check_state(index)
            yield self._member(index)

    def _member(self, index: int) -> tuple[str, Iterator[Buffer]]:
        """Return a stored state's member, in the form in which it is stored here."""
        with self._source.state(index, self.root(index)) as blob:
            name = container.coded_name if storage.is_coded(blob) else container.state_name
        return name(index), self._content(index)

    def _content(self, index: int) -> Iterator[Buffer]:
        with self._source.state(index, self.root(index)) as blob:
            yield from blob.chunks()

    def close(self) -> None:
        """Close the files."""
        self._source.close()

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_archive(path: str | Path, *, trusted: Iterable[VerifierKey] | None) -> Archive:
    """Open a sealed archive or a run directory, verifying entries, heads and signatures.

    `trusted` are the keys of provers; None accepts any key, which shows integrity but not who recorded. Raises
    FormatError for bytes that break the format and SignatureError for a key that is not trusted. States and step rows
    are checked when they are read.
    """
    path = Path(path)
    archive = _open_run(path) if path.is_dir() else _open_sealed(path)
    try:
        if trusted is not None:
            archive.require_signer(trusted)
    except BaseException:
        archive.close()
        raise
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
        check_members(checked, parts)
        return Archive(path, checked, Sealed(parts), parts.digest)
    except BaseException:
        parts.close()
        raise


def _open_run(path: Path) -> Archive:
    run = journal.read(path)
    return Archive(path, log.check(run.header, run.lines, run.notes), Recorded(run), None, run.dropped)


def _read_only(array: Array) -> Array:
    return Array(array.dtype, array.shape, memoryview(array.data).toreadonly())


def _running(sizes: Iterable[int]) -> list[int]:
    offsets = [0]
    for size in sizes:
        offsets.append(offsets[-1] + size)
    return offsets
