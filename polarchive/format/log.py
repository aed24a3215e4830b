"""Hold a run's entries to one another and to the heads over them (SPEC.md, "The log")."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from polarchive.errors import DigestError, FormatError, Reason, TrustError
from polarchive.format import merkle, note
from polarchive.format.commitment import BatchRow
from polarchive.format.entry import Commitment, End, Entry, Header, Hyper, Segment, StepRow
from polarchive.format.limits import MAX_ENTRIES, MAX_HYPER
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


def check_dataset(commitment: Commitment, data: bytes) -> merkle.Digests:
    """Return the leaf digests of a dataset in indexed mode; DigestError unless they are the committed ones."""
    leaves = merkle.Digests(data)
    if len(data) != merkle.SIZE * (commitment.size or 0) or leaves.root() != commitment.root:
        raise DigestError(Reason.DIGEST, "dataset", "the leaf digests are not those that the header commits to")
    return leaves


def check_rows(header: Header, segment: Segment, data: bytes, leaves: Sequence[merkle.Digest] = ()) -> tuple[Step, ...]:
    """Return the steps of a segment out of the bytes of its rows; FormatError unless they are the committed ones."""
    return tuple(each_step(header, segment, data, leaves))


def each_step(header: Header, segment: Segment, data: bytes, leaves: Sequence[merkle.Digest]) -> Iterator[Step]:
    """Yield what `check_rows` returns, one step in memory at a time; only the end of it says that all of them fit."""
    place, records, hyper = f"segment {segment.index} rows", 0, segment.hyper
    for number, line in enumerate(_committed_lines(segment, data, place), segment.first):
        row = decode_row(line, place)
        _check_row(header, segment, row, number, place)
        if header.commitment.mode == "indexed":
            _check_indices(row, leaves, place)
        records += sum(batch.count for batch in row.batches)
        hyper = {**hyper, **row.hyper} if row.hyper else hyper
        if len(hyper) > MAX_HYPER:
            raise FormatError(Reason.FIELD, place, f"more than {MAX_HYPER} hyper-parameters in step {number}")
        yield Step(number, row.batches, hyper)
    if records != segment.records:
        raise FormatError(Reason.ROWS, place, "the rows do not sum up to the segment's records")


def _committed_lines(segment: Segment, data: bytes, place: str) -> list[bytes]:
    if (data.count(b"\n"), len(data)) != (segment.steps, segment.rows.size) or not data.endswith(b"\n"):
        raise FormatError(Reason.ROWS, place, f"not {segment.steps} lines in {segment.rows.size} bytes")
    lines = data.split(b"\n")[:-1]
    if merkle.root(merkle.leaf(line) for line in lines) != segment.rows.root:
        raise FormatError(Reason.ROWS, place, "the rows differ from their committed root")
    return lines


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


def _check_row(header: Header, segment: Segment, row: StepRow, number: int, place: str) -> None:
    if row.step != number:
        raise FormatError(Reason.ROWS, place, "the rows are not the segment's steps in order")
    if len(row.batches) != header.micro * header.world:
        raise FormatError(Reason.ROWS, place, f"not {header.micro} batches a step")
    if row.hyper == {} or (row.hyper is not None and number == segment.first):
        raise FormatError(Reason.ROWS, place, "a row states hyper-parameters where none change")
    if any((batch.indices is not None) != (header.commitment.mode == "indexed") for batch in row.batches):
        raise FormatError(Reason.ROWS, place, "indices belong to indexed mode, and only there")


def _check_indices(row: StepRow, leaves: Sequence[merkle.Digest], place: str) -> None:
    for batch in row.batches:
        indices = batch.indices or ()
        if len(indices) != batch.count:
            raise FormatError(Reason.ROWS, place, "not one index per record")
        if any(index >= len(leaves) for index in indices):
            raise FormatError(Reason.ROWS, place, f"an index beyond the dataset's {len(leaves)} records")
        if merkle.root(leaves[index] for index in indices) != batch.root:
            raise FormatError(Reason.ROWS, place, "a batch root is not that of the records it names")
