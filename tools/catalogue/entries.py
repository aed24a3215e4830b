"""Make headers, entries and step rows, good and with one field wrong."""

import base64
import json
from collections.abc import Callable
from typing import Any

from polarchive.errors import Reason
from polarchive.format.canonical import Json
from polarchive.format.note import VerifierKey
from tests.simulator import PROVER
from tools.catalogue import OK, vector
from tools.catalogue.forge import ONE, drop, put, swap
from tools.catalogue.good import FULL, INDEXED

RUN = FULL.run()
SMALL = ONE.run().lines[0]
HEADER, SEGMENT, _, END = RUN.lines
ROW, SECOND_ROW = RUN.rows[0].splitlines()
INDEXED_ROW = INDEXED.run().rows[0].splitlines()[0]
U64 = 1 << 64


def header(*path: str | int, to: Json) -> bytes:
    """Return a small header with one value changed."""
    return put(*path, to=to)(SMALL)


def segment(*path: str | int, to: Json) -> bytes:
    """Return a segment with one value changed."""
    return put(*path, to=to)(SEGMENT)


def row(*path: str | int, to: Json) -> bytes:
    """Return a row with one value changed."""
    return put(*path, to=to)(ROW)


@vector("header", OK, "Header")
def honest() -> bytes:
    """A header as a writer makes it."""
    return HEADER


@vector("header", Reason.FIELD, "Header")
def every_0() -> bytes:
    """Segments of no steps."""
    return header("every", to="0")


@vector("header", Reason.FIELD, "Header")
def micro_0() -> bytes:
    """Steps of no batches."""
    return header("micro", to="0")


@vector("header", Reason.FIELD, "Header")
def micro_65537() -> bytes:
    """Steps of 65,537 batches."""
    return header("micro", to="65537")


@vector("header", OK, "Header")
def micro_65536() -> bytes:
    """Steps of 65,536 batches."""
    return header("micro", to="65536")


@vector("header", Reason.VERSION, "Header")
def world_0() -> bytes:
    """No process trained."""
    return header("world", to="0")


@vector("header", Reason.VERSION, "Header")
def version_missing() -> bytes:
    """No version."""
    return drop("version")(SMALL)


@vector("header", Reason.VERSION, "Versions")
def version_without_a_prefix() -> bytes:
    """The version is called v1."""
    return header("version", to="v1")


@vector("header", Reason.VERSION, "Header")
def version_2_with_other_fields() -> bytes:
    """A header of another version has fields of its own: the version is what is wrong with it."""
    return put("author", to="Alice")(put("version", to="polarchive/v2")(SMALL))


@vector("header", Reason.FIELD, "Entries")
def type_missing() -> bytes:
    """No type."""
    return drop("type")(SMALL)


@vector("header", Reason.FIELD, "Entries")
def an_array() -> bytes:
    """An array instead of an object."""
    return b"[]"


@vector("header", Reason.FIELD, "Header")
def run_of_15_bytes() -> bytes:
    """A run id of 30 digits."""
    return header("run", to="00" * 15)


@vector("header", Reason.FIELD, "Header")
def run_in_capitals() -> bytes:
    """A run id with an upper-case digit."""
    return header("run", to="A" + "0" * 31)


@vector("header", Reason.FIELD, "Heads")
def key_of_another_hash() -> bytes:
    """The key id of the verifier line is not that of its name and bytes."""
    return header("key", to=str(PROVER.key).replace(PROVER.key.id.hex(), "00000000"))


@vector("header", Reason.FIELD, "Heads")
def key_that_binds_nobody() -> bytes:
    """A public key of small order, under which one signature fits every text."""
    return header("key", to=str(VerifierKey("anyone", (1).to_bytes(32, "little"))))


@vector("header", Reason.FIELD, "Header")
def mode_in_capitals() -> bytes:
    """The mode is called FED."""
    return header("commitment", "mode", to="FED")


@vector("header", Reason.FIELD, "Header")
def salted_as_a_string() -> bytes:
    """A truth value in quotation marks."""
    return header("commitment", "salted", to="true")


@vector("header", Reason.FIELD, "Header")
def fed_with_a_dataset() -> bytes:
    """A root and size of a dataset in fed mode."""
    return put("commitment", to={"mode": "fed", "root": "00" * 32, "salted": True, "size": "1"})(SMALL)


@vector("header", Reason.FIELD, "Header")
def indexed_without_a_dataset() -> bytes:
    """No root and size of a dataset in indexed mode."""
    return header("commitment", "mode", to="indexed")


