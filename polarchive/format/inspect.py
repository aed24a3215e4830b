"""Tell what an archive or run directory says of itself, without verifying it and without reading its states."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polarchive.errors import FormatError, Reason
from polarchive.format import attach, container, journal, marks, storage
from polarchive.format.blob import Blob
from polarchive.format.entry import End, Entry, Header, Segment
from polarchive.format.limits import MAX_DATASET, MAX_HEADER, MAX_ROW
from polarchive.format.marks import Mark
from polarchive.format.sources import lines_of, notes_of
from polarchive.format.spelling import decode_entry, decode_header, decode_row
from polarchive.format.tensors import Buffer


@dataclass(frozen=True, slots=True)
class Use:
    """Say how many records a dataset has, how many of them were used, and how often the most used one was."""

    records: int
    distinct: int
    most: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Hold what was read: the header, counts, and bytes by kind of member. Nothing of it is verified.

    `use` is known of a run in indexed mode. `kinds` of tensors have so many bytes, raw and stored, in all states. A run
    directory tells which stamps did not come: `failed`.
    """

    header: Header
    segments: int
    steps: int
    records: int
    heads: int
    stamps: int
    finished: bool
    resumes: int
    stored_states: int
    raw_bytes: int
    stored_bytes: int
    sizes: Mapping[str, int]
    dropped: int = 0
    use: Use | None = None
    kinds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    failed: tuple[Mark, ...] = ()


def inspect(path: str | Path) -> Summary:
    """Return a summary of the archive or run directory at `path`; FormatError if it cannot be read at all."""
    path = Path(path)
    return _inspect_run(path) if path.is_dir() else _inspect_sealed(path)


def _inspect_sealed(path: Path) -> Summary:
    parts = container.read(path)
    with parts.file:
        header = decode_header(parts.read(container.HEADER, MAX_HEADER))
        lines = lines_of(parts.blobs[container.ENTRIES])
        kinds = _total(storage.by_kind(blob) for name, blob in parts.blobs.items() if name.startswith("70-state-"))
        notes = notes_of(parts.blobs[container.HEADS], len(lines) + 1)
        use = _use(header, parts.blobs[container.ROWS].chunks())
    sizes: dict[str, int] = {}
    for member in parts.listed.values():
        kind = member.name[3:].split("-")[0].split(".")[0]
        sizes[kind] = sizes.get(kind, 0) + member.size
    return _summary(header, lines, len(notes), _stamps(parts.listed), kinds, sizes, path.stat().st_size, use=use)


def _inspect_run(path: Path) -> Summary:
    run = journal.read(path)
    files = sorted(file for file in (path / journal.STATES).iterdir() if file.suffix in journal.FORMS)
    sizes = {"journal": (path / journal.JOURNAL).stat().st_size, "state": sum(file.stat().st_size for file in files)}
    kinds = _total(map(_by_kind, files))
    header = decode_header(run.header)
    return _summary(
        header,
        list(run.lines),
        len(run.notes),
        _stamps(attach.names(path)),
        kinds,
        sizes,
        sum(sizes.values()),
        run.dropped,
        _use(header, run.rows),
        marks.read(path),
    )


def _stamps(names: Iterable[str]) -> int:
    return sum(name.startswith("50-stamp-") for name in names)


def _by_kind(path: Path) -> Mapping[str, tuple[int, int]]:
    blob = Blob.of(path)
    with blob.file:
        return storage.by_kind(blob)


def _total(states: Iterable[Mapping[str, tuple[int, int]]]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for state in states:
        for kind, (raw, stored) in state.items():
            before = found.get(kind, (0, 0))
            found[kind] = before[0] + raw, before[1] + stored
    return dict(sorted(found.items()))


def _summary(
    header: Header,
    lines: list[bytes],
    heads: int,
    stamps: int,
    kinds: dict[str, tuple[int, int]],
    sizes: dict[str, int],
    stored: int,
    dropped: int = 0,
    use: Use | None = None,
    failed: tuple[Mark, ...] = (),
) -> Summary:
    entries: list[Entry] = [decode_entry(line, f"entry {number}") for number, line in enumerate(lines, 1)]
    segments = [entry for entry in entries if isinstance(entry, Segment)]
    return Summary(
        header=header,
        segments=len(segments),
        steps=sum(segment.steps for segment in segments),
        records=sum(segment.records for segment in segments),
        heads=heads,
        stamps=stamps,
        finished=any(isinstance(entry, End) for entry in entries),
        resumes=max((segment.epoch for segment in segments), default=0),
        stored_states=1 + sum(segment.stored for segment in segments),
        raw_bytes=sum(raw for raw, _ in kinds.values()),
        stored_bytes=stored,
        sizes=sizes,
        dropped=dropped,
        use=use,
        kinds=kinds,
        failed=failed,
    )


def _use(header: Header, rows: Iterable[Buffer]) -> Use | None:
    """Count which records were used, out of the rows of a run in indexed mode."""
    size = header.commitment.size
    if size is None:
        return None
    counts = np.zeros(min(size, MAX_DATASET), np.int64)
    for line in _lines(rows):
        for batch in decode_row(line, "rows").batches:
            indices = np.array(batch.indices or (), np.int64)
            np.add.at(counts, indices[indices < len(counts)], 1)
    return Use(size, int(np.count_nonzero(counts)), int(counts.max(initial=0)))


def _lines(parts: Iterable[Buffer]) -> Iterator[bytes]:
    rest = b""
    for part in parts:
        *lines, rest = (rest + bytes(part)).split(b"\n")
        if len(rest) > MAX_ROW:
            raise FormatError(Reason.LIMIT, "rows", f"a row of more than {MAX_ROW} bytes")
        yield from lines
