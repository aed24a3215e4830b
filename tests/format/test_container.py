"""Test the container: the ZIP tools of others read it, and no byte of it can be other than as written."""

import json
import os
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from polarchive.errors import DigestError, FormatError, Reason
from polarchive.format import container
from polarchive.format import zip as layout
from polarchive.format.canonical import Json, encode
from polarchive.format.container import Container
from polarchive.format.zip import Listed
from tests.simulator import Member

MEMBERS: list[Member] = [(name, name.encode()) for name in container.REQUIRED]
MORE: list[Member] = [
    *MEMBERS,
    (container.DATASET, bytes(64)),
    (container.stamp_name(3, 0), b"stamp"),
    (container.stamp_name(3, 1), b"another"),
    (container.cosignatures_name(3), b""),
    (container.state_name(0), bytes(63)),
    (container.state_name(1 << 32), bytes(65)),
]


def write(path: Path, members: list[Member]) -> Path:
    container.write(path, ((name, [data]) for name, data in members))
    return path


def listed(members: list[Member]) -> list[Listed]:
    return [Listed(name, len(data), zlib.crc32(data), sha256(data).digest()) for name, data in members]


def index_of(members: list[Listed]) -> dict[str, Any]:
    rows = [
        {"name": one.name, "size": str(one.size), "crc32": str(one.crc32), "sha256": one.sha256.hex()}
        for one in members
    ]
    return {"members": rows}


def forge(members: list[Member], index: bytes | None = None) -> bytes:
    """Return a ZIP of these members in this order with any index, all else as a writer would lay it out."""
    index = encode(index_of(listed(members))) if index is None else index
    members, out = [*members, (container.INDEX, index)], bytearray()
    for one, (_, data) in zip(listed(members), members, strict=True):
        out += layout.local_header(one, len(out)) + data
    return bytes(out + layout.directory(listed(members)))


