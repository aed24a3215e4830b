"""Make archives whose log or rows break a rule, and whose heads honestly cover what they say."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from polarchive.errors import Reason
from polarchive.format import container, merkle, note
from polarchive.format.entry import Rows, Segment, StepRow
from polarchive.format.tensors import Array, Spec
from tests.simulator import STRANGER, FakeSigner, Hook, State, at, changed, hyper_of
from tools.catalogue import opened, sealed
from tools.catalogue.forge import LONG, NONE, ONE, SIGNER, TWO, data_of, drop, forged, put, swap, varied
from tools.catalogue.good import INDEXED

THREE = varied(TWO, segments=3)
NAMESAKE = FakeSigner(SIGNER.name, STRANGER.seed)
LOG, HEADS, HEADER, SEGMENT, ROW = "The log", "Heads", "Header", "Segment", "Step row"


def moved(first: int, second: int) -> Hook[Any]:
    """Return the hook that lets two parts change places."""

    def hook(parts: list[Any]) -> list[Any]:
        parts = list(parts)
        parts[first], parts[second] = parts[second], parts[first]
        return parts

    return hook


def without(index: int) -> Hook[Any]:
    """Return the hook that leaves out one part."""
    return lambda parts: [part for number, part in enumerate(parts) if number != index]


def twice(index: int) -> Hook[Any]:
    """Return the hook that repeats one part."""
    return lambda parts: [*parts[: index + 1], *parts[index:]]


def row(index: int, change: Callable[[StepRow], StepRow]) -> Hook[list[StepRow]]:
    """Return the hook that changes one row of segment 0."""
    return at(0, at(index, change))


def batch(**fields: Any) -> Callable[[StepRow], StepRow]:
    """Return the function that changes the first batch of a row."""
    return lambda found: replace(found, batches=(replace(found.batches[0], **fields), *found.batches[1:]))


@opened(Reason.ENTRY, LOG)
def segment_missing() -> bytes:
    """The second of three segments is left out."""
    return forged(THREE, entries=without(1))


@opened(Reason.ENTRY, LOG)
def segment_twice() -> bytes:
    """A segment stands in the log twice."""
    return forged(TWO, entries=twice(0))


@opened(Reason.ENTRY, LOG)
def segments_swapped() -> bytes:
    """Two segments have changed places."""
    return forged(TWO, entries=moved(0, 1))


@opened(Reason.ENTRY, LOG)
def segment_of_another_index() -> bytes:
    """A segment has an index one too high."""
    return forged(TWO, entries=at(1, changed(index=2)))


@opened(Reason.ENTRY, LOG)
def segments_from_one() -> bytes:
    """The index of the only segment is 1."""
    return forged(entries=at(0, changed(index=1)))


@opened(Reason.ENTRY, LOG)
def steps_left_out() -> bytes:
    """A segment begins one step after the end of the one before."""
    return forged(TWO, entries=at(1, changed(first=2)))


@opened(Reason.ENTRY, LOG)
def steps_twice() -> bytes:
    """A segment begins with the step of the one before."""
    return forged(TWO, entries=at(1, changed(first=0)))


@opened(Reason.ENTRY, LOG)
def steps_from_one() -> bytes:
    """The first step of the run is 1."""
    return forged(entries=at(0, changed(first=1)))


@opened(Reason.ENTRY, LOG)
def segment_too_long() -> bytes:
    """A segment has more steps than `every`."""
    return forged(LONG, header=changed(every=1))


@opened(Reason.ENTRY, LOG)
def segment_too_short() -> bytes:
    """A segment that another follows has fewer steps than `every`."""
    return forged(TWO, header=changed(every=2))


@opened(Reason.ENTRY, LOG)
def epoch_goes_back() -> bytes:
    """The epoch of a segment is lower than that of the one before."""
    return forged(TWO, entries=at(0, changed(epoch=1)))


@opened(Reason.ENTRY, LOG)
def segment_after_the_end() -> bytes:
    """A segment follows the end."""
    return forged(TWO, entries=moved(1, 2))


@opened(Reason.ENTRY, LOG)
def end_twice() -> bytes:
    """The end stands in the log twice."""
    return forged(entries=twice(1))


@opened(Reason.FIELD, "Entries")
def header_twice() -> bytes:
    """The header follows itself as entry 1."""
    return forged(NONE, lines=twice(0))


@opened(Reason.FIELD, "Entries")
def entry_of_an_unknown_type() -> bytes:
    """An entry has the type "note"."""
    return forged(lines=at(1, put("type", to="note")))


@opened(Reason.FIELD, "Entries")
def segment_for_a_header() -> bytes:
    """Entry 0 is a segment."""
    return forged(lines=at(0, lambda _: ONE.run().lines[1]))


@opened(Reason.ENTRY, LOG)
def end_of_another_state() -> bytes:
    """The end has the root of the state before the last."""
    root = TWO.run().segments[0].root
    return forged(TWO, entries=at(2, changed(root=root)))


@opened(Reason.ENTRY, LOG)
def end_of_fewer_steps() -> bytes:
    """The end counts a step less than the segments."""
    return forged(TWO, entries=at(2, lambda end: replace(end, steps=end.steps - 1)))


@opened(Reason.ENTRY, LOG)
def end_of_more_records() -> bytes:
    """The end counts a record more than the segments."""
    return forged(TWO, entries=at(2, lambda end: replace(end, records=end.records + 1)))


@opened(Reason.ENTRY, LOG)
def end_of_no_segments_and_another_state() -> bytes:
    """The end of a run of no steps has another root than state 0."""
    return forged(segments=0, entries=at(0, changed(root=bytes(32))))


@opened(Reason.ENTRY, LOG)
def last_state_not_stored() -> bytes:
    """The run has an end, and its last state is not stored."""
    return forged(TWO, store={1})


@opened(Reason.LIMIT, "Limits")
def segment_of_no_steps() -> bytes:
    """A segment has no steps."""
    return forged(TWO, lines=at(2, put("steps", to="0")))


@opened(Reason.LIMIT, "Limits")
def segment_of_too_many_steps() -> bytes:
    """A segment has 2^64 - 1 steps, and the header allows them."""
    return forged(header=changed(every=(1 << 64) - 1), lines=at(1, put("steps", to=str((1 << 64) - 1))))


@opened(Reason.JSON, "JSON")
def segment_with_a_space() -> bytes:
    """A segment is spelled with a space, and the heads cover it so."""
    return forged(lines=at(1, swap(b'","', b'", "')))


@opened(Reason.FIELD, SEGMENT)
def segment_with_more() -> bytes:
    """A segment has a field that this version does not know."""
    return forged(lines=at(1, put("loss", to="i0")))


@opened(Reason.FIELD, SEGMENT)
def segment_with_less() -> bytes:
    """A segment has no `epoch`."""
    return forged(lines=at(1, drop("epoch")))


@opened(Reason.VERSION, HEADER)
def two_processes() -> bytes:
    """Two processes trained."""
    return forged(NONE, header=changed(world=2))


@opened(Reason.VERSION, "Versions")
def version_2() -> bytes:
    """The header is of polarchive/v2."""
    return forged(NONE, lines=at(0, put("version", to="polarchive/v2")))


@opened(Reason.FIELD, HEADER)
def mode_unknown() -> bytes:
    """Batches are committed in a mode that this version does not know."""
    return forged(NONE, lines=at(0, put("commitment", "mode", to="streamed")))


@opened(Reason.FIELD, HEADER)
def header_with_more() -> bytes:
    """The header has a field that this version does not know."""
    return forged(NONE, lines=at(0, put("author", to="Alice")))


@opened(Reason.HEAD, HEADS)
def no_heads() -> bytes:
    """The member of the heads is empty."""
    return forged(NONE, heads=lambda heads: [])


@opened(Reason.HEAD, HEADS)
def end_not_covered() -> bytes:
    """No head covers the end."""
    return forged(heads=lambda heads: heads[:-1])


@opened(Reason.HEAD, HEADS)
def head_twice() -> bytes:
    """A head stands there twice."""
    return forged(heads=twice(1))


@opened(Reason.HEAD, HEADS)
def heads_descending() -> bytes:
    """Two heads have changed places."""
    return forged(heads=moved(0, 1))


@opened(Reason.HEAD, HEADS)
def two_roots_of_one_size() -> bytes:
    """Two heads of one size have different roots: a rewritten log."""
    return forged(heads=lambda heads: [heads[0], heads[1], replace(heads[1], root=bytes(32)), heads[2]])


@opened(Reason.HEAD, HEADS)
def head_of_another_history() -> bytes:
    """The head of size 2 has the root of a log in which the segments have changed places."""
    lines = TWO.run().lines
    root = merkle.root(merkle.leaf(line) for line in (lines[0], lines[2]))
    return forged(TWO, heads=at(1, changed(root=root)))


@opened(Reason.HEAD, HEADS)
def last_head_of_another_root() -> bytes:
    """The last head has a root of zeros."""
    return forged(NONE, heads=at(-1, changed(root=bytes(32))))


@opened(Reason.HEAD, HEADS)
def head_of_nothing() -> bytes:
    """A head of size 0 precedes the others."""
    return forged(NONE, heads=lambda heads: [replace(heads[0], size=0, root=merkle.EMPTY), *heads])


@opened(Reason.HEAD, HEADS)
def head_of_what_is_not_there() -> bytes:
    """A head of size 4 follows the last, in a log of 3."""
    return forged(heads=lambda heads: [*heads, replace(heads[-1], size=4)])


@opened(Reason.HEAD, HEADS)
def head_above_u64() -> bytes:
    """A head of size 10^19 follows the last."""
    return forged(NONE, heads=lambda heads: [*heads, replace(heads[-1], size=10**19)])


@opened(Reason.HEAD, HEADS)
def origin_of_another_run() -> bytes:
    """A head has the origin of another run of the same key."""
    return forged(NONE, heads=at(0, changed(origin=note.origin(SIGNER.key, bytes(16)))))


@opened(Reason.HEAD, HEADS)
def origin_of_another_key() -> bytes:
    """A head has the origin of another signer's run."""
    return forged(NONE, heads=at(0, changed(origin=note.origin(STRANGER.key, NONE.run().header.run))))


