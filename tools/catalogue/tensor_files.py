"""Make safetensors files, canonical and not: what their readers forgive, this format does not."""

import json
from typing import Any

from polarchive.errors import Reason
from polarchive.format import tensors
from tests.simulator import spell_state, state_of
from tools.catalogue import OK, Made, vector

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
SPEC = "States"


def spelled(header: str | bytes | dict[str, Any] | list[Any], data: bytes = bytes(8)) -> bytes:
    """Return a file with any header, padded as it should be."""
    text = header if isinstance(header, str | bytes) else json.dumps(header, separators=(",", ":"))
    raw = text.encode() if isinstance(text, str) else text
    return sized(raw + b" " * (-len(raw) % 8), data)


def sized(header: bytes, data: bytes = bytes(8), length: int | None = None) -> bytes:
    """Return a file with any header and any statement of its length."""
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def one(**changes: Any) -> bytes:
    """Return a file of one tensor with other values in its description."""
    return spelled({"a": F32 | changes})


def two(first: list[int], second: list[int], data: bytes, names: str = "ab") -> bytes:
    """Return a file of two tensors that lie there."""
    spans = zip(names, (first, second), strict=True)
    return spelled({name: F32 | {"data_offsets": span} for name, span in spans}, data)


TEXT = json.dumps({"a": F32}, separators=(",", ":"))


@vector("safetensors", OK, SPEC)
def one_tensor() -> bytes:
    """A file of one tensor."""
    return one()


@vector("safetensors", OK, SPEC)
def state_of_a_run() -> Made:
    """A state with its root."""
    state = state_of(0, 1)
    return spell_state(state), {"root": tensors.root_of(state).hex()}


@vector("safetensors", OK, SPEC)
def no_tensors() -> Made:
    """A file of no tensors, whose root is root()."""
    return spell_state({}), {"root": tensors.root_of({}).hex()}


@vector("safetensors", Reason.STATE, SPEC)
def another_root() -> Made:
    """A state that is not the committed one."""
    return spell_state(state_of(0, 1)), {"root": tensors.root_of(state_of(0, 2)).hex()}


@vector("safetensors", OK, SPEC)
def name_with_a_quote() -> bytes:
    """A name with a quotation mark and a backslash, escaped as in JSON."""
    return spelled({'"\\': F32})


@vector("safetensors", OK, SPEC)
def dimensions_of_nothing() -> bytes:
    """A dimension of 2^48 - 1 times one of 0."""
    return spelled({"a": {"dtype": "F32", "shape": [(1 << 48) - 1, 0], "data_offsets": [0, 0]}}, b"")


@vector("safetensors", Reason.TENSORS, SPEC)
def empty() -> bytes:
    """No bytes."""
    return b""


@vector("safetensors", Reason.TENSORS, SPEC)
def seven_bytes() -> bytes:
    """Less than the length of a header."""
    return bytes(7)


@vector("safetensors", Reason.TENSORS, SPEC)
def zeros() -> bytes:
    """Zeros alone: a header of no bytes."""
    return bytes(64)


@vector("safetensors", Reason.TENSORS, SPEC)
def header_beyond_the_file() -> bytes:
    """The header reaches one byte past the end."""
    return sized(b"{}      ", b"", 9)


@vector("safetensors", Reason.LIMIT, "Limits")
def header_too_long() -> bytes:
    """The header says that it has 2^63 bytes."""
    return sized(b"{}      ", b"", 1 << 63)


@vector("safetensors", Reason.LIMIT, "Limits")
def header_of_the_greatest_length() -> bytes:
    """The header says that it has 2^64 - 1 bytes, which is -1 to some."""
    return sized(b"{}      ", b"", (1 << 64) - 1)


@vector("safetensors", Reason.TENSORS, SPEC)
def name_twice() -> bytes:
    """A name twice for the same bytes."""
    return spelled(TEXT[:-1] + "," + TEXT[1:])


@vector("safetensors", Reason.TENSORS, SPEC)
def name_twice_for_other_bytes() -> bytes:
    """A name twice, for bytes one after the other: parsers take the first or the last."""
    return spelled(TEXT[:-1] + "," + TEXT[1:].replace("[0,8]", "[8,16]"), bytes(16))