def reindexed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a ZIP whose index was changed and is canonical still."""
    index = index_of(listed(MEMBERS))
    change(index)
    return forge(MEMBERS, encode(index))


def row(number: int, **changes: Json) -> Callable[[dict[str, Any]], object]:
    return lambda index: index["members"][number].update(changes)


def refusal_of(path: Path) -> Reason | None:
    """Return why a container is refused when it is opened and every member checked; None if it is not."""
    try:
        parts = container.read(path)
    except FormatError as error:
        return error.reason
    with parts.file:
        try:
            for name in parts.blobs:
                parts.check(name)
        except FormatError as error:
            return error.reason
    return None


def flips(path: Path, step: int = 1) -> Iterator[int]:
    """Yield the place of every `step`-th bit while it is flipped in the file."""
    with path.open("r+b", buffering=0) as file:
        data = file.read()
        for place in range(0, 8 * len(data), step):
            at, bit = divmod(place, 8)
            os.pwrite(file.fileno(), bytes([data[at] ^ 1 << bit]), at)
            yield place
            os.pwrite(file.fileno(), data[at : at + 1], at)


GOOD = forge(MEMBERS)
INDEX = encode(index_of(listed(MEMBERS)))
TAIL = layout.directory(listed([*MEMBERS, (container.INDEX, INDEX)]))
FIRST = len(layout.local_header(listed(MEMBERS)[0], 0))
HOSTILE: dict[str, tuple[bytes, Reason]] = {
    "empty": (b"", Reason.ZIP),
    "not_a_zip": (bytes(4096), Reason.ZIP),
    "byte_before": (b"\0" + GOOD, Reason.JSON),
    "program_before": (b"#!/bin/sh\n" + GOOD, Reason.JSON),
    "byte_after": (GOOD + b"\0", Reason.ZIP),
    "comment": (GOOD[:-2] + b"\x01\x00x", Reason.ZIP),
    "byte_between": (GOOD.replace(TAIL, b"\0" + TAIL), Reason.ZIP),
    "no_directory": (GOOD.removesuffix(TAIL), Reason.ZIP),
    "index_not_last": (forge([*MEMBERS, ("zz-more", b"")]), Reason.MEMBER),
    "no_members": (forge([]), Reason.MEMBER),
    **{f"without_{name}": (forge([one for one in MEMBERS if one[0] != name]), Reason.MEMBER) for name, _ in MEMBERS},
    "another_order": (forge([MEMBERS[1], MEMBERS[0], *MEMBERS[2:]]), Reason.MEMBER),
    "member_twice": (forge([MEMBERS[0], *MEMBERS]), Reason.MEMBER),
    "index_inside": (forge([*MEMBERS, (container.INDEX, b"{}")]), Reason.MEMBER),
    "name_with_a_path": (forge([("../00-header.json", b""), *MEMBERS]), Reason.MEMBER),
    "name_absolute": (forge([("/etc/passwd", b""), *MEMBERS]), Reason.MEMBER),
    "name_unknown": (forge([*MEMBERS, ("75-code.py", b"")]), Reason.MEMBER),
    "name_with_a_line_end": (forge(MEMBERS, INDEX.replace(b"00-header.json", b"00-header.json\\n")), Reason.JSON),
    "name_with_more_digits": (forge([*MEMBERS, ("70-state-00000000001.safetensors", b"")]), Reason.MEMBER),
    "name_of_a_folder": (forge([*MEMBERS, ("70-state-0000000001.safetensors/", b"")]), Reason.MEMBER),
    "index_not_json": (forge(MEMBERS, b"members"), Reason.JSON),
    "index_spelled_otherwise": (forge(MEMBERS, json.dumps(index_of(listed(MEMBERS))).encode()), Reason.JSON),
    "index_a_list": (forge(MEMBERS, b"[]"), Reason.INDEX),
    "index_empty": (forge(MEMBERS, b"{}"), Reason.INDEX),
    "index_with_more": (reindexed(lambda index: index.update(more=None)), Reason.INDEX),
    "index_too_short": (reindexed(lambda index: index["members"].pop()), Reason.MEMBER),
    "index_of_null": (forge(MEMBERS, b'{"members":null}'), Reason.FIELD),
    "row_with_more": (reindexed(row(0, more=None)), Reason.FIELD),
    "row_without_digest": (reindexed(lambda index: index["members"][0].pop("sha256")), Reason.FIELD),
    "size_less": (reindexed(row(0, size="13")), Reason.ZIP),
    "size_more": (reindexed(row(0, size="15")), Reason.ZIP),
    "size_zero": (reindexed(row(3, size="0")), Reason.ZIP),
    "size_beyond_the_file": (reindexed(row(0, size=str(1 << 40))), Reason.ZIP),
    "size_that_overflows": (reindexed(row(0, size=str((1 << 64) - 1))), Reason.INDEX),
    "size_a_float": (reindexed(row(0, size="14.0")), Reason.FIELD),
    "crc_changed": (reindexed(row(0, crc32="1")), Reason.ZIP),
    "crc_that_overflows": (reindexed(row(0, crc32=str(1 << 32))), Reason.INDEX),
    "digest_changed": (reindexed(row(0, sha256="0" * 64)), Reason.DIGEST),
    "digest_short": (reindexed(row(0, sha256="0" * 62)), Reason.FIELD),
    "bytes_changed": (GOOD[:FIRST] + b"X" + GOOD[FIRST + 1 :], Reason.DIGEST),
}


def patched(at: int, form: str, value: int) -> bytes:
    """Return the good container with one field from the end of the central record of the index changed."""
    data, record = bytearray(GOOD), len(GOOD) - layout.TAIL - 46 - len(container.INDEX) - 28
    struct.pack_into(form, data, record + at, value)
    return bytes(data)


EXTRA = 46 + len(container.INDEX) + 4
FORGED_RECORDS = {
    "offset_beyond_the_file": patched(EXTRA + 16, "<Q", 1 << 40),
    "offset_that_overflows": patched(EXTRA + 16, "<Q", (1 << 64) - 1),
    "offset_zero": patched(EXTRA + 16, "<Q", 0),
    "size_beyond_the_file": patched(EXTRA + 8, "<Q", 1 << 40),
    "size_that_overflows": patched(EXTRA + 8, "<Q", (1 << 64) - 1),
    "size_zero": patched(EXTRA + 8, "<Q", 0),
    "compressed": patched(10, "<H", 8),
    "encrypted": patched(8, "<H", 1),
    "another_date": patched(14, "<H", 0x5021),
    "a_link": patched(38, "<I", 0o120777 << 16),
    "name_longer": patched(28, "<H", 99),
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good.pol", MORE)


def test_read_is_the_inverse_of_write(good: Path) -> None:
    parts = container.read(good)
    with parts.file:
        assert {name: parts.read(name, 99) for name in parts.listed if name != container.INDEX} == dict(MORE)
        for name in parts.blobs:
            parts.check(name)


def test_write_returns_the_digest_of_the_index(tmp_path: Path) -> None:
    digest = container.write(tmp_path / "a.pol", ((name, [data]) for name, data in MEMBERS))
    with container.read(tmp_path / "a.pol").file as file:
        assert digest == sha256(INDEX).digest() == container.read(Path(file.name)).digest


@given(data=st.lists(st.lists(st.binary(max_size=300), max_size=3), min_size=4, max_size=4))
def test_members_of_any_size_are_read_back(data: list[list[bytes]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pol"
    container.write(path, zip(container.REQUIRED, data, strict=True))
    parts = container.read(path)
    with parts.file:
        assert [parts.read(name, 900) for name in container.REQUIRED] == [b"".join(chunks) for chunks in data]


def test_the_writer_and_the_reader_agree_with_the_layout(tmp_path: Path) -> None:
    assert write(tmp_path / "a.pol", MEMBERS).read_bytes() == GOOD


def test_the_same_members_give_the_same_bytes(tmp_path: Path, good: Path) -> None:
    assert write(tmp_path / "again.pol", MORE).read_bytes() == good.read_bytes()


def test_members_are_aligned(good: Path) -> None:
    parts: Container = container.read(good)
    with parts.file:
        assert [blob.start % layout.ALIGNMENT for blob in parts.blobs.values()] == [0] * (len(MORE) + 1)


def test_zipfile_reads_it(good: Path) -> None:
    with zipfile.ZipFile(good) as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist() if name != container.INDEX} == dict(MORE)
        assert file.namelist()[-1] == container.INDEX
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_reads_it(good: Path) -> None:
    shown = subprocess.run(["unzip", "-l", good], capture_output=True, text=True, check=True).stdout
    assert all(name in shown for name, _ in MORE)
    tested = subprocess.run(["unzip", "-tq", good], capture_output=True, text=True, check=True)
    assert "No errors detected" in tested.stdout and not tested.stderr


def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pol", MEMBERS)
    accepted = [place for place in flips(path) if refusal_of(path) is None]
    assert accepted == []
    assert refusal_of(path) is None


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pol", MEMBERS)
    for size in reversed(range(len(GOOD))):
        os.truncate(path, size)
        assert refusal_of(path) is not None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (GOOD[:FIRST], "truncated"),
        (GOOD[: -len(TAIL)], "truncated"),
        (GOOD[:-22], "truncated"),
        (GOOD[:-1], "truncated"),
        (GOOD + b"\0", "not a polarchive container: the last member is not"),
        (b"a text", "not a polarchive container: the last member is not"),
        (bytes(4096), "not a polarchive container: the last member is not"),
    ],
    ids=["empty", "first header", "no directory", "no last record", "a byte less", "a byte more", "text", "zeros"],
)
def test_what_ends_too_early_is_said_to_be_truncated(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.pol").write_bytes(data)
    with pytest.raises(FormatError, match=said):
        container.read(tmp_path / "a.pol")


@pytest.mark.parametrize("size", [1, 64, 4096, 1 << 20])
def test_bytes_put_before_or_after_are_refused(size: int, tmp_path: Path) -> None:
    for data in (bytes(size) + GOOD, GOOD + bytes(size), GOOD[:size] + GOOD, GOOD + GOOD):
        (tmp_path / "a.pol").write_bytes(data)
        assert refusal_of(tmp_path / "a.pol") is not None


@pytest.mark.parametrize(("data", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_containers_are_refused(data: bytes, reason: Reason, tmp_path: Path) -> None:
    (tmp_path / "a.pol").write_bytes(data)
    assert refusal_of(tmp_path / "a.pol") == reason


@pytest.mark.parametrize("data", FORGED_RECORDS.values(), ids=FORGED_RECORDS)
def test_forged_records_are_refused(data: bytes, tmp_path: Path) -> None:
    assert len(data) == len(GOOD) and data != GOOD
    (tmp_path / "a.pol").write_bytes(data)
    assert refusal_of(tmp_path / "a.pol") in (Reason.ZIP, Reason.TRUNCATED, Reason.LIMIT, Reason.JSON)


def test_the_zip_of_another_tool_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pol", "w") as file:
        for name, data in [*MEMBERS, (container.INDEX, INDEX)]:
            file.writestr(name, data)
    assert refusal_of(tmp_path / "a.pol") == Reason.ZIP


def test_a_member_with_a_crc_of_its_own_is_refused(tmp_path: Path) -> None:
    false = [replace(one, crc32=7) for one in listed(MEMBERS)]
    index = encode(index_of(false))
    out = bytearray()
    for one, (_, data) in zip([*false, *listed([(container.INDEX, index)])], [*MEMBERS, ("", index)], strict=True):
        out += layout.local_header(one, len(out)) + data
    out += layout.directory([*false, *listed([(container.INDEX, index)])])
    (tmp_path / "a.pol").write_bytes(out)
    assert refusal_of(tmp_path / "a.pol") == Reason.DIGEST


def test_reading_checks_the_digest_and_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pol", MEMBERS)
    with path.open("r+b") as file:
        file.seek(FIRST)
        file.write(b"X")
    parts = container.read(path)
    with parts.file:
        with pytest.raises(DigestError):
            parts.read(container.HEADER, 99)
        with pytest.raises(FormatError) as refusal:
            parts.read(container.ENTRIES, 3)
    assert refusal.value.reason == Reason.LIMIT


@pytest.mark.parametrize("members", [MEMBERS[::-1], [MEMBERS[0], MEMBERS[0]]], ids=["descending", "twice"])
def test_members_out_of_order_leave_no_file(members: list[Member], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="out of order"):
        write(tmp_path / "a.pol", members)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"part"
        raise OSError("no more")

    path = write(tmp_path / "a.pol", MEMBERS)
    with pytest.raises(OSError, match="no more"):
        container.write(path, [(container.HEADER, failing())])
    assert path.read_bytes() == GOOD and list(tmp_path.iterdir()) == [path]
