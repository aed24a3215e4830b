"""Make archives whose index lies, or lists what does not belong, and whose ZIP structure follows it honestly."""

import json
from typing import Any

from polarchive.errors import Reason
from polarchive.format import container
from polarchive.format.canonical import encode
from tests.authority import Authority
from tests.simulator import Hook, Member, at
from tools.catalogue import opened, sealed
from tools.catalogue.forge import (
    NONE,
    ONE,
    TWO,
    data_of,
    forged,
    index_of,
    members_of,
    parts_of,
    plus,
    reindexed,
    relisted,
    swap,
    with_members,
    zipped,
)
from tools.catalogue.good import INDEXED

MEMBERS = members_of(NONE)
INDEX = encode(index_of(MEMBERS))


def spelled(index: bytes) -> bytes:
    """Return an archive whose index is spelled so."""
    return zipped(parts_of(MEMBERS, index))


def without(name: str) -> Hook[Member]:
    """Return the hook that leaves out one member."""
    return lambda members: [member for member in members if member[0] != name]


@opened(Reason.JSON, "Container")
def index_not_json() -> bytes:
    """The index is text."""
    return spelled(b"members")


@opened(Reason.JSON, "Container")
def index_empty() -> bytes:
    """The index has no bytes, and its records say so."""
    return spelled(b"")


@opened(Reason.JSON, "JSON")
def index_with_spaces() -> bytes:
    """The index is spelled with spaces."""
    return spelled(json.dumps(json.loads(INDEX), sort_keys=True).encode())


@opened(Reason.JSON, "JSON")
def index_with_a_line_end() -> bytes:
    """A line end follows the index."""
    return spelled(INDEX + b"\n")


@opened(Reason.JSON, "JSON")
def index_with_a_key_twice() -> bytes:
    """The index lists its members twice under one key."""
    return spelled(INDEX[:-1] + b',"members":[]}')


@opened(Reason.JSON, "JSON")
def index_with_a_number() -> bytes:
    """A size in the index is a number."""
    return spelled(swap(b'"size":"%d"' % len(MEMBERS[0][1]), b'"size":%d' % len(MEMBERS[0][1]))(INDEX))


@opened(Reason.JSON, "JSON")
def index_with_a_nul_in_a_name() -> bytes:
    """A name in the index has an escaped NUL."""
    return spelled(swap(b'"00-header.json"', b'"00-header.json\\u0000"')(INDEX))


@opened(Reason.INDEX, "Container")
def index_a_list() -> bytes:
    """The index is an array."""
    return spelled(b"[]")


@opened(Reason.INDEX, "Container")
def index_without_members() -> bytes:
    """The index is an empty object."""
    return spelled(b"{}")


@opened(Reason.INDEX, "Container")
def index_with_more() -> bytes:
    """The index has another key beside `members`."""
    return reindexed(lambda index: index.update(comment="by Alice"))


@opened(Reason.FIELD, "Container")
def index_of_null() -> bytes:
    """The members of the index are null."""
    return spelled(b'{"members":null}')


@opened(Reason.MEMBER, "Container")
def index_of_no_members() -> bytes:
    """The index lists nothing, and nothing else is in the file."""
    return zipped(parts_of([]))


@opened(Reason.MEMBER, "Container")
def index_lists_itself() -> bytes:
    """The index lists a member of its own name."""
    return with_members(plus(container.INDEX, b"{}"))


@opened(Reason.FIELD, "Container")
def index_row_with_more() -> bytes:
    """A row of the index has a field too many."""
    return relisted(0, date="1980-01-01")


@opened(Reason.FIELD, "Container")
def index_row_with_less() -> bytes:
    """A row of the index has no digest."""
    return reindexed(lambda index: index["members"][0].pop("sha256"))


@opened(Reason.FIELD, "JSON")
def size_with_a_leading_zero() -> bytes:
    """A size in the index begins with 0."""
    return relisted(0, size="0" + str(len(MEMBERS[0][1])))


