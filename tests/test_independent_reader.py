"""A reader that was written from SPEC.md alone judges every vector as the package does."""

import hashlib
import hmac
import itertools
import struct
from base64 import b64decode
from pathlib import Path

import pytest
from cryptography.x509 import load_der_x509_certificate

from tests import independent_coding as coding
from tests import independent_reader as reader
from tests import independent_stamp as stamp

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.vec"))

# These break more than one rule, and SPEC.md lets a reader give the reason that it meets first.
SEVERAL = {"archive-size-of-a-terabyte": "truncated"}


def load(path: Path) -> tuple[dict[str, str], bytes]:
    head, _, raw = path.read_bytes().partition(b"\n\n")
    return dict(line.split(": ", 1) for line in head.decode().split("\n")), raw


def challenge(text: bytes, nonce: bytes, label: bytes, count: int, population: int) -> tuple[bytes, list[int]]:
    value = coding.sha256(b"polarchive/v1/challenge\0", struct.pack(">Q", len(text)), text, nonce)
    seed = coding.sha256(b"polarchive/v1/draw\0", struct.pack(">Q", len(label)), label, value)
    drawn: set[int] = set()
    for block in itertools.count():
        for word in struct.unpack(">4Q", coding.sha256(seed, struct.pack(">Q", block))):
            if len(drawn) < count and word < 2**64 - 2**64 % population:
                drawn.add(word % population)
        if len(drawn) == count:
            return value, sorted(drawn)
    raise AssertionError


def salts(secret: bytes, run: bytes, epoch: int, step: int, start: int, count: int) -> bytes:
    seed = hmac.digest(secret, b"polarchive/v1/salt\0" + run + struct.pack(">2Q", epoch, step), "sha256")
    return hashlib.shake_256(seed).digest(32 * (start + count))[32 * start :]


def read(head: dict[str, str], raw: bytes) -> None:
    """Refuse the bytes of a vector, or find what its head says of them."""

    def told(key: str) -> bytes:
        return bytes.fromhex(head[key])

    def number(key: str) -> int:
        return int(head[key])

    match head["kind"]:
        case "archive":
            reader.read_archive(raw)
        case "journal":
            assert reader.read_journal(raw) == number("dropped")
            coding.need(head.get("by") != "state", "state")  # there are no files beside the journal
        case "header":
            reader.read_header(raw)
        case "entry":
            reader.read_entry(raw)
        case "row":
            reader.read_json(raw, "row")
        case "json":
            reader.read_json(raw)
        case "note":
            reader.read_head(raw, head["key"])
        case "verifier-key":
            reader.read_key(raw.decode("utf-8", "replace"))
        case "safetensors":
            root = coding.state_root(coding.read_state(raw))
            coding.need(root.hex() == head.get("root", root.hex()), "state")
        case "coded":
            base = coding.read_state(raw[: number("base")])
            most = 16 * sum(len(content) for _, _, content in base.values()) + 16 * coding.MIB
            _, state = coding.read_coded(raw[number("base") :], 1, {0: base}, most, reader.read_json)
            root = coding.state_root(state)
            assert root.hex() == head.get("root", root.hex())
        case "inclusion":
            path = [bytes.fromhex(line) for line in raw.decode().split()]
            root = reader.climb(number("index"), number("size") - 1, told("leaf"), path)[1]
            coding.need(root == told("root"), "proof")
        case "consistency":
            path = [bytes.fromhex(line) for line in raw.decode().split()]
            roots = reader.consistent(number("first"), number("second"), told("old"), path)
            coding.need(roots == (told("old"), told("new")), "proof")
        case "challenge":
            drawn = challenge(raw, told("nonce"), head["label"].encode(), number("count"), number("population"))
            assert drawn == (told("challenge"), [int(index) for index in head["indices"].split()])
        case "salts":
            place = [number(key) for key in ("epoch", "step", "start", "count")]
            assert salts(told("secret"), told("run"), *place) == raw
        case "stamp":
            said = stamp.read_stamp(raw)
            held = [load_der_x509_certificate(b64decode(root)) for root in head["roots"].split()]
            nonce = number("nonce") if "nonce" in head else None
            stamp.check_stamp(said, told("over"), held, head.get("policies", "").split(), nonce)
            assert head.get("time") in (None, said.time.isoformat())
            assert head.get("accuracy") in (None, str(said.accuracy and said.accuracy.total_seconds()))
        case "record":
            assert coding.sha256(b"\0polarchive/v1/record\0", told("salt"), raw) == told("leaf")
        case kind:
            raise AssertionError(f"vectors of the kind {kind} need a reader")


def test_there_are_vectors() -> None:
    assert len(VECTORS) >= 150


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_reader_agrees(path: Path) -> None:
    head, raw = load(path)
    try:
        read(head, raw)
        reason = "ok"
    except coding.Refused as refusal:
        reason = str(refusal)
    assert reason == SEVERAL.get(path.stem, head["expect"]), head["what"]
