"""Write and read the container: a canonical ZIP whose last member lists all others (SPEC.md, "Container")."""

import os
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from polarchive.errors import DigestError, FormatError, Reason
from polarchive.format import disk
from polarchive.format import fields as f
from polarchive.format import zip as layout
from polarchive.format.blob import Blob
from polarchive.format.canonical import decode, encode
from polarchive.format.limits import MAX_INDEX, MAX_MEMBERS
from polarchive.format.tensors import Buffer
from polarchive.format.zip import Listed

HEADER: Final = "00-header.json"
ENTRIES: Final = "10-entries.jsonl"
ROWS: Final = "20-rows.jsonl"
HEADS: Final = "30-heads.txt"
DATASET: Final = "40-dataset.bin"
INDEX: Final = "zz-index.json"
REQUIRED: Final = (HEADER, ENTRIES, ROWS, HEADS)


@dataclass(frozen=True, slots=True)
class Grammar:
    """Say which names the members of one kind of container have, and which of them it cannot be without."""

    names: re.Pattern[str]
    required: tuple[str, ...]


ARCHIVE: Final = Grammar(
    re.compile(
        "00-header[.]json|10-entries[.]jsonl|20-rows[.]jsonl|30-heads[.]txt|40-dataset[.]bin"
        "|50-stamp-[0-9]{10}-[0-9]{3}[.]tsr|60-cosignatures-[0-9]{10}[.]txt|70-state-[0-9]{10}[.](coded|safetensors)"
    ),
    REQUIRED,
)
_index: Final = f.sequence(
    f.fields(Listed, name=f.text, size=f.u64, crc32=f.u64, sha256=f.digest),
    MAX_MEMBERS,
)


def state_name(index: int) -> str:
    """Return the member name of state `index`."""
    return f"70-state-{index:010}.safetensors"


def coded_name(index: int) -> str:
    """Return the member name of state `index` where it is stored as a difference."""
    return f"70-state-{index:010}.coded"


def stamp_name(size: int, number: int) -> str:
    """Return the member name of the `number`-th timestamp token over the head of tree size `size`."""
    return f"50-stamp-{size:010}-{number:03}.tsr"


def cosignatures_name(size: int) -> str:
    """Return the member name of the witness signature lines over the head of tree size `size`."""
    return f"60-cosignatures-{size:010}.txt"


def is_attached(name: str) -> bool:
    """Tell whether a name is that of a stamp or of cosignatures, which may be added to a whole archive."""
    return name[:3] in ("50-", "60-") and ARCHIVE.names.fullmatch(name) is not None


def size_of_name(name: str) -> int:
    """Return the size of the head that a stamp or cosignatures are over."""
    return int(name.split("-")[2][:10])


@dataclass(frozen=True, slots=True)
class Container:
    """Hold an open container: its members by name, what the index says of them, and the index's SHA-256."""

    file: BinaryIO
    listed: Mapping[str, Listed]
    blobs: Mapping[str, Blob]
    digest: bytes

    def check(self, name: str) -> None:
        """Read all of one member; DigestError unless its bytes are those that the index lists."""
        digest, crc = sha256(), 0
        for chunk in self.blobs[name].chunks():
            digest.update(chunk)
            crc = zlib.crc32(chunk, crc)
        if (digest.digest(), crc) != (self.listed[name].sha256, self.listed[name].crc32):
            raise DigestError(Reason.DIGEST, name, "its bytes are not those that the index lists")

    def read(self, name: str, limit: int) -> bytes:
        """Return one member's bytes, checked against the index; FormatError if they are more than `limit`."""
        data = bytes(self.blobs[name].bounded(limit))
        if sha256(data).digest() != self.listed[name].sha256:
            raise DigestError(Reason.DIGEST, name, "its bytes are not those that the index lists")
        return data

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def write(path: Path, members: Iterable[tuple[str, Iterable[Buffer]]]) -> bytes:
    """Write a container and return the digest of its index; `members` come in ascending order of name.

    Memory stays flat: members are streamed. The file appears under its name only when it is whole and on disk.
    """
    with disk.replacing(path) as file:
        listed = [_write_member(file, name, chunks) for name, chunks in members]
        if [member.name for member in listed] != sorted({member.name for member in listed}):
            raise ValueError("members out of order")
        index = encode({"members": _index.write(tuple(listed))})
        listed.append(_write_member(file, INDEX, [index]))
        file.write(layout.directory(listed))
    return sha256(index).digest()