@vector("header", Reason.FIELD, "Header")
def indexed_without_a_size() -> bytes:
    """A root, but no size of a dataset in indexed mode."""
    return put("commitment", to={"mode": "indexed", "root": "00" * 32, "salted": True, "size": None})(SMALL)


@vector("header", Reason.FIELD, "Header")
def seeded_without_a_seed() -> bytes:
    """A seeded state 0 without its seed."""
    return header("initial", "seed", to=None)


@vector("header", Reason.FIELD, "Header")
def seeded_with_a_parent() -> bytes:
    """A seeded state 0 that has the digest of a parent too."""
    return header("initial", "archive", to="00" * 32)


@vector("header", Reason.FIELD, "Header")
def seed_above_u64() -> bytes:
    """The seed 2^64."""
    return header("initial", "seed", to=str(U64))


@vector("header", Reason.FIELD, "Header")
def seed_below_zero() -> bytes:
    """The seed -1."""
    return header("initial", "seed", to="-1")


@vector("header", Reason.FIELD, "Header")
def parent_without_a_state() -> bytes:
    """A parent archive, but not which of its states."""
    return put("initial", to={"kind": "parent", "seed": None, "archive": "00" * 32, "state": None})(SMALL)


@vector("header", Reason.FIELD, "Header")
def unexplained_with_a_seed() -> bytes:
    """A state 0 that is not explained, and a seed."""
    return header("initial", "kind", to="unexplained")


@vector("header", Reason.FIELD, "Header")
def initial_of_an_unknown_kind() -> bytes:
    """A kind of explanation that this version does not know."""
    return header("initial", "kind", to="random")


@vector("header", Reason.FIELD, "Header")
def initial_with_less() -> bytes:
    """The object of the initial state without a field that is null."""
    return drop("initial", "archive")(SMALL)


@vector("header", Reason.FIELD, "Header")
def schema_unsorted() -> bytes:
    """Two fields of the schema out of order."""
    return _schema(lambda fields: [fields[1], fields[0], *fields[2:]])


@vector("header", Reason.FIELD, "Header")
def schema_with_a_field_twice() -> bytes:
    """A field of the schema twice."""
    return _schema(lambda fields: [fields[0], *fields])


def _schema(change: Callable[[list[Any]], list[Any]]) -> bytes:
    return put("schema", to=change(json.loads(HEADER)["schema"]))(HEADER)


@vector("header", Reason.FIELD, "Header")
def field_of_an_unknown_dtype() -> bytes:
    """A field of the dtype F128."""
    return header("schema", 0, "dtype", to="F128")


@vector("header", Reason.FIELD, "Header")
def field_of_an_unknown_level() -> bytes:
    """A field of the level "run"."""
    return header("schema", 0, "level", to="run")


@vector("header", Reason.FIELD, "Header")
def field_of_17_dimensions() -> bytes:
    """A field of 17 dimensions."""
    return header("schema", 0, "shape", to=["1"] * 17)


@vector("header", Reason.FIELD, "Header")
def field_that_may_be_nan() -> bytes:
    """A field whose greatest value is NaN."""
    return header("schema", 0, "high", to="f7ff8000000000000")


def _field(**facts: Json) -> bytes:
    field = {"dtype": "F32", "high": None, "level": "record", "low": None, "name": "x", "shape": []}
    return header("schema", to=[{**field, **facts}])


@vector("header", Reason.FIELD, "Header")
def strings_of_a_batch() -> bytes:
    """A field of strings that belongs to the batch as a whole."""
    return _field(dtype="UTF8", level="batch")


@vector("header", Reason.FIELD, "Header")
def strings_of_a_shape() -> bytes:
    """A field of several strings a record."""
    return _field(dtype="UTF8", shape=["2"])


@vector("header", Reason.FIELD, "Header")
def strings_within_a_range() -> bytes:
    """A field of strings with a least value."""
    return _field(dtype="UTF8", low="i0")


@vector("header", Reason.FIELD, "Header")
def complex_numbers_within_a_range() -> bytes:
    """A field of complex numbers with a greatest value, though they have no order."""
    return _field(dtype="C64", high="f3ff0000000000000")


@vector("header", Reason.FIELD, "Header")
def eight_bit_floats_within_a_range() -> bytes:
    """A field of 8-bit floats with a greatest value."""
    return _field(dtype="F8_E4M3", high="i1")


