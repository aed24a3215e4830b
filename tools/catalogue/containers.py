"""Make archives whose ZIP structure lies, though its index is honest: the ZIP catalogue."""

import struct
import zlib
from dataclasses import replace

from polarchive.errors import Reason
from polarchive.format import container
from polarchive.format.canonical import encode
from tests.simulator import at
from tools.catalogue import opened
from tools.catalogue.forge import NONE, Part, index_of, members_of, pack, parts_of, with_part, zipped

GOOD = pack(NONE)
MEMBERS = members_of(NONE)
PARTS = parts_of(MEMBERS)
HEADER, ENTRIES, ROWS, HEADS, STATE, INDEX = range(6)
CLOSING = 56 + 20 + 22
DIRECTORY = sum(46 + len(part.name) + 28 for part in PARTS)
END_64 = len(GOOD) - CLOSING
START = END_64 - DIRECTORY
SIZE = len(MEMBERS[HEADER][1])
ROOM = GOOD.index(MEMBERS[HEADER][1]) - 54 - len(MEMBERS[HEADER][0])  # the zero bytes that pad the first member


def local_sizes(size: int, packed: int) -> dict[str, bytes]:
    """Return the lie of a local header about its sizes."""
    return {"sizes": struct.pack("<HHQQ", 1, 16, size, packed)}


def central_sizes(size: int, packed: int, offset: int) -> dict[str, bytes]:
    """Return the lie of a central record about its sizes and offset."""
    return {"sizes": struct.pack("<HHQQQ", 1, 24, size, packed, offset)}


def padding(room: int, zeros: bytes = b"", field: int = 0x4150) -> dict[str, bytes]:
    """Return the lie of a local header about its padding."""
    return {"padding": struct.pack("<HH", field, room) + zeros.ljust(room, b"\0")}


@opened(Reason.ZIP, "Container")
def empty() -> bytes:
    """A file of no bytes."""
    return b""


@opened(Reason.ZIP, "Container")
def one_byte() -> bytes:
    """A file of one byte."""
    return b"P"


@opened(Reason.ZIP, "Container")
def not_a_zip() -> bytes:
    """Text, and no ZIP at all."""
    return b"Alice fits y = w x by hand.\n" * 40


@opened(Reason.ZIP, "Container")
def zip_of_nothing() -> bytes:
    """The ZIP of no members that every tool accepts: its end record alone."""
    return b"PK\x05\x06" + bytes(18)


@opened(Reason.ZIP, "Container")
def safetensors_file() -> bytes:
    """A state where an archive should be."""
    return MEMBERS[STATE][1]


@opened(Reason.ZIP, "Container")
def cut_in_the_first_header() -> bytes:
    """A file that ends within its first local header."""
    return GOOD[:40]


@opened(Reason.ZIP, "Container")
def cut_after_the_first_header() -> bytes:
    """A file that ends where the data of its first member should begin."""
    return GOOD[:128]


@opened(Reason.ZIP, "Container")
def cut_after_the_first_member() -> bytes:
    """A file that ends where its second local header should begin."""
    return GOOD[: GOOD.index(b"PK\x03\x04", 1)]


@opened(Reason.ZIP, "Container")
def cut_before_the_index() -> bytes:
    """A file that ends where the local header of its index should begin."""
    return GOOD[: GOOD.rindex(b"PK\x03\x04")]


@opened(Reason.ZIP, "Container")
def cut_before_the_directory() -> bytes:
    """A file that ends where its central records should begin."""
    return GOOD[:START]


@opened(Reason.ZIP, "Container")
def cut_before_the_last_record() -> bytes:
    """A file that ends where the central record of its index should begin."""
    return GOOD[: END_64 - 46 - len(container.INDEX) - 28]


@opened(Reason.ZIP, "Container")
def cut_before_the_zip64_end() -> bytes:
    """A file that ends where its closing records should begin."""
    return GOOD[:END_64]


@opened(Reason.ZIP, "Container")
def cut_before_the_locator() -> bytes:
    """A file that ends where its ZIP64 locator should begin."""
    return GOOD[: END_64 + 56]


@opened(Reason.ZIP, "Container")
def cut_before_the_end() -> bytes:
    """A file that ends where its end record should begin."""
    return GOOD[: END_64 + 76]


@opened(Reason.ZIP, "Container")
def cut_by_one_byte() -> bytes:
    """A file without its last byte."""
    return GOOD[:-1]


@opened(Reason.JSON, "Container")
def cut_in_front() -> bytes:
    """A file without its first 64 bytes, so that the index is not where its record says."""
    return GOOD[64:]


