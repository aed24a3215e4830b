"""Test that a value has one spelling, and that every other one is refused."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from polarchive.errors import FormatError, Reason
from polarchive.format.canonical import Json, decode, encode, is_printable
from polarchive.format.limits import MAX_DEPTH
from tests.format.strategies import json_values

LIMIT = 1 << 22
REFUSED = {
    "nothing": b"",
    "integer": b"1",
    "zero": b"0",
    "negative": b"-1",
    "float": b'{"a":1.0}',
    "exponent": b"1e5",
    "huge_integer": b"9" * 10_000,
    "not_a_number": b"NaN",
    "infinity": b"[Infinity]",
    "negative_infinity": b"[-Infinity]",
    "duplicate_key": b'{"a":null,"a":null}',
    "duplicate_key_spelled_otherwise": b'{"a":null,"\\u0061":null}',
    "duplicate_key_deep_inside": b'[{"a":{"b":"","b":""}}]',
    "unsorted_keys": b'{"b":null,"a":null}',
    "space_after_colon": b'{"a": null}',
    "space_after_comma": b'["a", "b"]',
    "space_before": b" null",
    "space_after": b"null ",
    "line_end": b"null\n",
    "tab": b"[\tnull]",
    "byte_order_mark": b"\xef\xbb\xbfnull",
    "two_values": b"nullnull",
    "trailing_comma": b'["a",]',
    "comment": b"null//",
    "escaped_letter": b'"\\u0041"',
    "escaped_slash": b'"\\/"',
    "escaped_quote_in_hex": b'"\\u0022"',
    "capital_escape": b'"\\U0041"',
    "single_quotes": b"'a'",
    "not_ascii": '"é"'.encode(),
    "escaped_not_ascii": b'"\\u00e9"',
    "lone_surrogate": b'"\\ud800"',
    "not_utf8": b'"\xff"',
    "utf16": '"a"'.encode("utf-16"),
    "raw_control": b'"\x01"',
    "escaped_control": b'"\\n"',
    "escaped_zero": b'"\\u0000"',
    "delete": b'"\x7f"',
    "unclosed_string": b'"a',
    "unclosed_list": b"[",
    "capital_true": b"True",
    "many_brackets": b"[" * 100_000,
    "many_closed_brackets": b"[" * 100_000 + b"]" * 100_000,
    "many_objects": b'{"a":' * 100_000 + b"null" + b"}" * 100_000,
    "one_bracket_too_many": b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2),
}
UNSPELLABLE = [1, 1.0, "é", "\n", "\x7f", {"é": None}, {1: "a"}, b"a", ("a",), {"a": {"b": 0}}, object()]


def nested(depth: int) -> Json:
    value: Json = []
    for _ in range(depth):
        value = [value]
    return value


@given(json_values())
def test_decode_is_the_inverse_of_encode(value: Json) -> None:
    assert decode(encode(value), LIMIT, "here") == value


@given(json_values())
def test_other_readers_read_the_same(value: Json) -> None:
    assert json.loads(encode(value)) == value


@given(json_values(), st.integers(0, 2**32), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_another_value(value: Json, place: int, byte: int) -> None:
    data = bytearray(encode(value))
    data[place % len(data)] = byte
    try:
        found = decode(bytes(data), LIMIT, "here")
    except FormatError:
        return
    assert encode(found) == data


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_other_spellings_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as refusal:
        decode(data, LIMIT, "here")
    assert refusal.value.reason == Reason.JSON
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 200


@pytest.mark.parametrize("value", UNSPELLABLE, ids=lambda value: type(value).__name__)
def test_what_has_no_spelling_is_a_type_error(value: Json) -> None:
    with pytest.raises(TypeError):
        encode(value)


def test_depth_is_bounded() -> None:
    assert decode(encode(nested(MAX_DEPTH)), LIMIT, "here") == nested(MAX_DEPTH)
    with pytest.raises(TypeError):
        encode(nested(MAX_DEPTH + 1))


def test_size_is_bounded_before_anything_is_parsed() -> None:
    assert decode(b'"aaa"', 5, "here") == "aaa"
    with pytest.raises(FormatError) as refusal:
        decode(b'"aaaa"', 5, "here")
    assert refusal.value.reason == Reason.LIMIT


def test_a_view_decodes_like_bytes() -> None:
    assert decode(memoryview(b'["a"]'), LIMIT, "here") == ["a"]


@pytest.mark.parametrize("code", range(256))
def test_the_alphabet_is_printable_ascii(code: int) -> None:
    assert is_printable(chr(code)) == (0x20 <= code <= 0x7E)
