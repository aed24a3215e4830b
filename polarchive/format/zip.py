"""Lay out the one ZIP file that a list of members has (SPEC.md, "Container").

Every structural byte is a function of names, sizes and CRCs, so a reader builds the layout again and compares, and
never interprets what a stranger wrote.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ALIGNMENT: Final = 64
TAIL: Final = 56 + 20 + 22
_DATE: Final = 0x0021  # 1980-01-01, the earliest that ZIP can say
_FULL: Final = 0xFFFFFFFF  # "see the ZIP64 field"
_PADDING: Final = 0x4150
_UNIX_45: Final = 0x032D
_READ_ONLY_FILE: Final = 0o100444 << 16


@dataclass(frozen=True, slots=True)
class Listed:
    """List one member: name, size, CRC-32 and SHA-256 of its bytes."""

    name: str
    size: int
    crc32: int
    sha256: bytes


def local_header(member: Listed, offset: int) -> bytes:
    """Return the local file header for a member whose header starts at `offset`; the data after it is aligned."""
    name = member.name.encode("ascii")
    extra = struct.pack("<HHQQ", 1, 16, member.size, member.size)
    padding = -(offset + 30 + len(name) + len(extra) + 4) % ALIGNMENT
    extra += struct.pack("<HH", _PADDING, padding) + bytes(padding)
    fields = (45, 0, 0, 0, _DATE, member.crc32, _FULL, _FULL, len(name), len(extra))
    return b"PK\x03\x04" + struct.pack("<5H3I2H", *fields) + name + extra


def central_header(member: Listed, offset: int) -> bytes:
    """Return the central directory record of a member whose local header is at `offset`."""
    name = member.name.encode("ascii")
    extra = struct.pack("<HHQQQ", 1, 24, member.size, member.size, offset)
    fields = (_UNIX_45, 45, 0, 0, 0, _DATE, member.crc32, _FULL, _FULL, len(name), len(extra))
    return b"PK\x01\x02" + struct.pack("<6H3I5H2I", *fields, 0, 0, 0, _READ_ONLY_FILE, _FULL) + name + extra


def directory(members: Iterable[Listed]) -> bytes:
    """Return all that follows the last member's data: central directory, ZIP64 end, locator, end."""
    records, offset, count = bytearray(), 0, 0
    for member in members:
        records += central_header(member, offset)
        offset += len(local_header(member, offset)) + member.size
        count += 1
    end = struct.pack("<QHH2I4Q", 44, _UNIX_45, 45, 0, 0, count, count, len(records), offset)
    locator = struct.pack("<IQI", 0, offset + len(records), 1)
    last = struct.pack("<4H2IH", 0, 0, 0xFFFF, 0xFFFF, _FULL, _FULL, 0)
    return bytes(records) + b"PK\x06\x06" + end + b"PK\x06\x07" + locator + b"PK\x05\x06" + last


def is_cut(start: bytes, tail: bytes) -> bool:
    """Tell whether a file that begins and ends like this begins as a container does and lacks its end."""
    end = tail.rfind(b"PK\x05\x06")
    return start.startswith(b"PK\x03\x04") and not 0 <= end <= len(tail) - 22


def last_member(tail: bytes, name: str) -> tuple[int, int]:
    """Return where the local header of the last member lies and how large its data is, if that member is `name`.

    `tail` is the end of a file. ValueError if it does not end with the fixed records and one central record of `name`.
    """
    record = 46 + len(name) + 28
    start = len(tail) - TAIL - record
    if start < 0 or tail[start : start + 4] != b"PK\x01\x02" or tail[start + 46 :][: len(name)] != name.encode():
        raise ValueError(f"the last member is not {name}")
    _, _, size, _, offset = struct.unpack_from("<HHQQQ", tail, start + 46 + len(name))
    return offset, size
