"""Compare with what others see: ZIP tools, a Merkle library, naive definitions, and a note reader written from C2SP."""

import base64
import importlib.util
import re
import shutil
import subprocess
import unicodedata
import zipfile
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from polarchive.errors import FormatError
from polarchive.format import container, merkle, note
from polarchive.format.archive import open_archive
from polarchive.format.note import VerifierKey
from tools.catalogue import OK, Plan, Vector
from tools.vectors import FOLDER, plans

VECTORS = [Vector.decode(file.read_bytes()) for file in sorted(FOLDER.glob("*.vec"))]
ACCEPTED = [vector for vector in VECTORS if (vector.kind, vector.expect) == ("archive", OK)]
LARGE = [plan for plan in plans() if plan.large and (plan.kind, plan.expect) == ("archive", OK)]
NOTES = [vector for vector in VECTORS if vector.kind == "note"]

accepted = pytest.mark.parametrize("vector", ACCEPTED, ids=lambda vector: vector.name)
needs_unzip = pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")


def written(vector: Vector, folder: Path) -> Path:
    path = folder / "run.pol"
    path.write_bytes(vector.body)
    return path


def check_zipfile(path: Path) -> None:
    """Compare names, order and bytes of the members with those that the standard library finds."""
    parts = container.read(path)
    with parts.file, zipfile.ZipFile(path) as other:
        assert other.testzip() is None and other.comment == b""
        assert other.namelist() == list(parts.blobs)
        assert all(other.read(name) == parts.blobs[name].read() for name in parts.blobs)


