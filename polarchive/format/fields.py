"""Describe the fields of an entry once, for both directions (SPEC.md, "Entries").

A codec is a pair of functions between a Python value and its JSON. Both check: what a writer would write and no reader
would take is a ValueError where it is written.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from polarchive.errors import FormatError, Reason
from polarchive.format.canonical import Json, is_printable
from polarchive.format.limits import MAX_TEXT

T = TypeVar("T")
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,19}")
_INTEGER: Final = re.compile(r"i(0|-?[1-9][0-9]{0,18})")
_FLOAT: Final = re.compile(r"f[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Turn values of one kind into JSON and back; `read` raises ValueError with what was expected."""

    write: Callable[[T], Json]
    read: Callable[[Json], T]


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"expected {what}")


def _read_u64(value: Json) -> int:
    _expect(isinstance(value, str) and _DECIMAL.fullmatch(value) is not None, "a decimal string")
    number = int(str(value))
    _expect(number < 1 << 64, "a number below 2^64")
    return number


def _write_u64(value: int) -> Json:
    _expect(0 <= value < 1 << 64, "a number of 64 bits")
    return str(value)


def _write_text(value: str) -> Json:
    return _read_text(value)


def _read_text(value: Json) -> str:
    _expect(isinstance(value, str) and is_printable(value) and len(value) <= MAX_TEXT, "a printable ASCII string")
    return str(value)


def _read_bool(value: Json) -> bool:
    _expect(isinstance(value, bool), "true or false")
    return bool(value)


def _write_setting(value: float | bool | None) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return f"i{value}"
    _expect(math.isfinite(value), "a finite float")
    return "f" + struct.pack(">d", value).hex()


def _read_setting(value: Json) -> float | bool | None:
    if value is None or isinstance(value, bool):
        return value
    _expect(isinstance(value, str), "a setting")
    text = str(value)
    if _INTEGER.fullmatch(text) and -(1 << 63) <= int(text[1:]) < 1 << 63:
        return int(text[1:])
    _expect(_FLOAT.fullmatch(text) is not None, "a setting: i and an integer, or f and 16 hex digits")
    number: float = struct.unpack(">d", bytes.fromhex(text[1:]))[0]
    _expect(math.isfinite(number), "a finite float")
    return number


u64: Final[Codec[int]] = Codec(_write_u64, _read_u64)
text: Final[Codec[str]] = Codec(_write_text, _read_text)
boolean: Final[Codec[bool]] = Codec(lambda value: value, _read_bool)
setting: Final[Codec[float | bool | None]] = Codec(_write_setting, _read_setting)


def hexadecimal(size: int) -> Codec[bytes]:
    """Return the codec of exactly `size` bytes as lower-case hex digits."""
    pattern = re.compile(f"[0-9a-f]{{{2 * size}}}")

    def read(value: Json) -> bytes:
        _expect(
            isinstance(value, str) and pattern.fullmatch(value) is not None,
            f"{2 * size} lower-case hex digits",
        )
        return bytes.fromhex(str(value))

    def write(value: bytes) -> Json:
        _expect(len(value) == size, f"{size} bytes")
        return value.hex()

    return Codec(write, read)


digest: Final = hexadecimal(32)


def one_of(*words: str) -> Codec[str]:
    """Return the codec of a string out of `words`."""

    def read(value: Json) -> str:
        _expect(value in words, "one of " + ", ".join(words))
        return str(value)

    return Codec(lambda value: value, read)


def optional(inner: Codec[T]) -> Codec[T | None]:
    """Return the codec of a value or null."""
    return Codec(
        lambda value: None if value is None else inner.write(value),
        lambda value: None if value is None else inner.read(value),
    )


def sequence(inner: Codec[T], limit: int) -> Codec[tuple[T, ...]]:
    """Return the codec of at most `limit` values in a list."""

    def read(value: Json) -> tuple[T, ...]:
        _expect(isinstance(value, list) and len(value) <= limit, f"a list of at most {limit}")
        assert isinstance(value, list)
        return tuple(inner.read(item) for item in value)

    return Codec(lambda values: [inner.write(value) for value in values], read)


def mapping(inner: Codec[T], limit: int) -> Codec[Mapping[str, T]]:
    """Return the codec of at most `limit` named values."""

    def read(value: Json) -> Mapping[str, T]:
        _expect(isinstance(value, dict) and len(value) <= limit, f"an object of at most {limit} names")
        assert isinstance(value, dict)
        return {_read_text(name): inner.read(item) for name, item in value.items()}

    return Codec(lambda values: {name: inner.write(value) for name, value in values.items()}, read)


def fields(cls: type[T], **codecs: Codec[Any]) -> Codec[T]:
    """Return the codec of dataclass `cls` as an object with exactly the named fields; errors begin with one."""

    def write(value: T) -> Json:
        return {name: codec.write(getattr(value, name)) for name, codec in codecs.items()}

    def read(value: Json) -> T:
        _expect(isinstance(value, dict), "an object")
        assert isinstance(value, dict)
        _expect(value.keys() == codecs.keys(), f"exactly the fields {', '.join(sorted(codecs))}")
        return cls(**{name: _named(name, codec, value[name]) for name, codec in codecs.items()})

    return Codec(write, read)


def _named(name: str, codec: Codec[T], value: Json) -> T:
    try:
        return codec.read(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def read(codec: Codec[T], value: Json, place: str) -> T:
    """Return what `value` says; FormatError naming `place` and the field otherwise."""
    try:
        return codec.read(value)
    except ValueError as error:
        raise FormatError(Reason.FIELD, place, str(error)) from None