@opened(Reason.JSON, "Container")
def byte_before() -> bytes:
    """A byte before the archive, so that the index is not where its record says."""
    return b"\0" + GOOD


@opened(Reason.ZIP, "Container")
def program_before() -> bytes:
    """A shell script before the archive, with all offsets corrected: a polyglot."""
    return zipped(PARTS, prefix=b"#!/bin/sh\nexit 0\n")


@opened(Reason.ZIP, "Container")
def zeros_before() -> bytes:
    """64 zero bytes before the archive, with all offsets corrected: everything lies aligned."""
    return zipped(PARTS, prefix=bytes(64))


@opened(Reason.ZIP, "Container")
def archive_before() -> bytes:
    """Another whole archive before this one, with the offsets of this one corrected."""
    return zipped(PARTS, prefix=GOOD)


@opened(Reason.ZIP, "Container")
def byte_after() -> bytes:
    """A zero byte after the archive."""
    return GOOD + b"\0"


@opened(Reason.ZIP, "Container")
def line_end_after() -> bytes:
    """A line end after the archive."""
    return GOOD + b"\n"


@opened(Reason.ZIP, "Container")
def archive_comment() -> bytes:
    """A comment of the archive."""
    return zipped(PARTS, end={"comment": b"by Alice"})


@opened(Reason.ZIP, "Container")
def archive_comment_announced() -> bytes:
    """The end record announces a comment that is not there."""
    return zipped(PARTS, end={"comment_size": 1})


@opened(Reason.ZIP, "Container")
def archive_comment_with_an_end() -> bytes:
    """A comment that is an end record itself: some tools take the first, some the last."""
    return zipped(PARTS, end={"comment": b"PK\x05\x06" + bytes(18)})


@opened(Reason.ZIP, "Container")
def member_comment() -> bytes:
    """A comment of one member."""
    return with_part(HEADER, central={"comment": b"honest"})


@opened(Reason.ZIP, "Container")
def two_directories() -> bytes:
    """The directory and its closing records twice."""
    return GOOD + GOOD[START:]


@opened(Reason.ZIP, "Container")
def two_ends() -> bytes:
    """The end record twice."""
    return GOOD + GOOD[-22:]


@opened(Reason.ZIP, "Container")
def two_zip64_ends() -> bytes:
    """The ZIP64 end record twice; the locator leads to the second."""
    end64 = GOOD[END_64 : END_64 + 56]
    return GOOD[:END_64] + end64 + zipped(PARTS, locator={"offset": END_64 + 56})[END_64:]


@opened(Reason.ZIP, "Container")
def no_zip64_end() -> bytes:
    """No ZIP64 records: the plain end record of a small ZIP."""
    return GOOD[:END_64] + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 6, 6, DIRECTORY, START, 0)


@opened(Reason.ZIP, "Container")
def no_locator() -> bytes:
    """The ZIP64 locator is missing."""
    return GOOD[: END_64 + 56] + GOOD[-22:]


@opened(Reason.ZIP, "Container")
def gap_before_the_directory() -> bytes:
    """A byte between the last member and the directory, with all offsets corrected."""
    return zipped(PARTS, gap=b"\0")


@opened(Reason.ZIP, "Container")
def gap_before_a_member() -> bytes:
    """64 zero bytes between two members, with all offsets corrected."""
    return with_part(ROWS, before=bytes(64))


@opened(Reason.ZIP, "Container")
def gap_before_the_index() -> bytes:
    """64 zero bytes before the local header of the index, with all offsets corrected."""
    return with_part(INDEX, before=bytes(64))


@opened(Reason.ZIP, "Container")
def gap_before_the_closing_records() -> bytes:
    """A byte between the directory and the ZIP64 end record."""
    return GOOD[:END_64] + b"\0" + GOOD[END_64:]


@opened(Reason.ZIP, "Container")
def data_after_the_zip64_end() -> bytes:
    """The ZIP64 end record has extensible data."""
    return zipped(PARTS, more64=b"data")


@opened(Reason.ZIP, "Container")
def unreferenced_entry() -> bytes:
    """A member with a local header that neither directory nor index lists."""
    hidden = zipped([Part(b"75-code.py", b"import os")])
    return with_part(HEADS, before=hidden[: hidden.index(b"PK\x01\x02")])


@opened(Reason.ZIP, "Container")
def unlisted_member() -> bytes:
    """A member that the directory lists and the index does not."""
    return zipped([*PARTS[:STATE], Part(b"69-more", b""), *PARTS[STATE:]])