@opened(Reason.HEAD, HEADS)
def origin_in_capitals() -> bytes:
    """A head names the run in upper-case hex digits."""
    return forged(NONE, heads=at(0, lambda head: replace(head, origin=head.origin[:-32] + head.origin[-32:].upper())))


@opened(Reason.KEY, HEADS)
def one_head_by_a_stranger() -> bytes:
    """A head is signed by another key of another name."""
    return forged(NONE, notes=at(0, lambda _: note.sign(NONE.run().heads[0], STRANGER)))


@opened(Reason.KEY, HEADS)
def one_head_by_a_namesake() -> bytes:
    """A head is signed by another key of the same name."""
    return forged(NONE, notes=at(0, lambda _: note.sign(NONE.run().heads[0], NAMESAKE)))


@opened(Reason.KEY, HEADS)
def all_heads_by_a_stranger() -> bytes:
    """All heads of someone's log are signed anew by another key, to keep the stamps."""
    return forged(NONE, notes=lambda _: [note.sign(head, STRANGER) for head in NONE.run().heads])


@opened(Reason.SIGNATURE, HEADS)
def signature_of_another_head() -> bytes:
    """A head has the signature of the next."""
    first, second = ONE.run().heads[:2]
    signed = note.sign(second, SIGNER).removeprefix(second.text)
    return forged(notes=at(0, lambda _: first.text + signed))


