"""Make single values of JSON, canonical and not."""

from polarchive.errors import Reason
from tools.catalogue import OK, vector

JSON = "JSON"


@vector("json", OK, JSON)
def null() -> bytes:
    """The value null."""
    return b"null"


@vector("json", OK, JSON)
def true_and_false() -> bytes:
    """An array of both truth values."""
    return b"[true,false]"


@vector("json", OK, JSON)
def empty_object() -> bytes:
    """An object of no keys."""
    return b"{}"


@vector("json", OK, JSON)
def empty_string() -> bytes:
    """A string of no characters, as a key and as a value."""
    return b'{"":""}'


@vector("json", OK, JSON)
def all_of_printable_ascii() -> bytes:
    """A string of all 95 characters, with quotation mark and backslash escaped."""
    return b'"' + bytes(range(0x20, 0x7F)).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


@vector("json", OK, JSON)
def keys_in_order() -> bytes:
    """Keys in ascending order of their bytes: capitals come before small letters, a prefix before what it begins."""
    return b'{" ":null,"A":null,"Z":null,"a":null,"aa":null,"b":null,"~":null}'


@vector("json", OK, JSON)
def depth_of_8() -> bytes:
    """A value at depth 8, the deepest allowed."""
    return b"[" * 9 + b"]" * 9


@vector("json", Reason.JSON, JSON)
def depth_of_9() -> bytes:
    """A value at depth 9."""
    return b"[" * 10 + b"]" * 10


@vector("json", Reason.JSON, JSON)
def object_at_depth_9() -> bytes:
    """An object at depth 9, within objects."""
    return b'{"":' * 9 + b"{}" + b"}" * 9


@vector("json", Reason.JSON, JSON)
def depth_of_1500() -> bytes:
    """Fifteen hundred arrays in one another."""
    return b"[" * 1_500 + b"]" * 1_500


@vector("json", Reason.JSON, JSON)
def brackets_never_closed() -> bytes:
    """A thousand arrays that are never closed."""
    return b"[" * 1000


@vector("json", Reason.JSON, JSON)
def no_bytes() -> bytes:
    """No value at all."""
    return b""


@vector("json", Reason.JSON, JSON)
def two_values() -> bytes:
    """A second value after the first."""
    return b"{}{}"


@vector("json", Reason.JSON, JSON)
def cut_off() -> bytes:
    """An object that is not closed."""
    return b'{"a":"b"'


@vector("json", Reason.JSON, JSON)
def integer() -> bytes:
    """A number, which is an integer."""
    return b'{"every":2}'


@vector("json", Reason.JSON, JSON)
def zero() -> bytes:
    """The number 0 alone."""
    return b"0"


@vector("json", Reason.JSON, JSON)
def float_() -> bytes:
    """A number, which is a float."""
    return b'{"lr":0.1}'


@vector("json", Reason.JSON, JSON)
def exponent() -> bytes:
    """A number with an exponent, which overflows in most languages."""
    return b"[1e999]"


@vector("json", Reason.JSON, JSON)
def digits_without_end() -> bytes:
    """A number of 5,000 digits."""
    return b"[" + b"9" * 5000 + b"]"


@vector("json", Reason.JSON, JSON)
def nan() -> bytes:
    """NaN, which many parsers take for a number."""
    return b"[NaN]"


@vector("json", Reason.JSON, JSON)
def infinity() -> bytes:
    """-Infinity, which many parsers take for a number."""
    return b"[-Infinity]"


@vector("json", Reason.JSON, JSON)
def undefined() -> bytes:
    """A word that is none of JSON's."""
    return b"[undefined]"


@vector("json", Reason.JSON, JSON)
def true_in_capitals() -> bytes:
    """True, as Python spells it."""
    return b"[True]"


@vector("json", Reason.JSON, JSON)
def key_twice() -> bytes:
    """A key twice, with two values."""
    return b'{"a":"1","a":"2"}'


@vector("json", Reason.JSON, JSON)
def key_twice_with_one_value() -> bytes:
    """A key twice, with one value."""
    return b'{"a":"1","a":"1"}'


@vector("json", Reason.JSON, JSON)
def key_twice_by_an_escape() -> bytes:
    """A key twice, once spelled with an escape."""
    return b'{"a":"1","\\u0061":"2"}'