@vector("safetensors", Reason.TENSORS, SPEC)
def name_twice_by_an_escape() -> bytes:
    """A name twice, once spelled with an escape."""
    return spelled(TEXT[:-1] + "," + TEXT[1:].replace('"a"', '"\\u0061"').replace("[0,8]", "[8,16]"), bytes(16))


@vector("safetensors", Reason.TENSORS, SPEC)
def key_twice() -> bytes:
    """A tensor with two shapes."""
    return spelled('{"a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,8]}}')


@vector("safetensors", Reason.TENSORS, SPEC)
def keys_in_another_order() -> bytes:
    """A tensor whose shape comes before its dtype."""
    return spelled('{"a":{"shape":[2],"dtype":"F32","data_offsets":[0,8]}}')


@vector("safetensors", Reason.TENSORS, SPEC)
def key_too_many() -> bytes:
    """A tensor with a field that safetensors does not know."""
    return one(strides=[1])


@vector("safetensors", Reason.TENSORS, SPEC)
def dtype_missing() -> bytes:
    """A tensor without a dtype."""
    return spelled({"a": {"shape": [2], "data_offsets": [0, 8]}})


@vector("safetensors", Reason.TENSORS, SPEC)
def offsets_missing() -> bytes:
    """A tensor that lies nowhere."""
    return spelled({"a": {"dtype": "F32", "shape": [2]}})


@vector("safetensors", Reason.TENSORS, SPEC)
def metadata() -> bytes:
    """Metadata, as safetensors allows."""
    return spelled({"__metadata__": {"format": "pt"}, "a": F32})


@vector("safetensors", Reason.TENSORS, SPEC)
def metadata_empty() -> bytes:
    """Metadata of no items."""
    return spelled({"__metadata__": {}, "a": F32})


@vector("safetensors", Reason.TENSORS, SPEC)
def metadata_for_a_tensor() -> bytes:
    """A tensor called as safetensors calls its metadata."""
    return spelled({"__metadata__": F32})


@vector("safetensors", Reason.TENSORS, SPEC)
def name_empty() -> bytes:
    """A tensor without a name."""
    return spelled({"": F32})


@vector("safetensors", Reason.TENSORS, SPEC)
def name_not_ascii() -> bytes:
    """A name with a letter that is not ASCII, escaped."""
    return spelled({"é": F32})


@vector("safetensors", Reason.TENSORS, SPEC)
def name_not_ascii_in_utf8() -> bytes:
    """A name with a letter that is not ASCII, as it is."""
    return spelled(TEXT.replace("a", "é", 1))


@vector("safetensors", Reason.TENSORS, SPEC)
def name_with_a_line_end() -> bytes:
    """A name with a line end."""
    return spelled({"a\n": F32})


@vector("safetensors", Reason.TENSORS, SPEC)
def name_with_a_nul() -> bytes:
    """A name with a NUL."""
    return spelled({"a\0": F32})


@vector("safetensors", Reason.TENSORS, SPEC)
def name_of_4097_characters() -> bytes:
    """A name one character too long."""
    return spelled({"a" * 4097: F32})


@vector("safetensors", Reason.TENSORS, SPEC)
def name_escaped() -> bytes:
    """A name spelled with an escape."""
    return spelled(TEXT.replace('"a"', '"\\u0061"'))


@vector("safetensors", Reason.TENSORS, SPEC)
def spaces_inside() -> bytes:
    """Spaces after commas and colons, as Python's json writes them."""
    return spelled(json.dumps({"a": F32}))


@vector("safetensors", Reason.TENSORS, SPEC)
def space_before() -> bytes:
    """A space before the header."""
    return spelled(" " + TEXT)


@vector("safetensors", Reason.TENSORS, SPEC)
def padded_by_8_more() -> bytes:
    """Eight spaces more than the header needs."""
    return spelled(TEXT + " " * (-len(TEXT) % 8 + 8))


@vector("safetensors", Reason.TENSORS, SPEC)
def not_padded() -> bytes:
    """A header that is no multiple of 8 bytes."""
    assert len(TEXT) % 8
    return sized(TEXT.encode())


