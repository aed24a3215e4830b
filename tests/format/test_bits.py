"""Test that every way of turning numbers into small integers and bits turns them back."""

from collections.abc import Callable
from typing import Any, TypeAlias

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

from polarchive.format import bits
from polarchive.format.bits import Words

Turn: TypeAlias = Callable[[Words], Words]
WIDTHS = (8, 16, 32, 64)
PAIRS: dict[str, tuple[Turn, Turn]] = {
    "zigzag": (bits.zigzag, bits.unzigzag),
    "unzigzag": (bits.unzigzag, bits.zigzag),
    "rotate": (bits.rotated, bits.unrotated),
    "unrotate": (bits.unrotated, bits.rotated),
}


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
    """Return what SPEC.md says of packing, word by word."""
    out, done = b"", 0
    numbers = [int(word) for word in found]
    for size in (32, 16, 8):
        if count - done >= size:
            out += b"".join((word >> done & (1 << size) - 1).to_bytes(size // 8, "little") for word in numbers)
            done += size
    if done < count:
        low = [word >> done & 15 for word in numbers] + [0] * (len(numbers) % 2)
        out += bytes(one | other << 4 for one, other in zip(low[::2], low[1::2], strict=True))
    return out


def pack(found: Words, count: int) -> bytes:
    out = np.full(bits.packed_size(len(found), count), 0xA5, np.uint8)
    bits.pack(found, count, out)
    return out.tobytes()


def unpack(packed: bytes, size: int, count: int, dtype: npt.DTypeLike) -> Words:
    return bits.unpack(np.frombuffer(packed, np.uint8), size, count, dtype)


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


@given(found=words(), start=st.integers(0, 3))
def test_zigzag_writes_where_it_is_told(found: Words, start: int) -> None:
    expected, out = bits.zigzag(found), np.zeros(start + len(found), found.dtype)
    assert np.shares_memory(bits.zigzag(found, out=out[start:]), out) or not len(found)
    assert np.array_equal(out[start:], expected) and not out[:start].any()
    assert np.array_equal(bits.zigzag(found, out=found), expected)


@given(count=st.integers(0, 200), size=st.integers(1, 70))
def test_parts_lie_one_after_the_other(count: int, size: int) -> None:
    found = [place for part in bits.parts(count, size) for place in range(part.start, part.stop)]
    assert found == list(range(count))
    assert all(part.stop - part.start == size for part in list(bits.parts(count, size))[:-1])


@given(found=words(max_size=40), data=st.data())
def test_packing_is_as_specified_and_turned_back(found: Words, data: st.DataObject) -> None:
    count = data.draw(st.sampled_from(range(0, bits.width(found), 4)))
    packed = pack(found, count)
    assert packed == naive_pack(found, count)
    again = unpack(packed, len(found), count, found.dtype)
    assert again.dtype == found.dtype and again.tolist() == [int(word) & ((1 << count) - 1) for word in found]


@pytest.mark.parametrize(
    ("width", "count"), [(width, count) for width in WIDTHS for count in range(0, width, 4)], ids=str
)
@pytest.mark.parametrize("size", [0, 1, 7, 8, 131, bits.PART - 1, bits.PART + 1])
def test_every_count_of_bits_is_packed(size: int, width: int, count: int) -> None:
    found = np.frombuffer(np.random.default_rng(size).bytes(size * width // 8), f"<u{width // 8}")
    packed = pack(found, count)
    assert packed == naive_pack(found, count)
    assert np.array_equal(unpack(packed, size, count, found.dtype), found & found.dtype.type((1 << count) - 1))


@given(packed=st.binary(max_size=64), size=st.integers(0, 16), count=st.sampled_from([0, 4, 8, 12]))
def test_any_bytes_unpack_to_words_of_so_many_bits(packed: bytes, size: int, count: int) -> None:
    packed = packed[: bits.packed_size(size, count)].ljust(bits.packed_size(size, count), b"\xa5")
    found = unpack(packed, size, count, "<u2")
    assert len(found) == size and all(int(word) < 1 << count for word in found)