@opened(Reason.ZIP, "Container")
def member_without_a_record() -> bytes:
    """A member that the index lists and the directory does not."""
    return zipped(PARTS, records=lambda records: [*records[:ROWS], *records[ROWS + 1 :]])


@opened(Reason.ZIP, "Container")
def record_twice() -> bytes:
    """The directory lists one member twice: a duplicate name for every tool."""
    return zipped(PARTS, records=lambda records: [records[0], *records], end64={"here": 7, "count": 7})


@opened(Reason.ZIP, "Container")
def records_in_another_order() -> bytes:
    """The directory lists the members in another order than they lie."""
    return zipped(PARTS, records=lambda records: [records[1], records[0], *records[2:]])


@opened(Reason.ZIP, "Container")
def members_in_another_order() -> bytes:
    """Members lie in another order than the index lists them."""
    return zipped([PARTS[1], PARTS[0], *PARTS[2:]])


@opened(Reason.ZIP, "Container")
def index_not_last() -> bytes:
    """A member follows the index."""
    return zipped([*PARTS, Part(b"zz-more", b"")])


@opened(Reason.ZIP, "Container")
def index_of_another_name() -> bytes:
    """The index is called zz-index.JSON."""
    return with_part(INDEX, name=b"zz-index.JSON")


@opened(Reason.ZIP, "Container")
def overlapping_members() -> bytes:
    """The record of state 0 leads to the heads."""
    return with_part(STATE, central={"at": GOOD.index(b"30-heads.txt") - 30})


@opened(Reason.ZIP, "Container")
def offset_beyond_the_file() -> bytes:
    """The record of the header leads past the end of the file."""
    return with_part(HEADER, central={"at": 1 << 40})


@opened(Reason.ZIP, "Container")
def offset_in_the_narrow_field() -> bytes:
    """A record states its offset in the 32-bit field too, which is all ones otherwise."""
    return with_part(HEADER, central={"offset": 0})


@opened(Reason.ZIP, "Container")
def size_in_the_narrow_field() -> bytes:
    """A local header states its sizes in the 32-bit fields too."""
    return with_part(HEADER, local={"packed": SIZE, "size": SIZE})


@opened(Reason.ZIP, "Container")
def no_zip64_field() -> bytes:
    """A local header states its sizes in the 32-bit fields and has no ZIP64 field."""
    return with_part(HEADER, local={"packed": SIZE, "size": SIZE, "sizes": b""})


@opened(Reason.ZIP, "Container")
def size_lies_in_the_local_header() -> bytes:
    """The ZIP64 field of a local header states one byte less than the directory."""
    return with_part(HEADER, local=local_sizes(SIZE - 1, SIZE - 1))


@opened(Reason.ZIP, "Container")
def size_lies_in_the_directory() -> bytes:
    """The directory states one byte more for a member than there is."""
    return with_part(HEADER, central=central_sizes(SIZE + 1, SIZE + 1, 0))


@opened(Reason.ZIP, "Container")
def packed_size_differs() -> bytes:
    """A stored member whose packed size is one less than its size."""
    return with_part(HEADER, central=central_sizes(SIZE, SIZE - 1, 0))


@opened(Reason.ZIP, "Container")
def zip64_field_reversed() -> bytes:
    """The ZIP64 field comes after the padding."""
    fields = {"sizes": padding(ROOM)["padding"], "padding": local_sizes(SIZE, SIZE)["sizes"]}
    return with_part(HEADER, local=fields)


@opened(Reason.ZIP, "Container")
def directory_of_a_smaller_count() -> bytes:
    """The ZIP64 end record counts one member less."""
    return zipped(PARTS, end64={"here": 5, "count": 5})


@opened(Reason.ZIP, "Container")
def directory_of_a_huge_count() -> bytes:
    """The ZIP64 end record counts 2^64 - 1 members."""
    return zipped(PARTS, end64={"here": (1 << 64) - 1, "count": (1 << 64) - 1})


@opened(Reason.ZIP, "Container")
def directory_of_a_huge_size() -> bytes:
    """The ZIP64 end record says that the directory has 2^63 bytes."""
    return zipped(PARTS, end64={"size": 1 << 63})


@opened(Reason.ZIP, "Container")
def directory_elsewhere() -> bytes:
    """The ZIP64 end record says that the directory begins 46 bytes later."""
    return zipped(PARTS, end64={"offset": START + 46})