def read(path: Path, grammar: Grammar = ARCHIVE) -> Container:
    """Open the container at `path`; FormatError unless every structural byte is the one the index implies."""
    blob = Blob.of(path)
    try:
        return _read(blob, grammar)
    except BaseException:
        blob.file.close()
        raise


def _write_member(file: BinaryIO, name: str, chunks: Iterable[Buffer]) -> Listed:
    offset, digest, crc, size = file.tell(), sha256(), 0, 0
    file.write(layout.local_header(Listed(name, 0, 0, b""), offset))
    for chunk in chunks:
        digest.update(chunk)
        crc = zlib.crc32(chunk, crc)
        size += file.write(chunk)
    member = Listed(name, size, crc, digest.digest())
    file.seek(offset)
    file.write(layout.local_header(member, offset))  # of the same length as the first
    file.seek(0, os.SEEK_END)
    return member


def _read(blob: Blob, grammar: Grammar) -> Container:
    index, data = _read_index(blob, grammar)
    listed = {member.name: member for member in index}
    blobs, offset = {}, 0
    for member in index:
        head = layout.local_header(member, offset)
        if blob.read(offset, min(len(head), blob.size - offset)) != head:
            raise FormatError(Reason.ZIP, member.name, "its local header is not the canonical one")
        blobs[member.name] = blob.slice(offset + len(head), member.size, member.name)
        offset += len(head) + member.size
    tail = layout.directory(index)
    if offset + len(tail) != blob.size or blob.read(offset) != tail:
        raise FormatError(Reason.ZIP, blob.place, "the central directory is not the canonical one")
    return Container(blob.file, listed, blobs, sha256(data).digest())


def _read_index(blob: Blob, grammar: Grammar) -> tuple[tuple[Listed, ...], bytes]:
    tail = bytes(blob.read(max(0, blob.size - (1 << 12))))
    try:
        offset, size = layout.last_member(tail, INDEX)
    except ValueError as error:
        raise FormatError(Reason.ZIP, blob.place, _what_it_is(blob, tail, str(error))) from None
    head = len(layout.local_header(Listed(INDEX, size, 0, b""), offset))
    data = bytes(blob.slice(min(offset + head, 1 << 63), size, INDEX).bounded(MAX_INDEX))
    value = decode(data, MAX_INDEX, INDEX)
    if not isinstance(value, dict) or value.keys() != {"members"}:
        raise FormatError(Reason.INDEX, INDEX, "not an object with members")
    members = f.read(_index, value["members"], INDEX)
    _check_names(members, grammar)
    return (*members, Listed(INDEX, size, zlib.crc32(data), sha256(data).digest())), data


def _what_it_is(blob: Blob, tail: bytes, why: str) -> str:
    """Return what a file is that does not end as a container does."""
    if not blob.size:
        return "the file is empty"
    if layout.is_cut(bytes(blob.read(0, min(4, blob.size))), tail):
        return "the file is truncated: it begins as a container does, and ends too early"
    return f"not a polarchive container: {why}"


def _check_names(members: tuple[Listed, ...], grammar: Grammar) -> None:
    names = [member.name for member in members]
    if names != sorted(set(names)):
        raise FormatError(Reason.MEMBER, INDEX, "members are not in ascending order, each once")
    for member in members:
        if not grammar.names.fullmatch(member.name):
            raise FormatError(Reason.MEMBER, INDEX, f"{member.name[:40]} is no name of a member")
        if member.crc32 >= 1 << 32 or member.size >= 1 << 62:
            raise FormatError(Reason.INDEX, member.name, "a CRC-32 or size out of range")
    for name in grammar.required:
        if name not in names:
            raise FormatError(Reason.MEMBER, INDEX, f"{name} is missing")