@opened(Reason.FIELD, "JSON")
def size_above_u64() -> bytes:
    """A size in the index is 2^64."""
    return relisted(0, size=str(1 << 64))


@opened(Reason.INDEX, "Container")
def size_of_2_to_the_62() -> bytes:
    """A size in the index is 2^62."""
    return relisted(0, size=str(1 << 62))


@opened(Reason.INDEX, "Container")
def crc_above_32_bits() -> bytes:
    """A CRC-32 in the index is 2^32."""
    return relisted(0, crc32=str(1 << 32))


@opened(Reason.ZIP, "Container")
def size_less() -> bytes:
    """A size in the index is one byte less than in the ZIP."""
    return relisted(0, size=str(len(MEMBERS[0][1]) - 1))


@opened(Reason.ZIP, "Container")
def size_more() -> bytes:
    """A size in the index is one byte more than in the ZIP."""
    return relisted(0, size=str(len(MEMBERS[0][1]) + 1))


@opened(Reason.ZIP, "Container")
def size_of_a_terabyte() -> bytes:
    """A size in the index is 2^40, and the ZIP knows nothing of it."""
    return relisted(0, size=str(1 << 40))


@opened(Reason.ZIP, "Container")
def crc_lies_in_the_index() -> bytes:
    """A CRC-32 in the index is another than in the ZIP."""
    return relisted(0, crc32="1")


@opened(Reason.DIGEST, "Container")
def digest_of_the_header_lies() -> bytes:
    """The index lists another SHA-256 for the header."""
    return relisted(0, sha256="00" * 32)


@sealed(Reason.DIGEST, "Container")
def digest_of_a_state_lies() -> bytes:
    """The index lists another SHA-256 for a state, whose root is the committed one."""
    return relisted(4, sha256="00" * 32)


@sealed(Reason.DIGEST, "Container")
def digest_of_the_rows_lies() -> bytes:
    """The index lists another SHA-256 for the rows, whose root is the committed one."""
    return relisted(2, ONE, sha256="00" * 32)


@opened(Reason.DIGEST, "Container")
def digest_of_a_stamp_lies() -> bytes:
    """The index lists another SHA-256 for a stamp, to which nothing else commits."""
    members = plus(container.stamp_name(1, 0), Authority("tsa").over(NONE.run().notes[0]))(MEMBERS)
    index = index_of(members)
    index["members"][4].update(sha256="00" * 32)
    return zipped(parts_of(members, encode(index)))


@sealed(Reason.DIGEST, "Reading an archive")
def crc_lies_everywhere() -> bytes:
    """The CRC-32 of a state is wrong in the index and in the ZIP alike; its SHA-256 is right."""
    members, index = MEMBERS, index_of(MEMBERS)
    index["members"][4]["crc32"] = "1"
    parts = parts_of(members, encode(index))
    return zipped([*parts[:4], _lying(parts[4]), *parts[5:]])


def _lying(part: Any) -> Any:
    return type(part)(part.name, part.data, {"crc32": 1}, {"crc32": 1})


@opened(Reason.FIELD, "JSON")
def digest_in_capitals() -> bytes:
    """A SHA-256 in the index has an upper-case digit."""
    return relisted(0, sha256="A" + "0" * 63)


@opened(Reason.FIELD, "JSON")
def digest_of_31_bytes() -> bytes:
    """A SHA-256 in the index has 62 digits."""
    return relisted(0, sha256="00" * 31)


@opened(Reason.MEMBER, "Container")
def members_unsorted() -> bytes:
    """Index and ZIP have two members in descending order."""
    return with_members(lambda members: [members[1], members[0], *members[2:]])


@opened(Reason.MEMBER, "Container")
def member_twice() -> bytes:
    """Index and ZIP have one member twice."""
    return with_members(lambda members: [members[0], *members])


