"""Test that a part is signed as the answer to one request, under one name, with its bytes."""

from hashlib import sha256
from pathlib import Path

import pytest

from polarchive.errors import FormatError, OpeningError, Reason, SignatureError
from polarchive.format import opening, part
from polarchive.format.blob import Blob
from polarchive.format.part import BatchPart, StatePart
from polarchive.format.tensors import Array
from tests.simulator import PROVER, STRANGER, spell_state, state_of

ASKED, CONTENT = bytes([1] * 32), bytes([2] * 32)
PART = BatchPart(12, 3)


@pytest.mark.parametrize(
    ("shown", "name", "words"),
    [
        (PART, "batch-00000000000000000012-00003", "step 12, batch 3"),
        (BatchPart(0, 0), "batch-00000000000000000000-00000", "step 0"),
        (BatchPart(2**64 - 1, 65535), "batch-18446744073709551615-65535", "step 18446744073709551615, batch 65535"),
        (StatePart(7), "state-0000000007", "state 7"),
    ],
)
def test_a_part_has_one_name(shown: part.Part, name: str, words: str) -> None:
    assert (shown.name, str(shown), part.parse(name)) == (name, words, shown)


@pytest.mark.parametrize(
    "name", ["", "state-7", "batch-00000000000000000012", "../state-0000000007", "state-0000000007\n", "batch-²" * 3]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(FormatError) as refusal:
        part.parse(name)
    assert refusal.value.reason == Reason.MEMBER


def test_the_bytes_are_those_of_a_stored_state() -> None:
    state = state_of(0, 1)
    data = b"".join(map(bytes, part.chunks(state)))
    assert data == spell_state(state)
    assert part.digest(state) == sha256(data).digest()


def test_what_is_signed_is_as_the_specification_says() -> None:
    text = b"polarchive/v1/answer\x00" + ASKED + (32).to_bytes(8, "big") + PART.name.encode() + CONTENT
    assert part.sign(PART, ASKED, CONTENT, PROVER) == PROVER.sign(text)


def test_a_signature_holds_for_one_part_of_one_answer() -> None:
    signature = part.sign(PART, ASKED, CONTENT, PROVER)
    part.check(PART, ASKED, CONTENT, signature, PROVER.key)
    for shown, asked, content, key in [
        (BatchPart(12, 2), ASKED, CONTENT, PROVER.key),
        (PART, bytes(32), CONTENT, PROVER.key),
        (PART, ASKED, bytes(32), PROVER.key),
        (PART, ASKED, CONTENT, STRANGER.key),
    ]:
        with pytest.raises(SignatureError):
            part.check(shown, asked, content, signature, key)


def test_a_part_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "part"
    with path.open("wb") as file:
        file.truncate(part.MAX_PART + 1)
    with pytest.raises(FormatError) as refusal:
        part.read_state(Blob.of(path))
    assert refusal.value.reason == Reason.LIMIT


def test_a_state_is_no_opening(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(spell_state(state_of(0, 1)))
    with pytest.raises(OpeningError, match=r"step 12, batch 3: .*salts"), part.blamed(PART):
        part.read_opening(Blob.of(tmp_path / "part"))


def test_what_lies_under_a_field_is_not_read_as_salts() -> None:
    assert opening.SALTS not in {opening.RECORD, opening.BATCH, opening.TEXT}
    with pytest.raises(FormatError):
        opening.gather({"record/salts": Array("U8", (1, 32), bytes(32))}, "part")