@opened(Reason.SIGNATURE, HEADS)
def head_changed_after_signing() -> bytes:
    """The size of a head was changed after it was signed."""
    return forged(notes=at(1, swap(b"\n2\n", b"\n3\n")))


@opened(Reason.NOTE, HEADS)
def heads_with_an_empty_line() -> bytes:
    """An empty line stands between two heads."""
    return forged(notes=at(1, lambda signed: b"\n" + signed))


@opened(Reason.NOTE, HEADS)
def heads_without_the_last_line_end() -> bytes:
    """The last head has no line end."""
    return forged(NONE, notes=at(-1, lambda signed: signed[:-1]))


@opened(Reason.NOTE, HEADS)
def heads_with_a_cosignature() -> bytes:
    """A witness's signature line follows a head among the heads."""
    witness = note.sign(ONE.run().heads[2], STRANGER).split(b"\n")[4]
    return forged(notes=at(-1, lambda signed: signed + witness + b"\n"))


@opened(Reason.LIMIT, "Limits", large=True)
def head_too_long() -> bytes:
    """The key has a name of 2,100 characters, so that its notes are longer than 4,096 bytes."""
    return forged(NONE, signer=FakeSigner("n" * 2100, SIGNER.seed))


@sealed(Reason.ROWS, ROW)
def rows_of_another_root() -> bytes:
    """A segment commits to another root of its rows."""
    return forged(entries=at(0, lambda segment: replace(segment, rows=replace(segment.rows, root=bytes(32)))))


@opened(Reason.ROWS, ROW)
def rows_of_another_size() -> bytes:
    """A segment says that its rows have one byte less."""
    return forged(entries=at(0, lambda segment: _rows_less(segment, 1)))


@sealed(Reason.ROWS, ROW)
def rows_divided_elsewhere() -> bytes:
    """The first segment says that its rows have one byte less, and the second one more."""
    return forged(TWO, entries=lambda entries: [_rows_less(entries[0], 1), _rows_less(entries[1], -1), *entries[2:]])


def _rows_less(segment: Segment, size: int) -> Segment:
    return replace(segment, rows=Rows(segment.rows.size - size, segment.rows.root))


