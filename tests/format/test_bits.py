"""Test that every way of turning numbers into small integers and bits turns them back."""

import itertools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from polarchive.format import bits
from polarchive.format.bits import Words

Turn: TypeAlias = Callable[[Words], Words]
WIDTHS = (8, 16, 32, 64)
PAIRS: dict[str, tuple[Turn, Turn]] = {
    "order": (bits.ordered, bits.disordered),
    "disorder": (bits.disordered, bits.ordered),
    "zigzag": (bits.zigzag, bits.unzigzag),
    "unzigzag": (bits.unzigzag, bits.zigzag),
    "rotate": (bits.rotated, bits.unrotated),
    "unrotate": (bits.unrotated, bits.rotated),
}
TINY = math.ulp(0.0)


def words(*widths: int, max_size: int = 20) -> st.SearchStrategy[Words]:
    """Draw words of one of these widths (of any, if none is given), small, large and between."""
    return st.sampled_from(widths or WIDTHS).flatmap(lambda width: _words(width, max_size))


def _words(width: int, max_size: int) -> st.SearchStrategy[Words]:
    top = (1 << width) - 1
    numbers = st.integers(0, top) | st.integers(0, 9) | st.integers(0, 9).map(lambda number: top - number)
    numbers |= st.integers(0, width - 1).map(lambda place: 1 << place)
    return st.lists(numbers, max_size=max_size).map(lambda found: np.array(found, f"<u{width // 8}"))


def everything(width: int) -> Words:
    """Return all words of 8 or 16 bits."""
    return np.arange(1 << width, dtype=f"<u{width // 8}")


def naive_pack(found: Any, count: int) -> bytes:
    """Return what SPEC.md says of packing, bit by bit."""
    out, done = b"", 0
    numbers = [int(word) for word in found]
    for size in (64, 32, 16, 8):
        if count - done >= size:
            out += b"".join((word >> done & (1 << size) - 1).to_bytes(size // 8, "little") for word in numbers)
            done += size
    rest = count - done
    for start in range(0, len(numbers) if rest else 0, 8):
        eight = [word >> done & (1 << rest) - 1 for word in numbers[start : start + 8]]
        out += sum(word << rest * place for place, word in enumerate(eight)).to_bytes(rest, "little")
    return out


@pytest.mark.parametrize(("there", "back"), PAIRS.values(), ids=PAIRS)
@given(found=words())
def test_what_is_turned_is_turned_back(there: Turn, back: Turn, found: Words) -> None:
    before = found.copy()
    again = back(there(found))
    assert again.dtype == found.dtype and np.array_equal(again, before)
    assert np.array_equal(found, before), "the words themselves are left alone"


@pytest.mark.parametrize(("there", "back"), PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("width", [8, 16])
def test_every_word_has_one_image(there: Turn, back: Turn, width: int) -> None:
    images = there(everything(width))
    assert np.array_equal(np.sort(images), everything(width)) and np.array_equal(back(images), everything(width))


@pytest.mark.parametrize("width", [16, 32, 64])
@given(numbers=st.lists(st.floats(allow_nan=False) | st.sampled_from([-0.0, 0.0, TINY, -TINY]), max_size=20))
def test_ordered_words_are_in_the_order_of_the_floats(width: int, numbers: list[float]) -> None:
    with np.errstate(over="ignore"):
        floats = np.sort(np.array(numbers, f"<f{width // 8}"))
    found = bits.ordered(floats.view(f"<u{width // 8}")).tolist()
    for (one, two), (low, high) in zip(itertools.pairwise(floats), itertools.pairwise(found), strict=True):
        assert low < high if one < two else abs(low - high) <= 1  # 0.0 and -0.0 are equal floats


@pytest.mark.parametrize("width", [16, 32, 64])
def test_neighbouring_floats_differ_by_one(width: int) -> None:
    kind = np.dtype(f"<f{width // 8}").type
    for number in (0.0, 1.0, -1.0, 0.1, -3e-5, float(np.finfo(kind).max), float(-np.finfo(kind).tiny)):
        with np.errstate(over="ignore"):
            pair = np.array([number, np.nextafter(kind(number), kind(np.inf))], kind)
        low, high = bits.ordered(pair.view(f"<u{width // 8}"))
        assert int(high) - int(low) == 1


def test_words_of_8_bits_are_in_the_order_of_sign_and_magnitude() -> None:
    by_value = sorted(range(256), key=lambda word: word if word < 128 else -(word - 128) - 0.5)
    assert bits.ordered(np.array(by_value, np.uint8)).tolist() == list(range(256))


def test_negative_zero_lies_just_below_zero() -> None:
    low, high = bits.ordered(np.array([-0.0, 0.0], "<f4").view("<u4"))
    assert (int(low), int(high)) == (0x7FFFFFFF, 0x80000000)


@pytest.mark.parametrize("width", WIDTHS)
def test_zigzag_counts_outwards_from_zero(width: int) -> None:
    differences = np.array([0, -1, 1, -2, 2, -3], f"<i{width // 8}").view(f"<u{width // 8}")
    assert bits.zigzag(differences).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_rotated_float_has_its_sign_last() -> None:
    found = bits.rotated(np.array([1.0, -1.0], "<f4").view("<u4"))
    assert found.tolist() == [0x7F000000, 0x7F000001]


@given(found=words())
def test_a_length_is_that_of_the_word(found: Words) -> None:
    exact = [int(word).bit_length() for word in found]
    more = [int(length) - true for length, true in zip(bits.lengths(found), exact, strict=True)]
    assert all(extra == 0 if true <= 53 else extra in (0, 1) for extra, true in zip(more, exact, strict=True))


@given(found=words(max_size=40), data=st.data())
def test_packing_is_as_specified_and_turned_back(found: Words, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, bits.width(found)))
    packed = bits.pack(found, count)
    assert packed == naive_pack(found, count) and len(packed) == bits.packed_size(len(found), count)
    again = bits.unpack(memoryview(packed), len(found), count, found.dtype)
    assert again.dtype == found.dtype and again.tolist() == [int(word) & ((1 << count) - 1) for word in found]


@pytest.mark.parametrize(
    ("width", "count"), [(width, count) for width in WIDTHS for count in range(width + 1)], ids=str
)
def test_every_count_of_bits_is_packed(width: int, count: int) -> None:
    for size in (0, 1, 7, 8, 9, 131):
        found = np.frombuffer(np.random.default_rng(size).bytes(size * width // 8), f"<u{width // 8}")
        packed = bits.pack(found, count)
        low = [int(word) & ((1 << count) - 1) for word in found]
        assert len(packed) == bits.packed_size(size, count) and packed == naive_pack(found, count)
        assert bits.unpack(memoryview(packed), size, count, found.dtype).tolist() == low


@given(packed=st.binary(max_size=64), size=st.integers(0, 16), count=st.integers(0, 16))
def test_any_bytes_unpack_to_words_of_so_many_bits(packed: bytes, size: int, count: int) -> None:
    packed = packed.ljust(bits.packed_size(size, count), b"\xa5")
    found = bits.unpack(memoryview(packed), size, count, "<u2")
    assert len(found) == size and all(int(word) < 1 << count for word in found)
