"""Turn numbers into small integers and pack them: each function beside its inverse (SPEC.md, "Coded states").

All arrays are one-dimensional and unsigned, 8 to 64 bits wide; arithmetic is modulo 2^n.
"""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[Any]
Bytes: TypeAlias = npt.NDArray[np.uint8]
PART: Final = 1 << 15  # even; its temporary arrays are small enough for the allocator to give them again
_WHOLE: Final = (4, 2, 1)  # bytes


def parts(count: int, size: int | None = None) -> Iterator[slice]:
    """Yield slices of so many words, of `size` or such that they stay in the processor's cache through all passes."""
    size = PART if size is None else size
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def width(words: Words) -> int:
    """Return the number of bits of each word."""
    return 8 * words.dtype.itemsize


def zigzag(differences: Words, out: Words | None = None) -> Words:
    """Return differences modulo 2^n, in `out` if it is given, the small ones of either sign first: 0, -1, 1, -2, …."""
    bits = width(differences)
    signs = (differences.view(f"i{bits // 8}") >> (bits - 1)).view(differences.dtype)
    found: Words = np.left_shift(differences, differences.dtype.type(1), out=out)
    found ^= signs
    return found


def unzigzag(words: Words) -> Words:
    """Return the differences that `zigzag` made words of."""
    one = words.dtype.type(1)
    signs: Words = np.negative(words & one)
    signs ^= words >> one
    return signs


def rotated(words: Words) -> Words:
    """Return words turned left by one bit: the sign of a float comes last."""
    kind = words.dtype.type
    turned: Words = words << kind(1)
    turned |= words >> kind(width(words) - 1)
    return turned


def unrotated(words: Words) -> Words:
    """Return words turned right by one bit."""
    kind = words.dtype.type
    turned: Words = words >> kind(1)
    turned |= words << kind(width(words) - 1)
    return turned


def lengths(words: Words) -> npt.NDArray[np.intp]:
    """Return how many of 0 … n bits each word needs (for 64-bit words at most one too many)."""
    found: npt.NDArray[np.intp] = np.frexp(words.astype(np.float64))[1].astype(np.intp)
    return found


def packed_size(words: int, count: int) -> int:
    """Return how many bytes `pack` makes of so many words."""
    return words * (count // 8) + (words + 1) // 2 * (count % 8 // 4)


def pack(words: Words, count: int, out: Bytes) -> None:
    """Write the low `count` bits of each word (a multiple of 4) to `out`, which has `packed_size` bytes.

    First come the low 32 bits of all words, then 16, then 8, as far as `count` reaches; then 4, two words to a byte.
    """
    done = at = 0
    for size in _WHOLE:
        if count - done >= 8 * size:
            plane = out[at : at + size * len(words)].view(f"<u{size}")
            for part in parts(len(words)):
                np.copyto(plane[part], words[part] >> words.dtype.type(done), casting="unsafe")
            done, at = done + 8 * size, at + size * len(words)
    if done < count:
        for part in parts(len(words)):
            pairs = _paired(words[part] >> words.dtype.type(done))
            out[at + part.start // 2 : at + part.start // 2 + len(pairs)] = pairs


def unpack(data: Bytes, words: int, count: int, dtype: npt.DTypeLike) -> Words:
    """Return the words whose low `count` bits `pack` wrote; their other bits are zero."""
    found, done, at = np.zeros(words, dtype), 0, 0
    for size in _WHOLE:
        if count - done >= 8 * size:
            plane = data[at : at + size * words].view(f"<u{size}")
            found |= plane.astype(found.dtype) << found.dtype.type(done)
            done, at = done + 8 * size, at + size * words
    if done < count:
        found |= _unpaired(data[at:])[:words].astype(found.dtype) << found.dtype.type(done)
    return found


def _paired(words: Words) -> Bytes:
    """Return the low four bits of each word, the first of two lowest; an odd last one is followed by zeros."""
    low = np.zeros((len(words) + 1) // 2 * 2, np.uint8)
    np.copyto(low[: len(words)], words, casting="unsafe")
    pairs = low.view("<u2")
    pairs &= np.uint16(0x0F0F)
    pairs |= pairs >> np.uint16(4)
    return pairs.astype(np.uint8)


def _unpaired(data: Bytes) -> Bytes:
    """Return the words that `_paired` wrote."""
    pairs = data.astype("<u2")
    pairs |= pairs << np.uint16(4)
    pairs &= np.uint16(0x0F0F)
    return pairs.view(np.uint8)