@vector("safetensors", Reason.TENSORS, SPEC)
def padded_by_nul() -> bytes:
    """A header padded by NUL."""
    return sized(TEXT.encode() + b"\0" * (-len(TEXT) % 8))


@vector("safetensors", Reason.TENSORS, SPEC)
def padded_by_line_ends() -> bytes:
    """A header padded by line ends."""
    return sized(TEXT.encode() + b"\n" * (-len(TEXT) % 8))


@vector("safetensors", Reason.TENSORS, SPEC)
def overlap() -> bytes:
    """Two tensors share four bytes."""
    return two([0, 8], [4, 12], bytes(12))


@vector("safetensors", Reason.TENSORS, SPEC)
def same_place() -> bytes:
    """Two tensors share all their bytes."""
    return two([0, 8], [0, 8], bytes(8))


@vector("safetensors", Reason.TENSORS, SPEC)
def hole_before() -> bytes:
    """Four bytes before the first tensor."""
    return spelled({"a": F32 | {"data_offsets": [4, 12]}}, bytes(12))


@vector("safetensors", Reason.TENSORS, SPEC)
def hole_between() -> bytes:
    """Four bytes between two tensors."""
    return two([0, 8], [12, 20], bytes(20))


@vector("safetensors", Reason.TENSORS, SPEC)
def hole_after() -> bytes:
    """A byte after the last tensor."""
    return spelled({"a": F32}, bytes(9))


@vector("safetensors", Reason.TENSORS, SPEC)
def bytes_missing() -> bytes:
    """The last byte of the tensor is missing."""
    return spelled({"a": F32}, bytes(7))


@vector("safetensors", Reason.TENSORS, SPEC)
def names_descending() -> bytes:
    """Tensors of one dtype in descending order of name."""
    return two([0, 8], [8, 16], bytes(16), "ba")


@vector("safetensors", Reason.TENSORS, SPEC)
def offsets_descending() -> bytes:
    """The second tensor of the header lies before the first."""
    return two([8, 16], [0, 8], bytes(16))


@vector("safetensors", Reason.TENSORS, SPEC)
def narrow_before_wide() -> bytes:
    """A tensor of bytes before one of floats."""
    narrow = {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}
    return spelled({"a": narrow, "b": F32 | {"data_offsets": [8, 16]}}, bytes(16))


@vector("safetensors", Reason.TENSORS, SPEC)
def offsets_of_fewer_bytes() -> bytes:
    """A tensor that lies on fewer bytes than it has."""
    return one(data_offsets=[0, 4])


@vector("safetensors", Reason.TENSORS, SPEC)
def offsets_swapped() -> bytes:
    """A tensor that ends before it begins."""
    return one(data_offsets=[8, 0])


@vector("safetensors", Reason.TENSORS, SPEC)
def offsets_below_zero() -> bytes:
    """A tensor that begins before the data."""
    return one(data_offsets=[-8, 0])


@vector("safetensors", Reason.TENSORS, SPEC)
def offsets_of_three() -> bytes:
    """A tensor with three offsets."""
    return one(data_offsets=[0, 8, 8])


@vector("safetensors", Reason.TENSORS, SPEC)
def offsets_of_floats() -> bytes:
    """A tensor whose offsets are floats."""
    return one(data_offsets=[0.0, 8.0])


@vector("safetensors", Reason.TENSORS, SPEC)
def offsets_of_negative_zero() -> bytes:
    """A tensor that begins at -0."""
    return spelled(TEXT.replace("[0,", "[-0,"))


@vector("safetensors", Reason.TENSORS, SPEC)
def dtype_unknown() -> bytes:
    """A tensor of the dtype F128."""
    return one(dtype="F128")


@vector("safetensors", Reason.TENSORS, SPEC)
def dtype_in_small_letters() -> bytes:
    """A tensor of the dtype f32."""
    return one(dtype="f32")


@vector("safetensors", Reason.TENSORS, "Conventions")
def dtype_of_strings() -> bytes:
    """A tensor of the dtype UTF8, which only fields of batches may have."""
    return spelled({"a": {"dtype": "UTF8", "shape": [], "data_offsets": [0, 8]}})


