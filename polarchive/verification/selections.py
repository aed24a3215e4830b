"""Choose which segments are replayed, from what the prover committed and a challenge it could not foresee.

A selection draws some segments at random from a population; all others that it takes, it always takes. A cheat knows
which these are, so the odds are those of the draw alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from polarchive.format.archive import Archive
from polarchive.format.challenge import draw
from polarchive.measures.detectors import order, spans
from polarchive.measures.displacement import displacements
from polarchive.measures.odds import detection, of_fraction

Selection: TypeAlias = Callable[[Archive, bytes], list[int]]


@dataclass(frozen=True, slots=True)
class Odds:
    """Say how likely one bad segment is met, and any of a tenth of all, where nothing is always taken."""

    one: float
    tenth: float


def every(archive: Archive, challenge: bytes) -> list[int]:
    """Return all segments: the only selection that a single bad one cannot slip through."""
    return [segment.index for segment in archive.segments]


@dataclass(frozen=True, slots=True)
class Sample:
    """Take the first segment, the last, and `count` drawn from the others by the challenge."""

    count: int

    def __call__(self, archive: Archive, challenge: bytes) -> list[int]:
        """Return the segments in ascending order."""
        return _with_drawn(_ends(archive), archive, challenge, self.count)

    def odds(self, archive: Archive, chosen: list[int]) -> Odds:
        """Return the odds of a bad segment that is neither the first nor the last."""
        return _odds(len(archive.segments), len(_ends(archive)), self.count)


@dataclass(frozen=True, slots=True)
class TopQ:
    """Take the `count` largest updates of every epoch (Jia et al. 2021), and `drawn` of the others by the challenge.

    An epoch is `epoch` records; without it the run is one. Lengths are measured from states whose digests are checked.
    Where one cannot be measured, because a state is not stored, the segment counts as the largest.
    """

    count: int
    drawn: int = 0
    epoch: int | None = None

    def __call__(self, archive: Archive, challenge: bytes) -> list[int]:
        """Return the segments in ascending order."""
        return _with_drawn(self._largest(archive), archive, challenge, self.drawn)

    def odds(self, archive: Archive, chosen: list[int]) -> Odds:
        """Return the odds of a bad segment whose update is not among the largest."""
        return _odds(len(archive.segments), len(chosen) - self.drawn, self.drawn)

    def _largest(self, archive: Archive) -> set[int]:
        lengths = [float("inf") if length is None else length for length in displacements(archive)]
        taken: set[int] = set()
        for indices in epochs(archive, self.epoch):
            taken.update(sorted(indices, key=lambda index: (-lengths[index], index))[: self.count])
        return taken


@dataclass(frozen=True, slots=True)
class Suspicious:
    """Take the first segment, the last, the `count` least like training, and `drawn` of the others by the challenge.

    What is like training is told from every stored state, whose digest is checked, and from recorded rates. It only
    orders: a forger can keep all scores ordinary, and then what was drawn is what finds him.
    """

    count: int
    drawn: int

    def __call__(self, archive: Archive, challenge: bytes) -> list[int]:
        """Return the segments in ascending order."""
        ends = _ends(archive)
        others = [index for index in order(list(spans(archive))) if index not in ends]
        return _with_drawn(ends | set(others[: self.count]), archive, challenge, self.drawn)

    def odds(self, archive: Archive, chosen: list[int]) -> Odds:
        """Return the odds of a bad segment that looks like training, and is neither the first nor the last."""
        taken = min(len(_ends(archive)) + self.count, len(archive.segments))
        return _odds(len(archive.segments), taken, self.drawn)


@dataclass(frozen=True, slots=True)
class ByEpoch:
    """Take `count` segments of every epoch of `epoch` records, drawn by the challenge."""

    count: int
    epoch: int

    def __call__(self, archive: Archive, challenge: bytes) -> list[int]:
        """Return the segments in ascending order."""
        found = []
        for number, indices in enumerate(epochs(archive, self.epoch)):
            places = draw(challenge, len(indices), min(self.count, len(indices)), f"epoch {number}")
            found += [indices[place] for place in places]
        return found

    def odds(self, archive: Archive, chosen: list[int]) -> Odds:
        """Return the odds of a bad segment in the longest epoch, where they are worst."""
        longest = max((len(indices) for indices in epochs(archive, self.epoch)), default=0)
        return _odds(longest, 0, self.count)


@dataclass(frozen=True, slots=True)
class Range:
    """Take the segments that the judge names, as a slice."""

    start: int | None
    stop: int | None

    def __call__(self, archive: Archive, challenge: bytes) -> list[int]:
        """Return the segments in ascending order."""
        return list(range(len(archive.segments)))[self.start : self.stop]


def epochs(archive: Archive, records: int | None) -> list[list[int]]:
    """Return the segments of every epoch of so many records; one that reaches into the next belongs to the first."""
    found: dict[int, list[int]] = {}
    seen = 0
    for segment in archive.segments:
        found.setdefault(seen // records if records else 0, []).append(segment.index)
        seen += segment.records
    return list(found.values())


def odds_of(selection: Selection, archive: Archive, chosen: list[int]) -> Odds | None:
    """Return the odds of a selection that draws; None of one that takes what it names."""
    return selection.odds(archive, chosen) if isinstance(selection, Sample | TopQ | Suspicious | ByEpoch) else None


def _ends(archive: Archive) -> set[int]:
    last = len(archive.segments) - 1
    return {0, last} if last >= 0 else set()


def _with_drawn(taken: set[int], archive: Archive, challenge: bytes, count: int) -> list[int]:
    others = [segment.index for segment in archive.segments if segment.index not in taken]
    drawn = draw(challenge, len(others), min(count, len(others)), "segments")
    return sorted(taken | {others[place] for place in drawn})


def _odds(segments: int, taken: int, drawn: int) -> Odds:
    others = max(segments - taken, 0)
    if not others:
        return Odds(1.0, 1.0)
    return Odds(detection(others, 1, drawn), of_fraction(others, 0.1, drawn))
