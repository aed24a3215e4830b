"""Make archives that every reader accepts, each with one thing that readers might not expect."""

import math
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any

from polarchive.format import container, merkle, tensors
from polarchive.format.commitment import Batch, BatchRow, Opening, Salts
from polarchive.format.entry import Commitment, Header, Initial, StepRow
from polarchive.format.schema import Field, Schema
from polarchive.format.tensors import ITEMSIZE, Array
from polarchive.format.zip import Listed, local_header
from tests.authority import Authority
from tests.simulator import Member, Simulation, State, at, batch_of, changed, noise
from tools.catalogue import good
from tools.catalogue.forge import (
    LONG,
    NONE,
    ONE,
    TWO,
    forged,
    members_of,
    of_batches,
    pack,
    parts_of,
    plus,
    schema_of,
    shown,
    small,
    varied,
    with_members,
    zipped,
)

ROWS = "Records and batches"
TSA = Authority("tsa")
FULL = Simulation(segments=2, every=2, records=2)
PLAIN = Simulation(segments=1, every=1, records=1)
INDEXED = small(Simulation(segments=1, every=1, records=3, dataset=5))


@good("The log")
def finished() -> bytes:
    """A run of two segments with an end, every state stored, salted, with all kinds of fields."""
    return pack(FULL)


@good("The log")
def unfinished() -> bytes:
    """A run without an end: well formed, and not to be accepted by a judge."""
    return forged(TWO, finished=False)


@good("The log")
def only_a_header() -> bytes:
    """A run that was signed before its first step and never went on; the entries and rows are empty."""
    return pack(NONE)


@good("The log")
def no_segments() -> bytes:
    """A finished run of no steps: a header and an end, whose root is that of state 0."""
    return forged(segments=0)


@good("The log")
def one_segment() -> bytes:
    """A finished run of one segment of one step of one record."""
    return pack(ONE)


@good("The log")
def last_segment_shorter() -> bytes:
    """The last segment has fewer steps than the others."""
    return forged(LONG, last=1)


@good("Header")
def every_larger_than_the_run() -> bytes:
    """The header says that segments have 2^64 - 1 steps; the only one has one."""
    return forged(ONE, header=changed(every=(1 << 64) - 1))


@good("States")
def state_not_stored() -> bytes:
    """The state between the segments is committed and not stored."""
    return forged(TWO, store={2})


@good("States")
def only_state_0_stored() -> bytes:
    """An unfinished run of which only state 0 is stored."""
    return forged(TWO, finished=False, store=())


@good(ROWS)
def unsalted() -> bytes:
    """All salts are 32 zero bytes and the header says so."""
    return forged(PLAIN, salted=False)


@good("Step row")
def two_batches_a_step() -> bytes:
    """Gradients accumulate: each step has two batches."""
    return forged(PLAIN, micro=2)


@good(ROWS)
def resumed() -> bytes:
    """Recording was resumed before the second segment, whose salts are those of epoch 1."""
    salts = Salts(noise(0, "secret", 32), noise(0, "run", 16))

    def again(steps: list[list[Opening]]) -> list[list[Opening]]:
        return [steps[0], [Opening(steps[1][0].batch, salts.of(1, 1, 0, 2))]]

    return forged(TWO, openings=again, entries=at(1, changed(epoch=1)))


@good("Segment")
def epochs_that_skip() -> bytes:
    """Recording was resumed twice before anything was signed again: epoch 0 is followed by epoch 2."""
    return forged(TWO, entries=at(1, changed(epoch=2)))


@good("Segment")
def later_than_a_stamp() -> bytes:
    """The second segment names a stamp over the head of size 2, which is in the archive."""
    stamp = TSA.over(TWO.run().notes[1])
    entries = at(1, changed(not_before=sha256(stamp).digest()))
    return forged(TWO, entries=entries, members=plus(container.stamp_name(2, 0), stamp))


@good("Segment")
def later_than_a_stamp_that_is_not_there() -> bytes:
    """The segment names a stamp that is not in the archive: the field shows nothing and breaks nothing."""
    return forged(entries=at(0, changed(not_before=bytes(32))))


@good("Stamps and cosignatures")
def stamps_and_cosignatures() -> bytes:
    """A stamp over the head of size 2, and cosignatures of that of size 3."""
    line = "— witness.example " + b64encode(bytes(76)).decode() + "\n"
    members = [
        (container.stamp_name(2, 0), TSA.over(ONE.run().notes[1])),
        (container.cosignatures_name(3), line.encode()),
    ]
    return with_members(lambda found: sorted([*found, *members]), ONE)


@good("Stamps and cosignatures", large=True)
def stamp_of_the_greatest_size() -> bytes:
    """A stamp of 65,536 bytes, of an authority that has much to say."""
    rest = len(_saying("x" * 60000)) - 60000
    return with_members(plus(container.stamp_name(1, 0), _saying("x" * (65536 - rest))))