@opened(Reason.ZIP, "Container")
def locator_elsewhere() -> bytes:
    """The locator leads to the beginning of the file."""
    return zipped(PARTS, locator={"offset": 0})


@opened(Reason.ZIP, "Container")
def locator_of_two_disks() -> bytes:
    """The locator says that the archive has two disks."""
    return zipped(PARTS, locator={"disks": 2})


@opened(Reason.ZIP, "Container")
def second_disk() -> bytes:
    """The ZIP64 end record says that it is on another disk."""
    return zipped(PARTS, end64={"disk": 1})


@opened(Reason.ZIP, "Container")
def member_on_the_second_disk() -> bytes:
    """A record says that its member is on another disk."""
    return with_part(HEADER, central={"disk": 1})


@opened(Reason.ZIP, "Container")
def count_in_the_narrow_field() -> bytes:
    """The end record states the number of members in 16 bits too."""
    return zipped(PARTS, end={"here": 6, "count": 6})


@opened(Reason.ZIP, "Container")
def directory_in_the_narrow_fields() -> bytes:
    """The end record states size and offset of the directory in 32 bits too."""
    return zipped(PARTS, end={"size": DIRECTORY, "offset": START})


@opened(Reason.ZIP, "Container")
def encrypted() -> bytes:
    """A member is flagged as encrypted."""
    return with_part(HEADER, local={"flags": 1}, central={"flags": 1})


@opened(Reason.ZIP, "Container")
def encrypted_in_the_directory() -> bytes:
    """A member is flagged as encrypted in the directory only."""
    return with_part(HEADER, central={"flags": 1})


@opened(Reason.ZIP, "Container")
def data_descriptor() -> bytes:
    """A member is followed by a data descriptor, and flagged so."""
    data = MEMBERS[HEADER][1]
    after = struct.pack("<4sIQQ", b"PK\x07\x08", zlib.crc32(data), len(data), len(data))
    return with_part(HEADER, local={"flags": 8}, central={"flags": 8}, after=after)


@opened(Reason.ZIP, "Container")
def flagged_as_utf8() -> bytes:
    """A member's name is flagged as UTF-8, which changes nothing for ASCII."""
    return with_part(HEADER, local={"flags": 1 << 11}, central={"flags": 1 << 11})


@opened(Reason.ZIP, "Container")
def deflated() -> bytes:
    """A member is deflated, as ZIP tools do, and the index lists the bytes that come out."""
    data = MEMBERS[HEADER][1]
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = coder.compress(data) + coder.flush()
    lies = {"method": 8, "crc32": zlib.crc32(data)}
    local, central = local_sizes(SIZE, len(packed)), central_sizes(SIZE, len(packed), 0)
    return with_part(HEADER, data=packed, local={**lies, **local}, central={**lies, **central})


@opened(Reason.ZIP, "Container")
def deflated_in_the_directory() -> bytes:
    """The directory says that a stored member is deflated."""
    return with_part(HEADER, central={"method": 8})


@opened(Reason.ZIP, "Container")
def method_unknown() -> bytes:
    """A member is packed by method 99."""
    return with_part(HEADER, local={"method": 99}, central={"method": 99})


@opened(Reason.ZIP, "Container")
def dated_today() -> bytes:
    """A member has another date than 1980-01-01."""
    return with_part(HEADER, local={"date": 0x5D76}, central={"date": 0x5D76})


@opened(Reason.ZIP, "Container")
def timed() -> bytes:
    """A member has a time."""
    return with_part(HEADER, local={"time": 1}, central={"time": 1})


@opened(Reason.ZIP, "Container")
def version_needed_lower() -> bytes:
    """A member needs version 2.0 only, by its local header."""
    return with_part(HEADER, local={"version": 20})


@opened(Reason.ZIP, "Container")
def made_by_windows() -> bytes:
    """A member was made on another system."""
    return with_part(HEADER, central={"made": 45})


@opened(Reason.ZIP, "Container")
def symbolic_link() -> bytes:
    """A member is a symbolic link by its attributes."""
    return with_part(HEADER, central={"external": 0o120777 << 16})


@opened(Reason.ZIP, "Container")
def executable() -> bytes:
    """A member is an executable file by its attributes."""
    return with_part(HEADER, central={"external": 0o100755 << 16})


@opened(Reason.ZIP, "Container")
def text_by_its_attributes() -> bytes:
    """A member is text by its internal attributes."""
    return with_part(HEADER, central={"internal": 1})