@vector("header", Reason.FIELD, "Header")
def layout_unsorted() -> bytes:
    """Two tensors of the layout out of the order of storage."""
    return _layout(lambda specs: [specs[1], specs[0], *specs[2:]])


@vector("header", Reason.FIELD, "Header")
def layout_by_name() -> bytes:
    """The tensors of the layout in ascending order of name, narrow before wide."""
    return _layout(lambda specs: sorted(specs, key=lambda spec: str(spec["name"])))


@vector("header", Reason.FIELD, "Header")
def layout_with_a_tensor_twice() -> bytes:
    """A tensor of the layout twice."""
    return _layout(lambda specs: [specs[0], *specs])


def _layout(change: Callable[[list[Any]], list[Any]]) -> bytes:
    return put("layout", to=change(json.loads(HEADER)["layout"]))(HEADER)


@vector("header", Reason.FIELD, "Header")
def tensor_of_an_empty_name() -> bytes:
    """A tensor of the layout without a name."""
    return header("layout", to=[{"dtype": "F32", "name": "", "shape": []}])


@vector("header", Reason.FIELD, "States")
def tensor_called_metadata() -> bytes:
    """A tensor of the layout called as safetensors calls its metadata."""
    return header("layout", to=[{"dtype": "F32", "name": "__metadata__", "shape": []}])


@vector("header", Reason.FIELD, "Conventions")
def tensor_of_strings() -> bytes:
    """A tensor of the layout with the dtype UTF8, which only fields of batches may have."""
    return header("layout", to=[{"dtype": "UTF8", "name": "a", "shape": []}])


@vector("header", Reason.FIELD, "Limits")
def tensor_of_2_to_the_48() -> bytes:
    """A tensor of the layout with a dimension of 2^48."""
    return header("layout", to=[{"dtype": "F32", "name": "a", "shape": [str(1 << 48)]}])


@vector("header", Reason.FIELD, "Limits")
def tensor_of_17_dimensions() -> bytes:
    """A tensor of the layout with 17 dimensions."""
    return header("layout", to=[{"dtype": "F32", "name": "a", "shape": ["1"] * 17}])


@vector("header", Reason.FIELD, "Header")
def root_null() -> bytes:
    """No root of state 0."""
    return header("root", to=None)


@vector("header", Reason.FIELD, "Header")
def stack_of_65_texts() -> bytes:
    """One fact about the environment too many."""
    return header("stack", to={f"{number:02}": "" for number in range(65)})


@vector("header", Reason.FIELD, "Header")
def stack_of_an_object() -> bytes:
    """A fact about the environment that is an object."""
    return header("stack", to={"torch": {"version": "2"}})


@vector("header", Reason.FIELD, "Header")
def probe_of_9() -> bytes:
    """One type of device too many."""
    return header("probe", to={f"{number}": "00" * 32 for number in range(9)})


@vector("header", Reason.FIELD, "JSON")
def text_of_4097_characters() -> bytes:
    """A text one character too long."""
    return header("stack", to={"a": "x" * 4097})


@vector("header", OK, "JSON")
def text_of_4096_characters() -> bytes:
    """A text of the greatest length."""
    return header("stack", to={"a": "x" * 4096})


@vector("header", Reason.JSON, "JSON")
def keys_unsorted() -> bytes:
    """The keys of the header in another order."""
    return swap(b'"type":"header","version":"polarchive/v1"', b'"version":"polarchive/v1","type":"header"')(SMALL)


@vector("entry", OK, "Segment")
def honest_segment() -> bytes:
    """A segment as a writer makes it."""
    return SEGMENT


@vector("entry", OK, "End")
def honest_end() -> bytes:
    """An end as a writer makes it."""
    return END


@vector("entry", Reason.FIELD, "Entries")
def header_as_an_entry() -> bytes:
    """A header where a segment or an end should be."""
    return HEADER


@vector("entry", Reason.FIELD, "Entries")
def type_in_capitals() -> bytes:
    """The type is called Segment."""
    return segment("type", to="Segment")


@vector("entry", Reason.FIELD, "Entries")
def type_null() -> bytes:
    """The type is null."""
    return segment("type", to=None)


@vector("entry", Reason.FIELD, "JSON")
def index_with_a_leading_zero() -> bytes:
    """A number that begins with 0."""
    return segment("index", to="00")


@vector("entry", Reason.FIELD, "JSON")
def index_with_a_plus() -> bytes:
    """A number with a sign."""
    return segment("index", to="+0")