@vector("safetensors", Reason.TENSORS, SPEC)
def shape_not_an_array() -> bytes:
    """A shape that is a number."""
    return one(shape=2)


@vector("safetensors", Reason.TENSORS, SPEC)
def dimension_of_true() -> bytes:
    """A dimension that is a truth value."""
    return spelled({"a": {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}})


@vector("safetensors", Reason.TENSORS, SPEC)
def dimension_of_a_string() -> bytes:
    """A dimension in quotation marks, as it stands in `layout`."""
    return one(shape=["2"])


@vector("safetensors", Reason.TENSORS, SPEC)
def dimension_of_a_float() -> bytes:
    """A dimension with a fraction of zero."""
    return one(shape=[2.0])


@vector("safetensors", Reason.TENSORS, SPEC)
def dimensions_below_zero() -> bytes:
    """Two negative dimensions, whose product is right."""
    return one(shape=[-1, -2])


@vector("safetensors", Reason.TENSORS, "Limits")
def dimension_of_2_to_the_48() -> bytes:
    """A dimension one above the limit, times nothing."""
    return spelled({"a": {"dtype": "F32", "shape": [1 << 48, 0], "data_offsets": [0, 0]}}, b"")


@vector("safetensors", Reason.TENSORS, SPEC)
def dimensions_that_overflow_to_the_size() -> bytes:
    """Dimensions whose product is the right size modulo 2^64."""
    return one(shape=[(1 << 62) + 1, 2])


@vector("safetensors", Reason.TENSORS, SPEC)
def dimensions_that_overflow_to_nothing() -> bytes:
    """Dimensions below the limit, whose product is nothing modulo 2^64."""
    return spelled({"a": {"dtype": "U8", "shape": [1 << 32, 1 << 32], "data_offsets": [0, 0]}}, b"")


@vector("safetensors", Reason.TENSORS, SPEC)
def dimension_of_5000_digits() -> bytes:
    """A dimension of 5,000 digits."""
    return spelled(TEXT.replace("[2]", "[" + "2" * 5000 + "]"))


@vector("safetensors", Reason.TENSORS, SPEC)
def dimension_that_is_infinite() -> bytes:
    """A dimension of 1e999."""
    return spelled(TEXT.replace("[2]", "[1e999]"))


@vector("safetensors", Reason.TENSORS, "Limits")
def seventeen_dimensions() -> bytes:
    """A dimension too many."""
    return one(shape=[2] + [1] * 16)


@vector("safetensors", Reason.TENSORS, SPEC)
def shape_of_other_bytes() -> bytes:
    """A shape of three elements on the bytes of two."""
    return one(shape=[3])


@vector("safetensors", Reason.TENSORS, SPEC)
def bool_of_2() -> bytes:
    """A BOOL that is 2."""
    return spelled({"a": {"dtype": "BOOL", "shape": [3], "data_offsets": [0, 3]}}, bytes([0, 1, 2]))


@vector("safetensors", Reason.TENSORS, SPEC)
def bool_of_255() -> bytes:
    """A BOOL that is 255."""
    return spelled({"a": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}, b"\xff")


@vector("safetensors", Reason.TENSORS, SPEC)
def header_of_a_list() -> bytes:
    """A header that is an array of pairs."""
    return spelled([["a", F32]])


@vector("safetensors", Reason.TENSORS, SPEC)
def header_of_null() -> bytes:
    """A header that is null."""
    return spelled("null")


@vector("safetensors", Reason.TENSORS, SPEC)
def header_cut_off() -> bytes:
    """A header that is not closed."""
    return spelled(TEXT[:-1])


@vector("safetensors", Reason.TENSORS, SPEC)
def header_nested() -> bytes:
    """A header of three thousand arrays in one another."""
    return spelled("[" * 3_000)


@vector("safetensors", Reason.TENSORS, SPEC)
def tensor_of_null() -> bytes:
    """A tensor described by null."""
    return spelled({"a": None})


@vector("safetensors", Reason.TENSORS, SPEC)
def tensor_of_an_array() -> bytes:
    """A tensor described by an array of pairs."""
    return spelled({"a": [["dtype", "F32"], ["shape", [2]], ["data_offsets", [0, 8]]]})
