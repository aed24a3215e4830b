"""Turn numbers into small integers and pack them: each function beside its inverse (SPEC.md, "Coded states").

All arrays are one-dimensional and unsigned, 8 to 64 bits wide; arithmetic is modulo 2^n.
"""

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[Any]
Bytes: TypeAlias = npt.NDArray[np.uint8]
_WHOLE: Final = (8, 4, 2, 1)  # bytes
_LANES: Final = ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0x00000000FFFFFFFF))


def width(words: Words) -> int:
    """Return the number of bits of each word."""
    return 8 * words.dtype.itemsize


def ordered(words: Words) -> Words:
    """Return the bits of floats as integers in the order of the floats: neighbours differ by one."""
    bits = width(words)
    signs = (words.view(f"i{bits // 8}") >> (bits - 1)).view(words.dtype)
    return _flipped(signs, words)


def disordered(words: Words) -> Words:
    """Return the bits of floats that `ordered` made integers of."""
    bits = width(words)
    signs = (~words).view(f"i{bits // 8}") >> (bits - 1)
    return _flipped(signs.view(words.dtype), words)


def zigzag(differences: Words) -> Words:
    """Return differences modulo 2^n with the small ones of either sign first: 0, -1, 1, -2, …."""
    bits = width(differences)
    signs: Words = (differences.view(f"i{bits // 8}") >> (bits - 1)).view(differences.dtype)
    signs ^= differences << differences.dtype.type(1)
    return signs


def unzigzag(words: Words) -> Words:
    """Return the differences that `zigzag` made words of."""
    one = words.dtype.type(1)
    signs: Words = np.negative(words & one)
    signs ^= words >> one
    return signs


def rotated(words: Words) -> Words:
    """Return words turned left by one bit: the sign of a float comes last."""
    kind = words.dtype.type
    turned: Words = (words << kind(1)) | (words >> kind(width(words) - 1))
    return turned


def unrotated(words: Words) -> Words:
    """Return words turned right by one bit."""
    kind = words.dtype.type
    turned: Words = (words >> kind(1)) | (words << kind(width(words) - 1))
    return turned


def lengths(words: Words) -> npt.NDArray[np.intp]:
    """Return how many of 0 … n bits each word needs (for 64-bit words at most one too many)."""
    found: npt.NDArray[np.intp] = np.frexp(words.astype(np.float64))[1].astype(np.intp)
    return found


def pack(words: Words, count: int) -> bytes:
    """Return the low `count` bits of each word: low 32, 16 and 8 where they fit, then what is left of eight words."""
    parts, done = [], 0
    for size in _WHOLE:
        if count - done >= 8 * size:
            parts.append((words >> words.dtype.type(done)).astype(f"<u{size}").tobytes())
            done += 8 * size
    if done < count:
        parts.append(_squeeze(words >> words.dtype.type(done), count - done))
    return b"".join(parts)


def packed_size(words: int, count: int) -> int:
    """Return how many bytes `pack` makes of so many words."""
    whole, rest = divmod(count, 8)
    return words * whole + -(-words // 8) * rest


def unpack(data: memoryview, words: int, count: int, dtype: npt.DTypeLike) -> Words:
    """Return the words whose low `count` bits `pack` wrote; their other bits are zero."""
    found, done, at = np.zeros(words, dtype), 0, 0
    for size in _WHOLE:
        if count - done >= 8 * size:
            part = np.frombuffer(data, f"<u{size}", words, at)
            found |= part.astype(found.dtype) << found.dtype.type(done)
            done, at = done + 8 * size, at + size * words
    if done < count:
        found |= _spread(data[at:], words, count - done).astype(found.dtype) << found.dtype.type(done)
    return found


def _squeeze(words: Words, count: int) -> bytes:
    """Return the low `count` < 8 bits of each word, eight words in `count` bytes."""
    low = np.zeros(-(-len(words) // 8) * 8, np.uint8)
    np.bitwise_and(words.astype(np.uint8), np.uint8((1 << count) - 1), out=low[: len(words)])
    eight = low.view("<u8")
    for shift, mask in _LANES:  # neighbours, pairs, fours: each time the upper half moves down to the lower one
        eight = (eight & np.uint64(mask)) | (
            ((eight >> np.uint64(shift)) & np.uint64(mask)) << np.uint64(count * shift // 8)
        )
    return eight.view(np.uint8).reshape(-1, 8)[:, :count].tobytes()


def _spread(data: memoryview, words: int, count: int) -> Bytes:
    """Return the words that `_squeeze` wrote."""
    squeezed = np.zeros((-(-words // 8), 8), np.uint8)
    squeezed[:, :count] = np.frombuffer(data, np.uint8, squeezed.shape[0] * count).reshape(-1, count)
    eight = squeezed.reshape(-1).view("<u8")
    for shift, _ in reversed(_LANES):
        step = count * shift // 8
        lower = np.uint64(sum(((1 << step) - 1) << start for start in range(0, 64, 2 * shift)))
        eight = (eight & lower) | (((eight >> np.uint64(step)) & lower) << np.uint64(shift))
    spread: Bytes = eight.view(np.uint8)[:words]
    return spread


def _flipped(signs: Words, words: Words) -> Words:
    """Return words with all bits flipped where the sign is all ones, and only the highest one elsewhere."""
    signs |= words.dtype.type(1 << (width(words) - 1))
    signs ^= words
    return signs
