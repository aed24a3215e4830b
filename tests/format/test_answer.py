"""Test the sealed answer: what is in it comes out as it was signed, and no byte of it can be other than as written."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polarchive.errors import FormatError, OpeningError, PolError, Reason
from polarchive.format import answer, container, request
from polarchive.format.answer import Answers, Content
from polarchive.format.canonical import encode
from polarchive.format.opening import spread
from polarchive.format.part import BatchPart, Part, StatePart
from tests.format.test_container import flips
from tests.format.test_opening import comparable
from tests.format.test_request import ASKED, DOCUMENT
from tests.simulator import PROVER, STRANGER, Simulation, state_of

RUN = Simulation(segments=1, every=2, micro=2).run()
PARTS: list[tuple[Part, Content]] = [
    *((BatchPart(step, micro), spread(RUN.openings[step][micro])) for step in (0, 1) for micro in (0, 1)),
    (StatePart(1), state_of(0, 1)),
]
DIGEST = request.digest(DOCUMENT)
Members = dict[str, bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    answer.write(tmp_path / "answer.polr", DOCUMENT, PARTS, PROVER)
    return tmp_path / "answer.polr"


def members(path: Path) -> Members:
    parts = container.read(path, answer.GRAMMAR)
    with parts.file:
        return {name: bytes(blob.read()) for name, blob in parts.blobs.items() if name != container.INDEX}


def rewrite(path: Path, changed: Members) -> Path:
    container.write(path, ((name, [data]) for name, data in sorted(changed.items())))
    return path


def signed(signatures: dict[str, Any], **more: Any) -> bytes:
    body = {"key": str(PROVER.key), "signatures": signatures, "type": "answer", "version": "polarchive/v1"}
    return encode({**body, **more})


def test_what_is_answered_is_read(path: Path) -> None:
    with Answers.open(path, PROVER.key) as found:
        assert found.request == ASKED
        for step in (0, 1):
            for micro in (0, 1):
                assert comparable(found.batch(step, micro)) == comparable(RUN.openings[step][micro])
        assert {name: bytes(array.data) for name, array in found.state(1).items()} == {
            name: array.data for name, array in state_of(0, 1).items()
        }


def test_equal_answers_are_equal_files(path: Path, tmp_path: Path) -> None:
    digest = answer.write(tmp_path / "again.polr", DOCUMENT, PARTS, PROVER)
    assert (tmp_path / "again.polr").read_bytes() == path.read_bytes()
    with Answers.open(path, PROVER.key) as found:
        assert found.digest == digest


def test_parts_are_made_one_at_a_time(tmp_path: Path) -> None:
    """Each part is asked for when the one before is on its way to the disk."""
    sizes = []

    def parts() -> Iterator[tuple[Part, Content]]:
        for shown, content in PARTS:
            sizes.append((tmp_path / "answer.polr.tmp").exists())
            yield shown, content

    answer.write(tmp_path / "answer.polr", DOCUMENT, parts(), PROVER)
    assert sizes == [True] * len(PARTS)


def test_parts_out_of_order_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="order"):
        answer.write(tmp_path / "answer.polr", DOCUMENT, reversed(PARTS), PROVER)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", [2, 2**64 - 1])
def test_a_part_that_is_not_there_was_withheld(path: Path, step: int) -> None:
    with Answers.open(path, PROVER.key) as found, pytest.raises(OpeningError, match=f"step {step} was asked for"):
        found.batch(step, 0)


def test_an_answer_by_another_is_refused(path: Path) -> None:
    with pytest.raises(FormatError) as refusal:
        Answers.open(path, STRANGER.key)
    assert refusal.value.reason == Reason.KEY


def test_an_archive_is_no_answer(honest_archive: Path) -> None:
    with pytest.raises(FormatError) as refusal:
        Answers.open(honest_archive, PROVER.key)
    assert refusal.value.reason == Reason.MEMBER


def test_an_answer_is_no_archive(path: Path) -> None:
    with pytest.raises(FormatError) as refusal:
        container.read(path)
    assert refusal.value.reason == Reason.MEMBER


def test_swapped_batches_are_not_as_signed(path: Path) -> None:
    found = members(path)
    one, other = ("10-" + BatchPart(step, 0).name + ".safetensors" for step in (0, 1))
    rewrite(path, {**found, one: found[other], other: found[one]})
    with Answers.open(path, PROVER.key) as answers:
        for step in (0, 1):
            with pytest.raises(OpeningError, match=f"step {step}: .*signature"):
                answers.batch(step, 0)
        answers.batch(0, 1)


def test_an_answer_to_another_request_is_not_this_one(path: Path) -> None:
    other = request.sign(replace(ASKED, nonce=bytes(32)), STRANGER)
    rewrite(path, {**members(path), answer.REQUEST: other})
    with Answers.open(path, PROVER.key) as answers, pytest.raises(OpeningError, match=r"state 1: .*signature"):
        answers.state(1)


def test_signed_nonsense_is_evidence(tmp_path: Path) -> None:
    shown = BatchPart(0, 0)
    answer.write(tmp_path / "answer.polr", DOCUMENT, [(shown, state_of(0, 0))], PROVER)
    with (
        Answers.open(tmp_path / "answer.polr", PROVER.key) as answers,
        pytest.raises(OpeningError, match=r"step 0: .*salts"),
    ):
        answers.batch(0, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    {
        "no_json": (b"", Reason.JSON),
        "list": (b"[]", Reason.FIELD),
        "request": (DOCUMENT, Reason.FIELD),
        "version_2": (signed({}, version="polarchive/v2"), Reason.VERSION),
        "field_too_many": (signed({}, more=None), Reason.FIELD),
        "no_signatures": (signed({}), Reason.MEMBER),
        "signature_short": (signed({BatchPart(0, 0).name: "00"}), Reason.FIELD),
        "signature_of_a_path": (signed({"../x": "00" * 64}), Reason.MEMBER),
        "signature_of_nothing": (signed({StatePart(5).name: "00" * 64}), Reason.MEMBER),
    }.values(),
)
def test_signatures_that_do_not_fit_are_refused(path: Path, data: bytes, reason: Reason) -> None:
    rewrite(path, {**members(path), answer.ANSWER: data})
    with pytest.raises(FormatError) as refusal:
        Answers.open(path, PROVER.key)
    assert refusal.value.reason == reason


@pytest.mark.parametrize("step", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_every_bit_counts(tmp_path: Path, step: int) -> None:
    path = tmp_path / "answer.polr"
    answer.write(path, DOCUMENT, PARTS[:1], PROVER)
    for _ in flips(path, step):
        with pytest.raises(PolError), Answers.open(path, PROVER.key) as answers:
            answers.batch(0, 0)
