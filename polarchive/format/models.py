"""Say how far words lie from what was to be expected, and turn such distances back (SPEC.md, "Coded states")."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from polarchive.format import bits
from polarchive.format.bits import Words


class Parts(Protocol):
    """Give words a part at a time: an array does, and so does what joins or computes them."""

    def __getitem__(self, part: slice, /) -> Words:
        """Return the words of a part, which may have a stride."""


class Model(Protocol):
    """Turn words into distances, small where the model is good, and back."""

    def distances(self, words: Words, part: slice, out: Words) -> None:
        """Write the distances of `words`, which are that part of the whole, to `out`, which is as long."""

    def words(self, distances: Words, part: slice) -> Words:
        """Return the words at these distances."""


@dataclass(frozen=True, slots=True)
class Near:
    """Expect each word near a predicted one; they are compared as integers modulo 2^n."""

    predicted: Parts

    def distances(self, words: Words, part: slice, out: Words) -> None:
        """Write differences, the small ones of either sign first."""
        np.subtract(words, self.predicted[part], out=out)
        bits.zigzag(out, out=out)

    def words(self, distances: Words, part: slice) -> Words:
        """Return the words at these differences."""
        moved: Words = bits.unzigzag(distances)
        moved += self.predicted[part]
        return moved


@dataclass(frozen=True, slots=True)
class Below:
    """Expect magnitudes not far below the largest one, `top`; words are turned left by a bit, so the sign is last."""

    top: int

    @classmethod
    def of(cls, words: Iterable[Words]) -> "Below":
        """Return the model of words, given in parts, whose largest magnitude is known; its sign is the later one."""
        return cls(max((int((part << part.dtype.type(1)).max(initial=0)) | 1 for part in words), default=1))

    def distances(self, words: Words, part: slice, out: Words) -> None:
        """Write how far below the top each magnitude lies."""
        np.subtract(words.dtype.type(self.top), bits.rotated(words), out=out)

    def words(self, distances: Words, part: slice) -> Words:
        """Return the words that lie so far below the top."""
        return bits.unrotated(distances.dtype.type(self.top) - distances)