@sealed(Reason.ROWS, ROW)
def row_missing() -> bytes:
    """A segment of two steps has one row."""
    return forged(LONG, rows=at(0, without(1)), entries=_two_steps)


@sealed(Reason.ROWS, ROW)
def row_too_many() -> bytes:
    """A segment of two steps has three rows."""
    return forged(LONG, rows=at(0, twice(1)), entries=_two_steps)


def _two_steps(entries: list[Any]) -> list[Any]:
    return [replace(entries[0], steps=2), entries[1], replace(entries[2], steps=4)]


@sealed(Reason.ROWS, ROW)
def rows_swapped() -> bytes:
    """The rows of a segment are in another order."""
    return forged(LONG, rows=at(0, lambda rows: [replace(found, hyper=None) for found in reversed(rows)]))


@sealed(Reason.ROWS, ROW)
def row_of_another_step() -> bytes:
    """The second row of a segment has the number of the first."""
    return forged(LONG, rows=row(1, changed(step=0)))


@sealed(Reason.ROWS, ROW)
def row_without_batches() -> bytes:
    """A row has no batches."""
    return forged(rows=row(0, changed(batches=())))


@sealed(Reason.ROWS, ROW)
def row_with_a_batch_too_many() -> bytes:
    """A row has two batches, where the header says one."""
    return forged(rows=row(0, lambda found: replace(found, batches=found.batches * 2)))


@sealed(Reason.ROWS, ROW)
def row_with_a_batch_too_few() -> bytes:
    """A row has one batch, where the header says two."""
    return forged(micro=2, rows=row(0, lambda found: replace(found, batches=found.batches[:1])))


@sealed(Reason.ROWS, ROW)
def records_do_not_add_up() -> bytes:
    """A segment, and the end with it, counts a record more than its rows."""
    return forged(
        entries=lambda entries: [
            replace(entries[0], records=entries[0].records + 1),
            replace(entries[1], records=entries[1].records + 1),
        ]
    )


@sealed(Reason.ROWS, ROW)
def indices_in_fed_mode() -> bytes:
    """A batch has indices in fed mode."""
    return forged(rows=row(0, batch(indices=(0,))))


@sealed(Reason.ROWS, ROW)
def hyper_in_the_first_row() -> bytes:
    """The first row of a segment repeats a hyper-parameter."""
    return forged(rows=row(0, changed(hyper={"sgd/0/lr": hyper_of(0)["sgd/0/lr"]})))


@sealed(Reason.ROWS, ROW)
def hyper_that_is_empty() -> bytes:
    """A row says with an empty object that no hyper-parameter changes."""
    return forged(LONG, rows=row(1, changed(hyper={})))


@sealed(Reason.JSON, "JSON")
def row_with_a_space() -> bytes:
    """A row is spelled with a space, and its segment commits to it so."""
    return forged(row_lines=at(0, at(0, swap(b'","', b'", "'))))


@sealed(Reason.FIELD, ROW)
def row_with_more() -> bytes:
    """A row has a field that this version does not know."""
    return forged(row_lines=at(0, at(0, put("loss", to="i0"))))


@sealed(Reason.FIELD, ROW)
def row_with_less() -> bytes:
    """A row has no `hyper`."""
    return forged(row_lines=at(0, at(0, drop("hyper"))))


@opened(Reason.DIGEST, "Indexed mode")
def dataset_of_another_size() -> bytes:
    """The header says that the dataset has a record more."""
    return forged(INDEXED, lines=at(0, put("commitment", "size", to="6")))


@opened(Reason.DIGEST, "Indexed mode")
def dataset_of_another_root() -> bytes:
    """The header has another root of the dataset."""
    return forged(INDEXED, lines=at(0, put("commitment", "root", to="00" * 32)))


@opened(Reason.DIGEST, "Indexed mode")
def dataset_with_a_byte_more() -> bytes:
    """A byte follows the digests of the dataset."""
    return forged(INDEXED, members=data_of(container.DATASET, lambda data: data + b"\0"))


@opened(Reason.DIGEST, "Indexed mode")
def dataset_with_a_record_less() -> bytes:
    """The last digest of the dataset is missing."""
    return forged(INDEXED, members=data_of(container.DATASET, lambda data: data[:-32]))


@sealed(Reason.ROWS, "Indexed mode")
def index_beyond_the_dataset() -> bytes:
    """A batch names record 5 of a dataset of five."""
    return forged(INDEXED, rows=row(0, batch(indices=(0, 1, 5))))


@sealed(Reason.ROWS, "Indexed mode")
def batch_of_other_records() -> bytes:
    """A batch names its records in another order, which is another root."""
    return forged(INDEXED, rows=row(0, lambda found: batch(indices=found.batches[0].indices[::-1])(found)))