@opened(Reason.MEMBER, "Container")
def member_twice_with_other_bytes() -> bytes:
    """Index and ZIP have one name twice, with two contents."""
    return with_members(lambda members: [*members[:3], (container.HEADS, b""), *members[3:]])


@opened(Reason.MEMBER, "Container")
def name_of_a_parent_folder() -> bytes:
    """A member is called ../../etc/passwd."""
    return with_members(plus("../../etc/passwd"))


@opened(Reason.MEMBER, "Container")
def name_absolute() -> bytes:
    """A member is called /etc/passwd."""
    return with_members(plus("/etc/passwd"))


@opened(Reason.MEMBER, "Container")
def name_of_a_drive() -> bytes:
    """A member is called C:\\autoexec.bat."""
    return with_members(plus("C:\\autoexec.bat"))


@opened(Reason.MEMBER, "Container")
def name_in_a_folder() -> bytes:
    """A state lies in a folder."""
    return with_members(plus("70-state-0000000002.safetensors/x"))


@opened(Reason.MEMBER, "Container")
def name_of_a_folder() -> bytes:
    """A member is a folder."""
    return with_members(plus("states/"))


@opened(Reason.MEMBER, "Container")
def name_empty() -> bytes:
    """A member has an empty name."""
    return with_members(plus(""))


@opened(Reason.MEMBER, "Container")
def name_unknown() -> bytes:
    """A member has a name that this format does not know."""
    return with_members(plus("75-code.py", b"import os"))


@opened(Reason.MEMBER, "Container")
def name_that_is_a_case_twin() -> bytes:
    """A member's name differs from another's by capitals only, so that some systems extract one of them."""
    return with_members(plus("00-HEADER.json", MEMBERS[0][1]))


@opened(Reason.MEMBER, "Container")
def name_with_a_digit_more() -> bytes:
    """A state's number has eleven digits."""
    return with_members(plus("70-state-00000000001.safetensors", MEMBERS[4][1]))


@opened(Reason.MEMBER, "Container")
def name_with_a_digit_less() -> bytes:
    """A stamp's number has two digits."""
    return with_members(plus("50-stamp-0000000001-00.tsr"))


@opened(Reason.MEMBER, "Container")
def name_with_a_space() -> bytes:
    """A space follows the name of a state."""
    return with_members(plus("70-state-0000000001.safetensors "))


@opened(Reason.MEMBER, "Container")
def header_missing() -> bytes:
    """The archive has no header."""
    return with_members(without(container.HEADER))


@opened(Reason.MEMBER, "Container")
def entries_missing() -> bytes:
    """The archive of a run that never went on has no entries member, which is there even if it is empty."""
    return with_members(without(container.ENTRIES))


@opened(Reason.MEMBER, "Container")
def rows_missing() -> bytes:
    """The archive of a run that never went on has no rows member, which is there even if it is empty."""
    return with_members(without(container.ROWS))


@opened(Reason.MEMBER, "Container")
def heads_missing() -> bytes:
    """The archive has no heads."""
    return with_members(without(container.HEADS))


@opened(Reason.MEMBER, "Container")
def state_0_missing() -> bytes:
    """State 0 is not there."""
    return with_members(without(container.state_name(0)))


@opened(Reason.MEMBER, "Container")
def stored_state_missing() -> bytes:
    """A state that its segment says is stored is not there."""
    return with_members(without(container.state_name(1)), TWO)


@opened(Reason.MEMBER, "Container")
def state_that_is_not_stored() -> bytes:
    """A state is there that its segment says is not stored."""
    return forged(TWO, store={2}, members=plus(container.state_name(1), MEMBERS[4][1]))


@opened(Reason.MEMBER, "Container")
def state_of_no_segment() -> bytes:
    """A state is there that closes no segment."""
    return with_members(plus(container.state_name(1), MEMBERS[4][1]))


@opened(Reason.MEMBER, "Container")
def stamp_over_no_head() -> bytes:
    """A stamp over a size of which there is no head."""
    return with_members(plus(container.stamp_name(9, 0), b"a stamp"))


