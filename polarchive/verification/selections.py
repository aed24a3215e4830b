"""Choose which segments are replayed, from what the prover committed and a challenge it could not foresee."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from polarchive.format.archive import Archive
from polarchive.format.challenge import draw

Selection: TypeAlias = Callable[[Archive, bytes], list[int]]


def every(archive: Archive, challenge: bytes) -> list[int]:
    """Return all segments: the only selection that a single bad one cannot slip through."""
    return [segment.index for segment in archive.segments]


@dataclass(frozen=True, slots=True)
class Sample:
    """Take the first segment, the last, and `count` drawn from the others by the challenge."""

    count: int

    def __call__(self, archive: Archive, challenge: bytes) -> list[int]:
        """Return the segments in ascending order."""
        last = len(archive.segments) - 1
        inner = max(last - 1, 0)
        drawn = draw(challenge, inner, min(self.count, inner))
        return sorted({index for index in (0, last) if last >= 0} | {index + 1 for index in drawn})

    def odds(self, segments: int) -> float:
        """Return the probability that one bad segment, neither the first nor the last, is drawn."""
        return min(self.count / max(segments - 2, 1), 1.0)


@dataclass(frozen=True, slots=True)
class Range:
    """Take the segments that the judge names, as a slice."""

    start: int | None
    stop: int | None

    def __call__(self, archive: Archive, challenge: bytes) -> list[int]:
        """Return the segments in ascending order."""
        return list(range(len(archive.segments)))[self.start : self.stop]
