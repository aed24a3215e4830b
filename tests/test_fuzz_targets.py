"""Run all targets of the fuzzer over all vectors, and over some changed ones, without the fuzzer."""

import random
from itertools import islice

import pytest

from polarchive.errors import FormatError, Reason
from tools import fuzz
from tools.fuzz import TARGETS, Target

LAYERED = {name: target for name, target in TARGETS.items() if target.mutate}


def flip(data: bytes, roll: random.Random) -> bytes:
    """Return bytes of which one bit is another."""
    changed = bytearray(data or b"\0")
    changed[roll.randrange(len(changed))] ^= 1 << roll.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_target_accepts_or_refuses_every_vector(target: Target) -> None:
    for vector in fuzz.vectors():
        target.accepts(vector.body)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_target_accepts_some_of_its_seeds_and_refuses_others(target: Target) -> None:
    assert {target.accepts(data) for data in target.seeds()} == {True, False}


@pytest.mark.parametrize("target", LAYERED.values(), ids=LAYERED)
def test_changed_inputs_get_past_the_outer_layers(target: Target) -> None:
    found = set()
    for number, data in enumerate(islice(target.seeds(), 150)):
        roll = random.Random(number)
        changed = target.changed(data, lambda part, roll=roll: flip(part, roll), number)
        try:
            target.read(changed)
            found.add("ok")
        except FormatError as error:
            found.add(error.reason)
    assert len(found - {Reason.ZIP, Reason.DIGEST, Reason.JOURNAL}) > 1


def test_what_is_no_refusal_escapes() -> None:
    def read(data: bytes) -> None:
        raise ValueError(data)

    with pytest.raises(ValueError):
        Target(read, lambda: iter(())).accepts(b"")
