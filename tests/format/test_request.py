"""Test that a request says one thing, signed by its judge, and that no other bytes say anything."""

import json
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from polarchive.errors import FormatError, Reason
from polarchive.format import challenge, request
from polarchive.format.canonical import encode
from polarchive.format.limits import MAX_ENTRIES
from polarchive.format.note import Head
from polarchive.format.request import Request
from tests.format.strategies import digests, signers, texts, u64
from tests.simulator import PROVER, STRANGER, FakeSigner

RUN = bytes(range(16))
ASKED = Request(
    run=RUN,
    head=Head(f"prover.example/key/{RUN.hex()}", 7, bytes(32)),
    nonce=bytes(range(32)),
    selection="Sample(count=2)",
    segments=(0, 3, 5),
    states=(3,),
    key=STRANGER.key,
    issued=1_000,
    expires=2_000,
)
DOCUMENT = request.sign(ASKED, STRANGER)
indices = st.lists(st.integers(0, MAX_ENTRIES - 1), max_size=6, unique=True).map(lambda found: tuple(sorted(found)))


@st.composite
def requests(draw: Any, signer: FakeSigner) -> Request:
    run, issued = draw(st.binary(min_size=16, max_size=16)), draw(st.integers(0, 2**64 - 2))
    return Request(
        run=run,
        head=Head(f"{draw(texts)}/{run.hex()}", draw(u64), draw(digests)),
        nonce=draw(digests),
        selection=draw(texts),
        segments=draw(indices),
        states=draw(indices),
        key=signer.key,
        issued=issued,
        expires=draw(st.integers(issued + 1, 2**64 - 1)),
    )


def resigned(**changes: Any) -> bytes:
    """Return a request whose fields were changed and which its judge signed as they are."""
    value = {**json.loads(DOCUMENT), **changes}
    del value["signature"]
    return encode({**value, "signature": STRANGER.sign(request.TAG + encode(value)).hex()})


@given(st.data(), signers)
def test_what_is_signed_is_read(data: st.DataObject, signer: FakeSigner) -> None:
    asked = data.draw(requests(signer))
    assert request.open_request(request.sign(asked, signer)) == asked


def test_the_document_is_as_the_specification_says() -> None:
    value = json.loads(DOCUMENT)
    signature = bytes.fromhex(value.pop("signature"))
    assert value == {
        "expires": "2000",
        "head": {"origin": ASKED.head.origin, "root": "00" * 32, "size": "7"},
        "issued": "1000",
        "key": str(STRANGER.key),
        "nonce": ASKED.nonce.hex(),
        "run": RUN.hex(),
        "segments": ["0", "3", "5"],
        "selection": "Sample(count=2)",
        "states": ["3"],
        "type": "request",
        "version": "polarchive/v1",
    }
    assert signature == STRANGER.sign(b"polarchive/v1/request\x00" + encode(value))


def test_the_challenge_follows_from_head_and_nonce() -> None:
    assert ASKED.challenge == challenge.derive(ASKED.head.text, ASKED.nonce)


def test_only_the_dates_are_no_substance() -> None:
    assert replace(ASKED, issued=1, expires=2).substance == ASKED.substance
    for change in ({"nonce": bytes(32)}, {"segments": (0,)}, {"states": ()}, {"selection": "every"}):
        assert replace(ASKED, **change).substance != ASKED.substance


def test_nobody_signs_for_another() -> None:
    with pytest.raises(ValueError, match="not by prover"):
        request.sign(ASKED, PROVER)


def test_what_no_reader_would_take_is_not_signed() -> None:
    with pytest.raises(ValueError, match="segments"):
        request.sign(replace(ASKED, segments=(3, 0)), STRANGER)


@pytest.mark.parametrize(
    ("changes", "reason"),
    {
        "type_of_an_answer": ({"type": "answer"}, Reason.FIELD),
        "version_2": ({"version": "polarchive/v2"}, Reason.VERSION),
        "field_too_many": ({"more": None}, Reason.FIELD),
        "run_of_another_head": ({"run": "00" * 16}, Reason.FIELD),
        "run_short": ({"run": "00" * 15}, Reason.FIELD),
        "head_as_text": ({"head": "origin"}, Reason.FIELD),
        "nonce_short": ({"nonce": "00" * 31}, Reason.FIELD),
        "segments_descending": ({"segments": ["3", "0"]}, Reason.FIELD),
        "segments_twice": ({"segments": ["3", "3"]}, Reason.FIELD),
        "segments_beyond_the_limit": ({"segments": [str(MAX_ENTRIES)]}, Reason.FIELD),
        "states_descending": ({"states": ["3", "0"]}, Reason.FIELD),
        "key_of_nobody": ({"key": "judge"}, Reason.FIELD),
        "key_of_another": ({"key": str(PROVER.key)}, Reason.SIGNATURE),
        "expired_when_issued": ({"expires": "1000"}, Reason.FIELD),
    }.values(),
)
def test_a_false_request_is_refused(changes: dict[str, Any], reason: Reason) -> None:
    with pytest.raises(FormatError) as refusal:
        request.open_request(resigned(**changes))
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", Reason.JSON),
        (b"[]", Reason.FIELD),
        (b"null", Reason.FIELD),
        (DOCUMENT + b"\n", Reason.JSON),
        (DOCUMENT.replace(b'"signature":"', b'"signature":"0'), Reason.FIELD),
        (bytes(request.MAX_REQUEST + 1), Reason.LIMIT),
    ],
)
def test_other_bytes_are_refused(document: bytes, reason: Reason) -> None:
    with pytest.raises(FormatError) as refusal:
        request.open_request(document)
    assert refusal.value.reason == reason


def test_every_bit_counts() -> None:
    for place in range(8 * len(DOCUMENT)):
        at, bit = divmod(place, 8)
        changed = DOCUMENT[:at] + bytes([DOCUMENT[at] ^ 1 << bit]) + DOCUMENT[at + 1 :]
        with pytest.raises(FormatError):
            request.open_request(changed)


def test_the_greatest_request_is_read() -> None:
    everything = tuple(range(MAX_ENTRIES))
    document = request.sign(replace(ASKED, segments=everything, states=everything), STRANGER)
    assert len(document) < request.MAX_REQUEST
    assert request.open_request(document).segments == everything


def test_the_example_of_the_specification() -> None:
    judge, run = FakeSigner("judge.example", bytes(range(0x20, 0x40))), bytes(range(0x10, 0x20))
    root = bytes.fromhex("4019fc077f0c316db6e9750b578b506c888cc3c4ea10a05c1423a994be9b4be9")
    asked = Request(
        run=run,
        head=Head(f"alice.example/{run.hex()}", 4, root),
        nonce=bytes(range(0x80, 0xA0)),
        selection="one drawn",
        segments=(0,),
        states=(),
        key=judge.key,
        issued=1_700_000_000,
        expires=1_700_604_800,
    )
    document = request.sign(asked, judge)
    assert asked.challenge.hex() == "0b1140854a1654aeaec9e9357e57333d363ef653b34b789e114e67c13cd6e807"
    assert (len(document), request.digest(document).hex()[:16]) == (629, "b0bf8b7c6f35ba87")