def _saying(said: str) -> bytes:
    return TSA.stamp(sha256(NONE.run().notes[0]).digest(), None, said=said)


@good("Container")
def no_padding() -> bytes:
    """A member whose padding field has no zero bytes, because its data would begin aligned anyway."""
    for size in range(64):
        members = plus(container.stamp_name(1, 0), _saying("x" * size))(members_of(NONE))
        if any(room == 0 for room in _rooms(members)):
            return zipped(parts_of(members))
    raise AssertionError("no size leaves a member aligned")


def _rooms(members: list[Member]) -> list[int]:
    rooms, offset = [], 0
    for name, data in members:
        head = len(local_header(Listed(name, len(data), 0, b""), offset))
        rooms.append(head - 54 - len(name))
        offset += head + len(data)
    return rooms


@good("Heads")
def one_head() -> bytes:
    """A single head covers all entries, though writers sign one after each."""
    return forged(heads=lambda heads: heads[-1:])


@good("Header")
def initial_from_a_parent() -> bytes:
    """State 0 is a state of another archive."""
    return forged(NONE, header=changed(initial=Initial("parent", archive=bytes(32), state=bytes(32))))


@good("Header")
def initial_unexplained() -> bytes:
    """State 0 is not explained."""
    return forged(NONE, header=changed(initial=Initial("unexplained")))


@good("Header")
def initial_with_the_greatest_seed() -> bytes:
    """State 0 was made under the seed 2^64 - 1."""
    return forged(NONE, header=changed(initial=Initial("seeded", seed=(1 << 64) - 1)))


@good("Header")
def nothing_informative() -> bytes:
    """No source, an empty stack and an empty probe."""
    return forged(PLAIN, header=changed(source=None, stack={}, probe={}))


@good("Header")
def ranges_of_every_form() -> bytes:
    """Fields of the schema have integers, floats, one bound only, and dimensions that may be any."""
    return forged(NONE, header=_ranged)


def _ranged(header: Header) -> Header:
    fields = (
        Field("a", "F32", "record", (None, 3), -1.5, 1.5),
        Field("b", "I64", "record", (), 0, None),
        Field("c", "F64", "batch", (None,), None, 5e-324),
        Field("d", "UTF8", "record", ()),
        Field("e", "C64", "record", ((1 << 64) - 1,)),
    )
    return replace(header, schema=Schema(fields))


@good("Header")
def stack_of_64_texts() -> bytes:
    """As many facts about the environment as there may be."""
    return forged(NONE, header=changed(stack={f"{number:02}": "" for number in range(64)}))


@good("JSON")
def text_of_every_character() -> bytes:
    """A text of every character of printable ASCII, two of them escaped."""
    return forged(NONE, header=changed(stack={"all": "".join(map(chr, range(0x20, 0x7F)))}))


@good("JSON")
def settings_of_every_form() -> bytes:
    """Hyper-parameters that are null, boolean, the outermost integers, and floats down to negative zero."""
    hyper = {
        "none": None,
        "yes": True,
        "no": False,
        "zero": 0,
        "least": -(1 << 63),
        "greatest": (1 << 63) - 1,
        "zero_float": 0.0,
        "negative_zero": -0.0,
        "denormal": 5e-324,
        "largest": math.nextafter(math.inf, 0),
    }
    return forged(entries=at(0, changed(hyper=hyper)))


@good("Step row")
def no_hyper_parameters() -> bytes:
    """No hyper-parameters at all."""
    return forged(LONG, rows=_without_changes, entries=_without_hyper)


@good("Step row")
def hyper_that_never_changes() -> bytes:
    """No row states hyper-parameters, so all steps of a segment have the same."""
    return forged(LONG, rows=_without_changes)


def _without_changes(segments: list[list[StepRow]]) -> list[list[StepRow]]:
    return [[replace(row, hyper=None) for row in rows] for rows in segments]


def _without_hyper(entries: list[Any]) -> list[Any]:
    return [*map(changed(hyper={}), entries[:-1]), entries[-1]]


@good(ROWS)
def no_batch_level_fields() -> bytes:
    """Batches have no fields of their own, so `whole` is null."""

    def bare(batch: Batch) -> Batch:
        return Batch(batch.count, batch.columns, {})

    return forged(PLAIN, openings=of_batches(bare), header=schema_of(bare))


@good(ROWS)
def only_batch_level_fields() -> bytes:
    """No field belongs to records, so batches count none."""

    def bare(batch: Batch) -> Batch:
        return Batch(0, {}, batch.whole)

    return forged(PLAIN, openings=of_batches(bare), header=schema_of(bare))