@vector("entry", Reason.FIELD, "JSON")
def index_with_a_minus() -> bytes:
    """A number with a minus sign."""
    return segment("index", to="-0")


@vector("entry", Reason.FIELD, "JSON")
def index_with_a_space() -> bytes:
    """A space before a number."""
    return segment("index", to=" 0")


@vector("entry", Reason.FIELD, "JSON")
def index_in_hex() -> bytes:
    """A number in hex digits."""
    return segment("index", to="0x0")


@vector("entry", Reason.FIELD, "JSON")
def index_of_a_fraction() -> bytes:
    """A number with a fraction of zero."""
    return segment("index", to="0.0")


@vector("entry", Reason.FIELD, "JSON")
def index_empty() -> bytes:
    """A number of no digits."""
    return segment("index", to="")


@vector("entry", Reason.FIELD, "JSON")
def index_true() -> bytes:
    """A truth value for a number."""
    return segment("index", to=True)


@vector("entry", OK, "JSON")
def records_of_the_greatest_u64() -> bytes:
    """The number 2^64 - 1."""
    return segment("records", to=str(U64 - 1))


@vector("entry", Reason.FIELD, "JSON")
def records_of_2_to_the_64() -> bytes:
    """The number 2^64."""
    return segment("records", to=str(U64))


@vector("entry", Reason.FIELD, "JSON")
def records_of_21_digits() -> bytes:
    """A number of 21 digits."""
    return segment("records", to="1" + "0" * 20)


@vector("entry", Reason.FIELD, "JSON")
def root_in_capitals() -> bytes:
    """A digest with an upper-case digit."""
    return segment("root", to="A" + "0" * 63)


@vector("entry", Reason.FIELD, "JSON")
def root_of_33_bytes() -> bytes:
    """A digest of 66 digits."""
    return segment("root", to="00" * 33)


@vector("entry", Reason.FIELD, "JSON")
def root_of_other_letters() -> bytes:
    """A digest with a letter that is no hex digit."""
    return segment("root", to="g" + "0" * 63)


@vector("entry", Reason.FIELD, "Segment")
def stored_null() -> bytes:
    """Neither stored nor not."""
    return segment("stored", to=None)


@vector("entry", Reason.FIELD, "Segment")
def stored_1() -> bytes:
    """A truth value as a digit."""
    return segment("stored", to="1")


@vector("entry", Reason.FIELD, "Segment")
def rows_without_a_size() -> bytes:
    """The rows of a segment without their size."""
    return drop("rows", "size")(SEGMENT)


@vector("entry", Reason.FIELD, "Segment")
def not_before_empty() -> bytes:
    """An empty string for the digest of a stamp."""
    return segment("not_before", to="")


@vector("entry", Reason.LIMIT, "Limits")
def steps_0() -> bytes:
    """A segment of no steps."""
    return segment("steps", to="0")


@vector("entry", Reason.LIMIT, "Limits")
def steps_above_the_limit() -> bytes:
    """A segment of 2^48 steps."""
    return segment("steps", to=str(1 << 48))


@vector("entry", Reason.LIMIT, "Limits")
def rows_above_the_limit() -> bytes:
    """A segment whose rows have 2^48 bytes."""
    return segment("rows", "size", to=str(1 << 48))


@vector("entry", Reason.FIELD, "JSON")
def setting_of_nan() -> bytes:
    """A setting that is NaN."""
    return segment("hyper", "sgd/0/lr", to="f7ff8000000000000")


@vector("entry", Reason.FIELD, "JSON")
def setting_of_infinity() -> bytes:
    """A setting that is infinite."""
    return segment("hyper", "sgd/0/lr", to="f7ff0000000000000")


@vector("entry", Reason.FIELD, "JSON")
def setting_in_capitals() -> bytes:
    """A float with an upper-case digit."""
    return segment("hyper", "sgd/0/lr", to="f3FE0000000000000")


@vector("entry", Reason.FIELD, "JSON")
def setting_of_15_digits() -> bytes:
    """A float of 15 digits."""
    return segment("hyper", "sgd/0/lr", to="f3fe000000000000")


@vector("entry", Reason.FIELD, "JSON")
def setting_in_decimal() -> bytes:
    """A float as people write it."""
    return segment("hyper", "sgd/0/lr", to="0.5")