@vector("json", Reason.JSON, JSON)
def key_twice_inside() -> bytes:
    """A key twice in an object within an array."""
    return b'[{"a":null,"a":null}]'


@vector("json", Reason.JSON, JSON)
def keys_out_of_order() -> bytes:
    """Keys in descending order."""
    return b'{"b":null,"a":null}'


@vector("json", Reason.JSON, JSON)
def keys_in_the_order_of_words() -> bytes:
    """Keys in the order of a dictionary, where small letters come before capitals."""
    return b'{"a":null,"B":null}'


@vector("json", Reason.JSON, JSON)
def key_not_a_string() -> bytes:
    """A key without quotation marks."""
    return b"{a:null}"


@vector("json", Reason.JSON, JSON)
def quoted_by_apostrophes() -> bytes:
    """A string in apostrophes."""
    return b"{'a':null}"


@vector("json", Reason.JSON, JSON)
def space_after_a_comma() -> bytes:
    """A space after a comma."""
    return b'["a", "b"]'


@vector("json", Reason.JSON, JSON)
def space_after_a_colon() -> bytes:
    """A space after a colon."""
    return b'{"a": "b"}'


@vector("json", Reason.JSON, JSON)
def space_before() -> bytes:
    """A space before the value."""
    return b" {}"


@vector("json", Reason.JSON, JSON)
def line_end_after() -> bytes:
    """A line end after the value."""
    return b"{}\n"


@vector("json", Reason.JSON, JSON)
def tab_inside() -> bytes:
    """A tab within an empty array."""
    return b"[\t]"


@vector("json", Reason.JSON, JSON)
def comma_too_many() -> bytes:
    """A comma after the last item."""
    return b'["a",]'


@vector("json", Reason.JSON, JSON)
def comment() -> bytes:
    """A comment."""
    return b"{}/* by Alice */"


@vector("json", Reason.JSON, JSON)
def byte_order_mark() -> bytes:
    """A byte order mark before the value."""
    return b"\xef\xbb\xbf{}"


@vector("json", Reason.JSON, JSON)
def utf_16() -> bytes:
    """A value in UTF-16, which some parsers recognise."""
    return "{}".encode("utf-16-le")


@vector("json", Reason.JSON, JSON)
def slash_escaped() -> bytes:
    """A slash with a backslash before it."""
    return b'"a\\/b"'


@vector("json", Reason.JSON, JSON)
def letter_escaped() -> bytes:
    """A letter as an escape."""
    return b'"\\u0061"'


@vector("json", Reason.JSON, JSON)
def quotation_mark_as_a_number() -> bytes:
    """A quotation mark escaped by its number."""
    return b'"\\u0022"'


@vector("json", Reason.JSON, JSON)
def line_end_in_a_string() -> bytes:
    """An escaped line end, which RFC 8785 allows and this format does not."""
    return b'"a\\nb"'


@vector("json", Reason.JSON, JSON)
def line_end_in_a_string_as_it_is() -> bytes:
    """A line end in a string, not escaped."""
    return b'"a\nb"'


@vector("json", Reason.JSON, JSON)
def nul_in_a_string() -> bytes:
    """An escaped NUL."""
    return b'"\\u0000"'


@vector("json", Reason.JSON, JSON)
def delete_in_a_string() -> bytes:
    """The control character 0x7F, which RFC 8785 does not escape."""
    return b'"\x7f"'


@vector("json", Reason.JSON, JSON)
def accent_in_a_string() -> bytes:
    """A letter that is not ASCII, in UTF-8."""
    return '"é"'.encode()


@vector("json", Reason.JSON, JSON)
def accent_as_an_escape() -> bytes:
    """A letter that is not ASCII, escaped."""
    return b'"\\u00e9"'


@vector("json", Reason.JSON, JSON)
def accent_in_a_key() -> bytes:
    """A key that is not ASCII, escaped."""
    return b'{"\\u00e9":null}'


@vector("json", Reason.JSON, JSON)
def half_a_surrogate() -> bytes:
    """One half of a surrogate pair."""
    return b'"\\ud800"'


@vector("json", Reason.JSON, JSON)
def not_utf8() -> bytes:
    """A byte that no UTF-8 has."""
    return b'"\xff"'