def check_unzip(path: Path) -> None:
    """Compare names, order and sizes of the members with those that Info-ZIP lists, and let it test their CRCs."""
    listing = subprocess.run(["unzip", "-l", path], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^ *([0-9]+)  1980-01-01 00:00   (.+)$", listing, re.MULTILINE)
    parts = container.read(path)
    with parts.file:
        assert [(name, int(size)) for size, name in rows] == [(name, blob.size) for name, blob in parts.blobs.items()]
    tested = subprocess.run(["unzip", "-t", path], capture_output=True, text=True, check=True).stdout
    assert "No errors detected in compressed data" in tested and "warning" not in tested.lower()


@accepted
def test_zipfile_sees_the_same(vector: Vector, tmp_path: Path) -> None:
    check_zipfile(written(vector, tmp_path))


@needs_unzip
@accepted
def test_unzip_sees_the_same(vector: Vector, tmp_path: Path) -> None:
    check_unzip(written(vector, tmp_path))


@needs_unzip
@pytest.mark.slow
@pytest.mark.parametrize("plan", LARGE, ids=lambda plan: plan.name)
def test_zip_tools_see_the_same_of_large_archives(plan: Plan, tmp_path: Path) -> None:
    path = written(plan.vector(), tmp_path)
    check_zipfile(path)
    check_unzip(path)


def test_zip_tools_forgive_what_is_refused(tmp_path: Path) -> None:
    """Say why readers of the format do not use `zipfile`: it accepts many of the archives that they refuse."""
    refused = [vector for vector in VECTORS if vector.kind == "archive" and vector.expect in ("zip", "member")]
    forgiven = [vector.name for vector in refused if _forgives(written(vector, tmp_path))]
    assert len(refused) > 100 and len(forgiven) > 50


def _forgives(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as other:
            return other.testzip() is None
    except Exception:  # it has many
        return False


SIZE = 300
LEAVES = [merkle.leaf(str(number).encode()) for number in range(SIZE)]
TREE = merkle.Tree(LEAVES)


def split(count: int) -> int:
    """Return the largest power of two below `count`, as RFC 9162 section 2.1.1 divides a list."""
    return max(1 << bit for bit in range(count.bit_length()) if 1 << bit < count)


@cache
def naive_root(start: int, stop: int) -> bytes:
    """Return MTH(D[start:stop])."""
    if stop - start < 2:
        return LEAVES[start] if stop > start else sha256(b"").digest()
    middle = start + split(stop - start)
    return sha256(b"\x01" + naive_root(start, middle) + naive_root(middle, stop)).digest()


def naive_path(index: int, start: int, stop: int) -> list[bytes]:
    """Return PATH(index, D[start:stop]); `index` counts from 0 of the whole list."""
    if stop - start == 1:
        return []
    middle = start + split(stop - start)
    if index < middle:
        return [*naive_path(index, start, middle), naive_root(middle, stop)]
    return [*naive_path(index, middle, stop), naive_root(start, middle)]


def naive_subproof(size: int, start: int, stop: int, whole: bool) -> list[bytes]:
    """Return SUBPROOF(size, D[start:stop], whole); `size` counts from 0 of the whole list."""
    if size == stop:
        return [] if whole else [naive_root(start, stop)]
    middle = start + split(stop - start)
    if size <= middle:
        return [*naive_subproof(size, start, middle, whole), naive_root(middle, stop)]
    return [*naive_subproof(size, middle, stop, False), naive_root(start, middle)]


def test_roots_are_those_of_the_definition() -> None:
    assert [TREE.root(size) for size in range(SIZE + 1)] == [naive_root(0, size) for size in range(SIZE + 1)]
    assert all(merkle.root(LEAVES[:size]) == naive_root(0, size) for size in range(SIZE + 1))
    assert all(merkle.Digests(b"".join(LEAVES[:size])).root() == naive_root(0, size) for size in range(SIZE + 1))


def test_inclusion_proofs_are_those_of_the_definition() -> None:
    for size in range(1, SIZE + 1):
        for index in range(size):
            proof = naive_path(index, 0, size)
            assert TREE.inclusion(index, size) == proof
            merkle.check_inclusion(LEAVES[index], index, size, proof, naive_root(0, size))


def test_consistency_proofs_are_those_of_the_definition() -> None:
    for second in range(1, SIZE + 1):
        for first in range(1, second + 1):
            proof = naive_subproof(first, 0, second, True)
            assert TREE.consistency(first, second) == proof
            merkle.check_consistency(first, second, proof, naive_root(0, first), naive_root(0, second))


def test_a_dataset_of_several_thousands_has_the_root_of_the_definition() -> None:
    for count in (65_535, 65_536, 65_537, 131_073, 200_000):
        digests = [sha256(number.to_bytes(4, "big")).digest() for number in range(count)]
        assert merkle.Digests(b"".join(digests)).root() == merkle.Tree(digests).root()


@pytest.mark.skipif(importlib.util.find_spec("pymerkle") is None, reason="pymerkle is an extra")
def test_pymerkle_agrees_on_roots_and_inclusion_proofs() -> None:
    from pymerkle import InmemoryTree

    other = InmemoryTree(algorithm="sha256")
    for size in range(1, SIZE + 1):
        other.append_entry(str(size - 1).encode())
        assert other.get_root(size) == TREE.root(size)
        for index in range(size):
            assert other.prove_inclusion(index + 1, size).path[1:] == TREE.inclusion(index, size)


@pytest.mark.skipif(importlib.util.find_spec("pymerkle") is None, reason="pymerkle is an extra")
@accepted
def test_pymerkle_agrees_on_the_logs_of_archives(vector: Vector, tmp_path: Path) -> None:
    from pymerkle import InmemoryTree

    with open_archive(written(vector, tmp_path), trusted=None) as archive:
        other, data = InmemoryTree(algorithm="sha256"), dict(_members(archive.path))
        for entry in [data[container.HEADER], *data[container.ENTRIES].splitlines()]:
            other.append_entry(entry)
        assert all(other.get_root(head.size) == head.root for head in archive.heads)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as file:
        yield from ((name, file.read(name)) for name in file.namelist())


class Refused(Exception):
    """Says which rule of C2SP a note breaks."""


def require(condition: bool, rule: str) -> None:
    if not condition:
        raise Refused(rule)


def read_note(data: bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Return text and signatures (name, key id, signature) of a note, after c2sp.org/signed-note alone."""
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("valid UTF-8") from None
    require(all(char >= " " or char == "\n" for char in whole), "no control characters but newline")
    text, blank, block = whole.rpartition("\n\n")
    require(bool(blank) and block.endswith("\n"), "text, a blank line, signature lines")
    return text + "\n", [_signature(line) for line in block[:-1].split("\n")]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.rpartition(" ")
    require(dash == "\u2014", "em dash, space")
    require(name != "" and "+" not in name and not any(map(_is_space, name)), "a key name")
    blob = _unbase64(encoded)
    require(len(blob) >= 4, "a key id")
    return name, blob[:4], blob[4:]


def _is_space(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) == "Zs"


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise Refused("base64") from None


def read_checkpoint(text: str) -> tuple[str, int, bytes, list[str]]:
    """Return origin, size, root and extension lines, after c2sp.org/tlog-checkpoint alone."""
    lines = text[:-1].split("\n")
    require(len(lines) >= 3 and all(lines), "three lines or more that are not empty")
    require(re.fullmatch("0|[1-9][0-9]*", lines[1], re.ASCII) is not None, "a decimal number")
    root = _unbase64(lines[2])
    require(len(root) == 32, "the root of a tree of RFC 6962")
    return lines[0], int(lines[1]), root, lines[3:]


def read_key(line: str) -> tuple[str, bytes, bytes]:
    """Return name, key id and public key of a verifier line of an Ed25519 key."""
    name, number, material = line.split("+", 2)
    public = base64.b64decode(material)
    require(public[0] == 1 and len(public) == 33, "an Ed25519 key")
    key_id = sha256(name.encode() + b"\n" + public).digest()[:4]
    require(key_id.hex() == number, "the key id")
    return name, key_id, public[1:]


def verified(data: bytes, line: str) -> str:
    """Return the text of a note that the key signed, ignoring signatures by keys that are not known."""
    name, key_id, public = read_key(line)
    text, signatures = read_note(data)
    known = [signature for found, number, signature in signatures if (found, number) == (name, key_id)]
    require(bool(known), "a signature of a known key")
    for signature in known:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, text.encode())
        except InvalidSignature:
            raise Refused("a signature that verifies") from None
    return text


# What C2SP allows or leaves open, and this format does not: three lines, one signature, ASCII, one spelling, bounds.
STRICTER = {
    "note-byte-order-mark",
    "note-extension-line",
    "note-origin-not-ascii",
    "note-root-with-loose-bits",
    "note-signed-by-another-too",
    "note-signed-twice",
    "note-size-of-3000-digits",
    "note-too-long",
}
PUBLISHED = """\
go.sum database tree
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""
PUBLISHED_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
EXAMPLE = """\
This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"


def theirs(vector: Vector) -> tuple[str, int, bytes] | None:
    try:
        origin, size, root, _ = read_checkpoint(verified(vector.body, vector.parameters["key"]))
    except Refused:
        return None
    return origin, size, root


def ours(vector: Vector) -> tuple[str, int, bytes] | None:
    try:
        head = note.open_note(vector.body, VerifierKey.parse(vector.parameters["key"]))
    except FormatError:
        return None
    return head.origin, head.size, head.root


@pytest.mark.parametrize("vector", NOTES, ids=lambda vector: vector.name)
def test_a_head_is_a_note_of_c2sp_that_says_the_same(vector: Vector) -> None:
    if vector.name in STRICTER:
        assert ours(vector) is None and theirs(vector) is not None
    else:
        assert ours(vector) == theirs(vector)


@accepted
def test_the_heads_of_archives_are_notes_of_c2sp(vector: Vector, tmp_path: Path) -> None:
    with open_archive(written(vector, tmp_path), trusted=None) as archive:
        for signed, head in zip(archive.notes, archive.heads, strict=True):
            assert read_checkpoint(verified(signed, str(archive.header.key))) == (head.origin, head.size, head.root, [])


def test_published_notes_verify() -> None:
    head = note.open_note(PUBLISHED.encode(), VerifierKey.parse(PUBLISHED_KEY))
    assert read_checkpoint(verified(PUBLISHED.encode(), PUBLISHED_KEY)) == (head.origin, head.size, head.root, [])
    assert verified(EXAMPLE.encode(), EXAMPLE_KEY) == "This is an example message.\n"
    text, signatures = read_note(EXAMPLE.encode())
    VerifierKey.parse(EXAMPLE_KEY).check(text.encode(), signatures[0][2], "published")
