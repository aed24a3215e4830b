"""Choose where distances are cut into a symbol and bits that look like noise (SPEC.md, "Coded states")."""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from polarchive.format import bits
from polarchive.format.bits import Words

Floats = npt.NDArray[np.float64]
STEP: Final = 4  # cuts are multiples of it
LARGE: Final = 192  # the first symbol of a distance that is cut higher,
HIGHER: Final = 8  # by so many bits
_NEAR, _FAR = 7, 14  # bits above the cut that most small distances have at most, and all that do not escape
_LENGTHS: Final = 66  # 64 bits, one too many for rounding, and none
_SLOW: Final = 0.2  # bits that a large distance may cost less and still not be worth its time
_PLAIN: Final = 4.0  # bits of a symbol, below which Huffman's codes are long for it and found slowly
_LOSS: Final = 0.15  # of each bit that is missing


def estimate(sample: Words) -> float:
    """Return how many bits a distance takes, by the lengths of a sample of them."""
    shares = _shares(sample)
    return float(_surprise(shares).sum() + np.maximum(np.arange(_LENGTHS) - 1, 0) @ shares)


def best(sample: Words) -> int:
    """Return the cut that makes a block small and quick to code, by the lengths of a sample of its distances."""
    shares = _shares(sample)
    stored, inside, below, above = _costs(bits.width(sample))
    symbol = inside @ shares + _surprise(below @ shares) + above @ _surprise(shares)
    return STEP * int(np.argmin(stored @ shares + symbol + _LOSS * np.maximum(_PLAIN - symbol, 0)))


def _shares(sample: Words) -> Floats:
    counts: npt.NDArray[np.intp] = np.bincount(bits.lengths(sample), minlength=_LENGTHS)[:_LENGTHS]
    return counts / max(len(sample), 1)


def _surprise(shares: Floats) -> Floats:
    found: Floats = -shares * np.log2(np.maximum(shares, 1e-300))
    return found


@cache
def _costs(width: int) -> Floats:
    """Return (4, cuts, lengths): bits outside the symbol, noise inside it, lengths that share symbols, and that do not.

    To the bits outside comes what the time of a large distance is worth.
    """
    cuts, lengths = np.arange(0, width, STEP)[:, None], np.arange(_LENGTHS)[None, :]
    above = np.maximum(lengths - cuts, 0)
    outside = np.select([above <= _NEAR, above <= _FAR], [0, HIGHER + _SLOW], width + _SLOW)
    inside = np.maximum(above - 1 - np.where(above <= _NEAR, 0, HIGHER), 0) * (above <= _FAR)
    return np.stack([cuts + outside, inside, above == 0, above > 0]).astype(np.float64)
