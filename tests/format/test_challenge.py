"""Test that a challenge is determined by note and nonce, and that all its sets of indices are equally likely."""

from collections import Counter
from hashlib import sha256
from itertools import islice, pairwise
from math import comb

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from polarchive.format import challenge
from tests.format.strategies import digests

SEEDS = [sha256(number.to_bytes(2, "big")).digest() for number in range(4096)]
PINNED = challenge.derive(b"origin\n3\nroot\n", bytes(range(32)))
LABEL = "segments"
SEED = sha256(b"polarchive/v1/draw\x00" + (8).to_bytes(8, "big") + b"segments" + PINNED).digest()
nonces = digests


def sets(population: int, count: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(challenge.draw(seed, population, count, LABEL)) for seed in SEEDS)


def test_a_challenge_is_as_the_specification_says() -> None:
    text, nonce = b"origin\n3\nroot\n", bytes(range(32))
    expected = sha256(b"polarchive/v1/challenge\x00" + (14).to_bytes(8, "big") + text + nonce).digest()
    assert challenge.derive(text, nonce) == expected


def test_the_pinned_challenge() -> None:
    assert PINNED.hex() == "bf894bc3bbfe618b4c07aaad591295aeff99de5412449783d420f10014f3f7c5"
    assert challenge.draw(PINNED, 100, 8, LABEL) == [19, 31, 42, 46, 52, 75, 79, 84]
    assert challenge.draw(PINNED, 1 << 40, 2, LABEL) == [3305434915, 642372502311]


def test_words_are_read_in_order() -> None:
    block = sha256(SEED + bytes(8)).digest() + sha256(SEED + bytes(7) + b"\x01").digest()
    words = [int.from_bytes(block[start : start + 8], "big") % 1000 for start in range(0, 64, 8)]
    assert challenge.draw(PINNED, 1000, 8, LABEL) == sorted(set(words)) and len(set(words)) == 8


@given(st.binary(max_size=200), st.binary(max_size=200), nonces, nonces)
def test_text_and_nonce_both_matter(text: bytes, other: bytes, nonce: bytes, another: bytes) -> None:
    assume(text != other and nonce != another)
    found = {challenge.derive(text, nonce), challenge.derive(other, nonce), challenge.derive(text, another)}
    assert len(found) == 3


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_nonce_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        challenge.derive(b"text", bytes(size))


@given(nonces, st.integers(0, 60), st.data())
def test_a_draw_is_a_sorted_set_in_range(seed: bytes, population: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, population))
    found = challenge.draw(seed, population, count, LABEL)
    assert found == sorted(set(found)) and len(found) == count
    assert all(0 <= index < population for index in found)
    assert found == challenge.draw(seed, population, count, LABEL)


@pytest.mark.parametrize(("population", "count"), [(3, 4), (0, 1), (5, -1)])
def test_more_than_there_are_is_a_value_error(population: int, count: int) -> None:
    with pytest.raises(ValueError, match="indices out of"):
        challenge.draw(PINNED, population, count, LABEL)


@pytest.mark.parametrize(("population", "count"), [(2, 1), (3, 1), (5, 2), (6, 3), (7, 1), (10, 9)])
def test_every_set_is_equally_likely(population: int, count: int) -> None:
    found, kinds = sets(population, count), comb(population, count)
    expected = len(SEEDS) / kinds
    assert len(found) == kinds
    chi_squared = sum((seen - expected) ** 2 / expected for seen in found.values())
    assert chi_squared < (kinds - 1) + 5 * (2 * (kinds - 1)) ** 0.5  # five standard deviations


def test_draws_for_different_purposes_are_independent() -> None:
    """One index in two: under another label it is the same one as often as not."""
    same = sum(challenge.draw(seed, 2, 1, "one") == challenge.draw(seed, 2, 1, "other") for seed in SEEDS)
    assert abs(same - len(SEEDS) / 2) < 5 * (len(SEEDS) / 4) ** 0.5


def test_draws_grow_by_adding() -> None:
    draws = [set(challenge.draw(PINNED, 50, count, LABEL)) for count in range(51)]
    assert all(smaller < larger for smaller, larger in pairwise(draws))


@pytest.mark.parametrize("bound", [(1 << 63) + 1, 3 << 62, (1 << 64) - 1])
def test_words_that_would_favour_small_indices_are_rejected(bound: int) -> None:
    limit = (1 << 64) - (1 << 64) % bound
    drawn = list(islice(challenge._below(PINNED, bound), 40))
    blocks = b"".join(sha256(PINNED + counter.to_bytes(8, "big")).digest() for counter in range(40))
    words = [int.from_bytes(blocks[start : start + 8], "big") for start in range(0, len(blocks), 8)]
    assert drawn == [word % bound for word in words if word < limit][:40]
    assert all(index < bound for index in drawn)