@opened(Reason.MEMBER, "Container")
def stamp_over_a_head_left_out() -> bytes:
    """A stamp over a size that the log had, and of which the archive has no head."""
    return forged(ONE, heads=lambda heads: heads[-1:], members=plus(container.stamp_name(1, 0), b"a stamp"))


@opened(Reason.MEMBER, "Container")
def cosignatures_of_no_head() -> bytes:
    """Cosignatures of a size of which there is no head."""
    return with_members(plus(container.cosignatures_name(0), b""))


@opened(Reason.MEMBER, "Indexed mode")
def dataset_in_fed_mode() -> bytes:
    """A dataset is there in fed mode."""
    return with_members(plus(container.DATASET, bytes(32)))


@opened(Reason.MEMBER, "Indexed mode")
def dataset_missing() -> bytes:
    """The dataset is not there in indexed mode."""
    return with_members(without(container.DATASET), INDEXED)


@opened(Reason.LIMIT, "Limits", large=True)
def stamp_too_large() -> bytes:
    """A stamp of 65,537 bytes."""
    return with_members(plus(container.stamp_name(1, 0), bytes(65537)))


@opened(Reason.LIMIT, "Limits", large=True)
def cosignatures_too_large() -> bytes:
    """Cosignatures of 65,537 bytes."""
    return with_members(plus(container.cosignatures_name(1), bytes(65537)))


@opened(Reason.ROWS, "Step row")
def rows_longer() -> bytes:
    """The rows member has a row that no segment commits to."""
    return with_members(data_of(container.ROWS, lambda data: data * 2), ONE)


@opened(Reason.ROWS, "Step row")
def rows_shorter() -> bytes:
    """The rows member ends before its last line end."""
    return with_members(data_of(container.ROWS, lambda data: data[:-1]), ONE)


@opened(Reason.ROWS, "Step row")
def rows_empty() -> bytes:
    """The rows member is empty, though a segment commits to a row."""
    return with_members(data_of(container.ROWS, lambda data: b""), ONE)


@sealed(Reason.ROWS, "Step row")
def rows_changed() -> bytes:
    """The rows are not those that the segment commits to, and the index lists them as they are."""
    return with_members(data_of(container.ROWS, swap(b'"count":"1"', b'"count":"2"')), ONE)


@sealed(Reason.STATE, "States")
def state_changed() -> bytes:
    """One bit of a state differs from the committed one, and the index lists the state as it is."""
    return with_members(data_of(container.state_name(0), lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]))


@sealed(Reason.STATE, "States")
def states_swapped() -> bytes:
    """Two states have changed places, and the index lists them so."""

    def swapped(members: list[Member]) -> list[Member]:
        first, second = members[5:]
        return [*members[:5], (first[0], second[1]), (second[0], first[1])]

    return with_members(swapped, TWO)


@opened(Reason.ENTRY, "The log")
def entries_without_the_last_line_end() -> bytes:
    """The last entry has no line end."""
    return with_members(data_of(container.ENTRIES, lambda data: data[:-1]), ONE)


@opened(Reason.JSON, "Container")
def entries_with_an_empty_line() -> bytes:
    """An empty line follows the entries."""
    return with_members(data_of(container.ENTRIES, lambda data: data + b"\n"), ONE)


@opened(Reason.JSON, "Container")
def entries_with_carriage_returns() -> bytes:
    """The entries end in CR LF."""
    return with_members(data_of(container.ENTRIES, lambda data: data.replace(b"\n", b"\r\n")), ONE)


@opened(Reason.JSON, "Container")
def header_with_a_line_end() -> bytes:
    """A line end follows the header."""
    return with_members(data_of(container.HEADER, lambda data: data + b"\n"))


@opened(Reason.JSON, "Container")
def header_with_a_byte_order_mark() -> bytes:
    """A byte order mark precedes the header."""
    return forged(NONE, lines=at(0, lambda line: b"\xef\xbb\xbf" + line))
