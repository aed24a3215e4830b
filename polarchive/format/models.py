"""Say how far numbers lie from what was to be expected, and turn such distances back (SPEC.md, "Coded states")."""

from dataclasses import dataclass
from typing import Protocol

from polarchive.format import bits
from polarchive.format.bits import Words


class Model(Protocol):
    """Turn words into distances, small where the model is good, and back."""

    def distances(self, words: Words, part: slice) -> Words:
        """Return the distances of `words`, which are that part of the whole."""

    def words(self, distances: Words, part: slice) -> Words:
        """Return the words at these distances."""


@dataclass(frozen=True, slots=True)
class Near:
    """Expect each word near a predicted one; floats are compared in their order, integers modulo 2^n."""

    predicted: Words
    is_float: bool

    def distances(self, words: Words, part: slice) -> Words:
        """Return differences, the small ones of either sign first."""
        if self.is_float:
            return bits.zigzag(bits.ordered(words) - bits.ordered(self.predicted[part]))
        return bits.zigzag(words - self.predicted[part])

    def words(self, distances: Words, part: slice) -> Words:
        """Return the words at these differences."""
        if self.is_float:
            return bits.disordered(bits.ordered(self.predicted[part]) + bits.unzigzag(distances))
        moved: Words = self.predicted[part] + bits.unzigzag(distances)
        return moved


@dataclass(frozen=True, slots=True)
class Below:
    """Expect magnitudes not far below the largest one, `top`; words are turned left by a bit, so the sign is last."""

    top: int

    @classmethod
    def of(cls, words: Words) -> "Below":
        """Return the model of words whose largest magnitude is known."""
        return cls(int(bits.rotated(words).max(initial=0)))

    def distances(self, words: Words, part: slice) -> Words:
        """Return how far below the top each magnitude lies."""
        below: Words = words.dtype.type(self.top) - bits.rotated(words)
        return below

    def words(self, distances: Words, part: slice) -> Words:
        """Return the words that lie so far below the top."""
        return bits.unrotated(distances.dtype.type(self.top) - distances)
