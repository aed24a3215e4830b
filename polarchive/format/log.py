"""Hold a run's entries to one another and to the heads over them (SPEC.md, "The log")."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from polarchive.errors import DigestError, FormatError, Reason, TrustError
from polarchive.format import merkle, note
from polarchive.format.commitment import BatchRow
from polarchive.format.entry import Commitment, End, Entry, Header, Hyper, Segment, StepRow
from polarchive.format.limits import MAX_ENTRIES
from polarchive.format.note import Head
from polarchive.format.spelling import decode_entry, decode_header, decode_row


@dataclass(frozen=True, slots=True)
class Log:
    """Hold a run's checked entries and heads; `raw` are the entries and `notes` the heads, as signed."""

    raw: tuple[bytes, ...]
    header: Header
    segments: tuple[Segment, ...]
    end: End | None
    heads: tuple[Head, ...]
    notes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Say what one step consumed and under which hyper-parameters."""

    step: int
    batches: tuple[BatchRow, ...]
    hyper: Hyper


def check(header: bytes, lines: Sequence[bytes], notes: Iterable[bytes]) -> Log:
    """Return the log that the bytes of its entries and heads make; FormatError if anything in it does not fit."""
    if len(lines) >= MAX_ENTRIES:
        raise FormatError(Reason.LIMIT, "entries", f"{len(lines)} entries")
    opening = decode_header(header)
    entries = [decode_entry(line, f"entry {number}") for number, line in enumerate(lines, 1)]
    segments, end = _check_entries(opening, entries)
    signed = tuple(notes)
    if len(signed) > len(lines) + 1:  # before each costs a signature
        raise TrustError(Reason.HEAD, "heads", f"{len(signed)} heads over {len(lines) + 1} entries")
    heads = tuple(note.open_note(raw, opening.key, f"head {number}") for number, raw in enumerate(signed))
    tree = merkle.Tree(merkle.leaf(data) for data in [header, *lines])
    _check_heads(heads, tree, note.origin(opening.key, opening.run))
    return Log((header, *lines), opening, segments, end, heads, signed)


def check_dataset(commitment: Commitment, data: bytes) -> tuple[merkle.Digest, ...]:
    """Return the leaf digests of a dataset in indexed mode; DigestError unless they are the committed ones."""
    leaves = tuple(data[start : start + merkle.SIZE] for start in range(0, len(data), merkle.SIZE))
    if len(data) != merkle.SIZE * (commitment.size or 0) or merkle.root(leaves) != commitment.root:
        raise DigestError(Reason.DIGEST, "dataset", "the leaf digests are not those that the header commits to")
    return leaves


def check_rows(header: Header, segment: Segment, data: bytes, leaves: Sequence[merkle.Digest] = ()) -> tuple[Step, ...]:
    """Return the steps of a segment out of the bytes of its rows; FormatError unless they are the committed ones."""
    place = f"segment {segment.index} rows"
    lines = data.split(b"\n")
    if lines.pop() or len(lines) != segment.steps or len(data) != segment.rows.size:
        raise FormatError(Reason.ROWS, place, f"not {segment.steps} lines in {segment.rows.size} bytes")
    if merkle.root(merkle.leaf(line) for line in lines) != segment.rows.root:
        raise FormatError(Reason.ROWS, place, "the rows differ from their committed root")
    rows = [decode_row(line, place) for line in lines]
    _check_steps(header, segment, rows, place)
    if header.commitment.mode == "indexed":
        _check_indices(rows, leaves, place)
    return _with_hyper(segment, rows)


def _check_entries(header: Header, entries: Sequence[Entry]) -> tuple[tuple[Segment, ...], End | None]:
    segments: list[Segment] = []
    for number, entry in enumerate(entries, 1):
        place = f"entry {number}"
        if isinstance(entry, End):
            if number != len(entries):
                raise FormatError(Reason.ENTRY, place, "an entry follows the end")
            _check_end(header, segments, entry, place)
            return tuple(segments), entry
        _check_segment(header, segments, entry, place)
        segments.append(entry)
    return tuple(segments), None


def _check_segment(header: Header, before: Sequence[Segment], segment: Segment, place: str) -> None:
    last = before[-1] if before else None
    first = last.first + last.steps if last else 0
    if (segment.index, segment.first) != (len(before), first):
        raise FormatError(Reason.ENTRY, place, f"not segment {len(before)} from step {first}")
    if segment.steps > header.every or (last and last.steps != header.every):
        raise FormatError(Reason.ENTRY, place, f"only the last segment may differ from {header.every} steps")
    if segment.epoch < (last.epoch if last else 0):
        raise FormatError(Reason.ENTRY, place, "its resume epoch is earlier than the one before")


def _check_end(header: Header, segments: Sequence[Segment], end: End, place: str) -> None:
    root = segments[-1].root if segments else header.root
    totals = sum(segment.steps for segment in segments), sum(segment.records for segment in segments)
    if (end.root, end.steps, end.records) != (root, *totals):
        raise FormatError(Reason.ENTRY, place, "the end does not sum up the segments")
    if segments and not segments[-1].stored:
        raise FormatError(Reason.ENTRY, place, "the final state is not stored")


def _check_heads(heads: Sequence[Head], tree: merkle.Tree, origin: str) -> None:
    size = 0
    for number, head in enumerate(heads):
        place = f"head {number}"
        if head.origin != origin:
            raise TrustError(Reason.HEAD, place, f"its origin is {head.origin[:80]}, not {origin}")
        if not size < head.size <= len(tree):
            raise TrustError(Reason.HEAD, place, f"size {head.size} after {size} in a log of {len(tree)}")
        if head.root != tree.root(head.size):
            raise TrustError(Reason.HEAD, place, "its root is not that of the entries")
        size = head.size
    if size != len(tree):
        raise TrustError(Reason.HEAD, "heads", f"the last head covers {size} of {len(tree)} entries")


def _check_steps(header: Header, segment: Segment, rows: Sequence[StepRow], place: str) -> None:
    if [row.step for row in rows] != list(range(segment.first, segment.first + segment.steps)):
        raise FormatError(Reason.ROWS, place, "the rows are not the segment's steps in order")
    if any(len(row.batches) != header.micro * header.world for row in rows):
        raise FormatError(Reason.ROWS, place, f"not {header.micro} batches a step")
    if rows[0].hyper is not None or any(row.hyper == {} for row in rows):
        raise FormatError(Reason.ROWS, place, "a row states hyper-parameters where none change")
    batches = [batch for row in rows for batch in row.batches]
    if sum(batch.count for batch in batches) != segment.records:
        raise FormatError(Reason.ROWS, place, "the rows do not sum up to the segment's records")
    if any((batch.indices is not None) != (header.commitment.mode == "indexed") for batch in batches):
        raise FormatError(Reason.ROWS, place, "indices belong to indexed mode, and only there")
    if any(batch.indices is not None and len(batch.indices) != batch.count for batch in batches):
        raise FormatError(Reason.ROWS, place, "not one index per record")


def _check_indices(rows: Sequence[StepRow], leaves: Sequence[merkle.Digest], place: str) -> None:
    for batch in (batch for row in rows for batch in row.batches):
        indices = batch.indices or ()
        if any(index >= len(leaves) for index in indices):
            raise FormatError(Reason.ROWS, place, f"an index beyond the dataset's {len(leaves)} records")
        if merkle.root(leaves[index] for index in indices) != batch.root:
            raise FormatError(Reason.ROWS, place, "a batch root is not that of the records it names")


def _with_hyper(segment: Segment, rows: Sequence[StepRow]) -> tuple[Step, ...]:
    steps, hyper = [], dict(segment.hyper)
    for row in rows:
        hyper = {**hyper, **(row.hyper or {})}
        steps.append(Step(row.step, row.batches, hyper))
    return tuple(steps)