@opened(Reason.ZIP, "Container")
def unicode_name_field() -> bytes:
    """A record has a second name in a Unicode path field, which some tools prefer."""
    name = struct.pack("<BI", 1, zlib.crc32(MEMBERS[HEADER][0].encode())) + b"75-code.py"
    return with_part(HEADER, central={"more": struct.pack("<HH", 0x7075, len(name)) + name})


@opened(Reason.ZIP, "Container")
def padding_not_zero() -> bytes:
    """The padding of a member holds a message."""
    return with_part(HEADER, local=padding(ROOM, b"hello"))


@opened(Reason.ZIP, "Container")
def padding_longer() -> bytes:
    """A member is padded by 64 bytes more than it needs."""
    return with_part(HEADER, local=padding(ROOM + 64))


@opened(Reason.ZIP, "Container")
def padding_missing() -> bytes:
    """A member is not padded, so that its data are not aligned."""
    return with_part(HEADER, local={"padding": b""})


@opened(Reason.ZIP, "Container")
def padding_of_another_field() -> bytes:
    """The padding is in the field 0xD935 that others use for it."""
    return with_part(HEADER, local=padding(ROOM, field=0xD935))


@opened(Reason.ZIP, "Container")
def names_differ() -> bytes:
    """A member has another name in its local header than in the directory."""
    return with_part(STATE, local={"name": b"70-state-0000000009.safetensors"})


@opened(Reason.ZIP, "Container")
def name_in_capitals() -> bytes:
    """A member's name is in capitals in both its records, and not in the index."""
    return with_part(STATE, name=PARTS[STATE].name.upper())


@opened(Reason.ZIP, "Container")
def name_cut_by_a_nul() -> bytes:
    """A member's name has a NUL in both its records, where many tools end it, and not in the index."""
    return with_part(STATE, name=PARTS[STATE].name.replace(b".safe", b"\0safe"))


@opened(Reason.ZIP, "Container")
def name_with_a_backslash() -> bytes:
    """A member's name has a backslash, which some tools take for a folder, where the index has a hyphen."""
    return with_part(STATE, name=PARTS[STATE].name.replace(b"-", b"\\", 1))


@opened(Reason.ZIP, "Container")
def crc_differs() -> bytes:
    """The CRC-32 of a member is another in both its records than in the index."""
    return with_part(HEADER, local={"crc32": 1}, central={"crc32": 1})


@opened(Reason.ZIP, "Container")
def crc_differs_in_the_local_header() -> bytes:
    """The CRC-32 of a member is zero in its local header."""
    return with_part(HEADER, local={"crc32": 0})


@opened(Reason.ZIP, "Container")
def crc_of_the_index_differs() -> bytes:
    """The CRC-32 of the index, which no index lists, is wrong in both its records."""
    return with_part(INDEX, local={"crc32": 1}, central={"crc32": 1})


@opened(Reason.ZIP, "Container")
def signature_of_a_record() -> bytes:
    """A central record has another signature."""
    return with_part(HEADER, central={"signature": b"PK\x01\x03"})


@opened(Reason.ZIP, "Container")
def signature_of_a_header() -> bytes:
    """A local header has another signature."""
    return with_part(HEADER, local={"signature": b"PK\x03\x05"})


@opened(Reason.TRUNCATED, "Container")
def index_of_a_huge_size() -> bytes:
    """The record of the index says that it has 2^62 bytes."""
    offset = GOOD.rindex(b"PK\x03\x04")
    return with_part(INDEX, central=central_sizes(1 << 62, 1 << 62, offset))


@opened(Reason.TRUNCATED, "Container")
def index_beyond_the_file() -> bytes:
    """The record of the index leads to the offset 2^64 - 1."""
    return with_part(INDEX, central={"at": (1 << 64) - 1})


@opened(Reason.TRUNCATED, "Container")
def member_beyond_the_file() -> bytes:
    """The last member before the index, and its size in all records, reach past the end of the file."""
    index, size = index_of(MEMBERS), 1 << 40
    index["members"][STATE]["size"] = str(size)
    offset = GOOD.index(PARTS[STATE].name) - 30
    lies = {"local": local_sizes(size, size), "central": central_sizes(size, size, offset)}
    return zipped(at(STATE, lambda part: replace(part, **lies))(parts_of(MEMBERS, encode(index))))


@opened(Reason.JSON, "Container")
def index_of_no_bytes() -> bytes:
    """The record of the index says that it has no bytes."""
    offset = GOOD.rindex(b"PK\x03\x04")
    return with_part(INDEX, central=central_sizes(0, 0, offset))