@good(ROWS)
def empty_batch() -> bytes:
    """The only step consumed a batch of no records, whose root is root()."""
    return forged(PLAIN, openings=at(0, at(0, lambda opening: shown(batch_of(0, 0, 0, 0), opening.salts))))


@good("States")
def no_tensors() -> bytes:
    """States have no tensors at all."""
    return forged(NONE, states=lambda states: [{} for _ in states])


@good("States")
def every_dtype() -> bytes:
    """State 0 has a tensor of each dtype."""
    return _with_tensors({dtype.lower(): Array(dtype, (2,), bytes([1]) * 2 * size) for dtype, size in ITEMSIZE.items()})


@good("States")
def tensors_of_every_shape() -> bytes:
    """State 0 has tensors of no dimension, of no elements, of 16 dimensions, and one of 2^48 - 1 times nothing."""
    shapes: dict[str, tuple[int, ...]] = {
        "scalar": (),
        "empty": (0,),
        "hollow": (2, 0, 3),
        "deep": (1,) * 15 + (2,),
        "longest": ((1 << 48) - 1, 0),
    }
    return _with_tensors({name: Array("F32", shape, bytes(4 * math.prod(shape))) for name, shape in shapes.items()})


@good("States")
def names_of_every_form() -> bytes:
    """Tensors have names with quotes, backslashes, slashes, dots and spaces."""
    names = ['"', "\\", '\\"', " ", "../../etc/passwd", "/", "a:int", "__metadata", "\\u0061", "A", "a"]
    return _with_tensors({name: Array("U8", (1,), bytes([index])) for index, name in enumerate(names)})


@good("States", large=True)
def name_of_4096_characters() -> bytes:
    """A tensor has the longest name."""
    return _with_tensors({"~" * 4096: Array("U8", (1,), b"1")})


@good("States")
def not_a_number() -> bytes:
    """A state may hold NaN and infinities: content is bytes."""
    return _with_tensors({"x": Array("F32", (3,), bytes.fromhex("0000c07f 0000807f 000080ff"))})


@good("States", large=True)
def tensor_of_two_chunks() -> bytes:
    """A tensor one byte larger than a chunk of 16 MiB, whose leaf is over the root of two chunks."""
    return _with_tensors({"x": Array("U8", (tensors.CHUNK + 1,), bytes(tensors.CHUNK + 1))})


def _with_tensors(state: State) -> bytes:
    return forged(NONE, states=at(0, lambda _: state))


@good("States")
def one_state_twice() -> bytes:
    """Training changed nothing: all states are equal, each stored under its own number."""
    return forged(TWO, states=lambda states: [states[0] for _ in states])


@good("Indexed mode")
def indexed() -> bytes:
    """Batches name records of a dataset by index, some twice."""
    return pack(INDEXED)


@good("Indexed mode")
def indexed_without_salts() -> bytes:
    """Batches name records of a dataset whose leaves are not salted."""
    return forged(INDEXED, salted=False)


@good("Indexed mode")
def indexed_with_two_batches_a_step() -> bytes:
    """Gradients accumulate over batches that name records of a dataset."""
    return forged(INDEXED, micro=2)


@good("Indexed mode")
def indexed_with_an_empty_batch() -> bytes:
    """A batch of no records has empty indices."""
    return forged(INDEXED, rows=at(0, at(0, _of_nothing)))


@good("Indexed mode")
def indexed_into_nothing() -> bytes:
    """A dataset of no records, whose root is root()."""
    commitment = Commitment("indexed", True, merkle.EMPTY, 0)
    return forged(
        rows=at(0, at(0, _of_nothing)), header=changed(commitment=commitment), members=plus(container.DATASET)
    )


def _of_nothing(row: StepRow) -> StepRow:
    return replace(row, batches=(BatchRow(0, merkle.EMPTY, row.batches[0].whole, ()),))


@good("Container", large=True)
def more_than_65535_members() -> bytes:
    """More members than the 16 bits of ZIP's first directory can count: 1,000 stamps over each of 66 heads."""
    run = varied(ONE, segments=64, store={64})
    stamps = [Authority("tsa", certificates=lambda _: []).over(note) for note in run.run().notes]
    each = [(container.stamp_name(size, number), raw) for size, raw in enumerate(stamps, 1) for number in range(1000)]
    return with_members(lambda found: sorted([*found, *each]), run)


@good("States")
def content_with_signatures_of_zip() -> bytes:
    """Stamps and states whose bytes look like records of a ZIP, which readers of the format never search for."""
    bait = b"PK\x05\x06" + bytes(18) + b"PK\x03\x04" + b"PK\x01\x02"
    run = varied(NONE, states=at(0, lambda _: {"x": Array("U8", (len(bait),), bait)}))
    stamp = TSA.stamp(sha256(run.run().notes[0]).digest(), None, said=bait.decode())
    return forged(run, members=plus(container.stamp_name(1, 0), stamp))
