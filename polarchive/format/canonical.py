"""Write and read canonical JSON (SPEC.md, "JSON"): one value, one spelling.

RFC 8785 restricted until nothing is left to interpret: objects, arrays, strings of printable ASCII, `true`, `false`
and `null`. No numbers: integers are decimal strings and floats 16 hex digits, because JSON numbers are read
differently by different languages.
"""

import json
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

from polarchive.errors import FormatError, Reason
from polarchive.format.limits import MAX_BRACKETS, MAX_DEPTH, MAX_VALUES

Json: TypeAlias = str | bool | list["Json"] | dict[str, "Json"] | None


def encode(value: Json) -> bytes:
    """Return the canonical bytes of `value`; a value that has none is a TypeError."""
    _require_plain(value, 0)
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def decode(data: bytes | memoryview, limit: int, place: str) -> Json:
    """Return the value `data` spells; refuse any other spelling of it, and more than `limit` bytes."""
    if len(data) > limit:
        raise FormatError(Reason.LIMIT, place, f"JSON of {len(data)} bytes, at most {limit} are allowed")
    require_few(bytes(data), MAX_VALUES, place)
    try:
        value: Json = json.loads(
            bytes(data).decode("ascii"),
            object_pairs_hook=_without_duplicates,
            parse_float=_refuse_number,
            parse_int=_refuse_number,
            parse_constant=_refuse_number,
        )
        spelled = encode(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError(Reason.JSON, place, f"not canonical JSON: {_first_line(error)}") from None
    if spelled != data:
        raise FormatError(Reason.JSON, place, "not canonical JSON: another spelling of the same value")
    return value


def require_few(text: bytes, values: int, place: str) -> None:
    """Refuse text of too many values before it is parsed: two bytes of JSON can become a hundred in memory."""
    if text.count(b",") > values or text.count(b"[") + text.count(b"{") > MAX_BRACKETS:
        raise FormatError(Reason.LIMIT, place, f"more than {values} commas or {MAX_BRACKETS} brackets")


def is_printable(text: str) -> bool:
    """Tell whether `text` is printable ASCII, the only alphabet of names and values."""
    return text.isascii() and text.isprintable()


def _require_plain(value: Json, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise TypeError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        if not is_printable(value):
            raise TypeError("a string that is not printable ASCII")
    elif isinstance(value, dict):
        for key, item in value.items():
            _require_plain(key, depth)
            _require_plain(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _require_plain(item, depth + 1)
    elif value is not None and not isinstance(value, bool):
        raise TypeError(f"a {type(value).__name__}")


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a duplicate key")
    return value


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"a number ({text[:20]})")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