@sealed(Reason.ROWS, "Indexed mode")
def indices_missing() -> bytes:
    """A batch names no records in indexed mode."""
    return forged(INDEXED, rows=row(0, batch(indices=None)))


@sealed(Reason.ROWS, "Indexed mode")
def indices_fewer_than_records() -> bytes:
    """A batch counts a record more than it names, and so do its segment and the end."""
    return forged(INDEXED, rows=row(0, batch(count=4)))


@sealed(Reason.STATE, HEADER)
def layout_of_other_names() -> bytes:
    """The layout in the header has another name than state 0 for a tensor."""

    def renamed(spec: Spec) -> Spec:
        return replace(spec, name="v") if spec.name == "w" else spec

    return forged(NONE, header=lambda header: replace(header, layout=tuple(map(renamed, header.layout))))


@sealed(Reason.STATE, HEADER)
def layout_of_other_shapes() -> bytes:
    """The layout in the header has another shape than state 0 for a tensor."""

    def reshaped(spec: Spec) -> Spec:
        return replace(spec, shape=(4,)) if spec.name == "w" else spec

    return forged(NONE, header=lambda header: replace(header, layout=tuple(map(reshaped, header.layout))))


@sealed(Reason.STATE, HEADER)
def layout_of_other_dtypes() -> bytes:
    """The layout in the header has I32 for a tensor that is F32 in state 0."""

    def retyped(spec: Spec) -> Spec:
        return replace(spec, dtype="I32") if spec.name == "w" else spec

    return forged(NONE, header=lambda header: replace(header, layout=tuple(map(retyped, header.layout))))


@sealed(Reason.STATE, HEADER)
def layout_of_fewer_tensors() -> bytes:
    """The layout in the header lacks a tensor of state 0."""
    return forged(NONE, header=lambda header: replace(header, layout=header.layout[:-1]))


@sealed(Reason.STATE, "States")
def root_of_another_state() -> bytes:
    """A segment commits to another root than that of its closing state, and so does the end."""
    return forged(entries=lambda entries: [replace(entry, root=bytes(32)) for entry in entries])


@sealed(Reason.STATE, "States")
def root_of_another_state_0() -> bytes:
    """The header commits to another root than that of state 0."""
    return forged(NONE, header=changed(root=bytes(32)))


@sealed(Reason.TENSORS, "States")
def bool_of_two() -> bytes:
    """A BOOL of a state is 2, and its segment commits to it so."""

    def marked(state: State) -> State:
        return {**state, "m": Array("BOOL", (3,), bytes([1, 2, 0]))}

    return forged(states=at(1, marked))


@sealed(Reason.TENSORS, "States")
def state_in_another_order() -> bytes:
    """The tensors of a state lie in ascending order of name, which is not the order of storage."""
    state = {**ONE.run().states[1], "a": Array("U8", (4,), bytes(4))}
    return forged(states=at(1, lambda _: state), members=data_of(container.state_name(1), lambda _: _by_name(state)))


@sealed(Reason.TENSORS, "States")
def state_with_metadata() -> bytes:
    """A state has the metadata that safetensors allows, and its tensors are the committed ones."""
    return _stored(lambda data: _with_header(data, swap(b"{", b'{"__metadata__":{"format":"pt"},')))


@sealed(Reason.TENSORS, "States")
def state_with_a_byte_more() -> bytes:
    """A byte follows the tensors of a state."""
    return _stored(lambda data: data + b"\0")


@sealed(Reason.TENSORS, "States")
def state_with_a_byte_less() -> bytes:
    """The last byte of a state is missing."""
    return _stored(lambda data: data[:-1])


@sealed(Reason.TENSORS, "States")
def state_empty() -> bytes:
    """A state is a member of no bytes."""
    return _stored(lambda data: b"")


def _stored(change: Callable[[bytes], bytes]) -> bytes:
    return forged(members=data_of(container.state_name(1), change))


def _with_header(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    size = int.from_bytes(data[:8], "little")
    text = change(data[8 : 8 + size].rstrip(b" "))
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _by_name(state: State) -> bytes:
    header: dict[str, Any] = {}
    data = b""
    for name in sorted(state):
        array = state[name]
        span = [len(data), len(data) + len(array.data)]
        header[name] = {"dtype": array.dtype, "shape": list(array.shape), "data_offsets": span}
        data += bytes(array.data)
    text = json.dumps(header, separators=(",", ":")).encode()
    return _with_header(len(text).to_bytes(8, "little") + text + data, lambda text: text)