@vector("entry", Reason.FIELD, "JSON")
def setting_without_a_tag() -> bytes:
    """An integer without its i."""
    return segment("hyper", "sgd/0/seed", to="7")


@vector("entry", Reason.FIELD, "JSON")
def setting_with_a_leading_zero() -> bytes:
    """An integer that begins with 0."""
    return segment("hyper", "sgd/0/seed", to="i07")


@vector("entry", Reason.FIELD, "JSON")
def setting_of_negative_zero() -> bytes:
    """The integer -0."""
    return segment("hyper", "sgd/0/seed", to="i-0")


@vector("entry", Reason.FIELD, "JSON")
def setting_of_2_to_the_63() -> bytes:
    """The integer 2^63."""
    return segment("hyper", "sgd/0/seed", to=f"i{1 << 63}")


@vector("entry", OK, "JSON")
def setting_of_minus_2_to_the_63() -> bytes:
    """The integer -2^63."""
    return segment("hyper", "sgd/0/seed", to=f"i{-(1 << 63)}")


@vector("entry", Reason.FIELD, "JSON")
def setting_of_an_array() -> bytes:
    """A pair of settings as an array."""
    return segment("hyper", "adam/0/betas", to=["f3fe0000000000000", "f3fe0000000000000"])


@vector("entry", Reason.FIELD, "End")
def end_with_more() -> bytes:
    """An end that names its last segment."""
    return put("index", to="1")(END)


@vector("entry", Reason.FIELD, "End")
def end_with_less() -> bytes:
    """An end that counts no records."""
    return drop("records")(END)


@vector("row", OK, "Step row")
def honest_row() -> bytes:
    """A row as a writer makes it."""
    return ROW


@vector("row", OK, "Step row")
def row_that_changes_hyper() -> bytes:
    """A row that changes a hyper-parameter."""
    return SECOND_ROW


@vector("row", OK, "Indexed mode")
def indexed_row() -> bytes:
    """A row that names the records of its batch."""
    return INDEXED_ROW


@vector("row", Reason.FIELD, "Step row")
def row_of_a_type() -> bytes:
    """A row that has a type, as entries have."""
    return row("type", to="row")


@vector("row", Reason.FIELD, "Step row")
def batch_with_more() -> bytes:
    """A batch with a field that this version does not know."""
    return row("batches", 0, "salt", to=None)


@vector("row", Reason.FIELD, "Step row")
def batch_with_less() -> bytes:
    """A batch without `indices`, which is null in fed mode and there."""
    return drop("batches", 0, "indices")(ROW)


@vector("row", Reason.FIELD, "Step row")
def batch_without_a_root() -> bytes:
    """A batch whose root is null."""
    return row("batches", 0, "root", to=None)


@vector("row", Reason.FIELD, "Step row")
def batches_not_an_array() -> bytes:
    """One batch outside an array."""
    return row("batches", to={"count": "0", "indices": None, "root": "00" * 32, "whole": None})


@vector("row", Reason.FIELD, "Step row")
def hyper_of_an_array() -> bytes:
    """Hyper-parameters as an array."""
    return row("hyper", to=[])


@vector("row", Reason.FIELD, "Conventions")
def indices_without_padding() -> bytes:
    """Indices in base64 without the padding at its end."""
    return _indices(base64.b64encode(bytes(4)).decode().rstrip("="))


@vector("row", Reason.FIELD, "Conventions")
def indices_with_loose_bits() -> bytes:
    """Indices in base64 whose last digit has bits that decode to nothing."""
    return _indices("AAAAAB==")


@vector("row", Reason.FIELD, "Conventions")
def indices_of_the_url_alphabet() -> bytes:
    """Indices in base64 of the alphabet for addresses."""
    return _indices("_" * 16)


@vector("row", Reason.FIELD, "Conventions")
def indices_with_a_space() -> bytes:
    """A space in indices."""
    return _indices("AAAA AA==")


@vector("row", Reason.FIELD, "Conventions")
def indices_not_base64() -> bytes:
    """Indices that are not base64."""
    return _indices("?")


@vector("row", Reason.FIELD, "Step row")
def indices_of_3_bytes() -> bytes:
    """Indices that are not whole numbers of 32 bits."""
    return _indices("AAAA")


@vector("row", Reason.FIELD, "Step row")
def indices_of_an_array() -> bytes:
    """Indices as an array of numbers."""
    return row("batches", 0, "indices", to=["0"])


def _indices(text: str) -> bytes:
    return row("batches", 0, "indices", to=text)
