"""Tell when the parts of a log provably existed, out of the stamps that count (SPEC.md, "Stamps")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from typing import Final

from polarchive.format.archive import Archive
from polarchive.format.entry import Segment
from polarchive.trust.stamps import Dated, Refused, judged, unrenewed
from polarchive.trust.trust import Trust

_EVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """Say that the head of tree size `size` existed at some time from `earliest` to `latest`, and who vouches."""

    size: int
    earliest: datetime
    latest: datetime
    authorities: tuple[str, ...]

    def before(self, other: "Moment") -> bool:
        """Tell whether this time is before the other beyond doubt."""
        return self.latest < other.earliest


@dataclass(frozen=True, slots=True)
class Pace:
    """Say how many steps were committed between two stamped heads, in what time at most.

    `bounded` tells that every one of these segments was made after the first of the heads was stamped: only then is
    `rate`, in steps per hour, the least at which they were committed. Otherwise they may have lain there before.
    """

    since: Moment
    until: Moment
    steps: int
    bounded: bool

    @property
    def elapsed(self) -> timedelta:
        """Return the longest time that can lie between."""
        return self.until.latest - self.since.earliest

    @property
    def rate(self) -> float:
        """Return steps per hour."""
        hours = self.elapsed.total_seconds() / 3600
        return self.steps / hours if hours > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class Timeline:
    """Hold the times at which heads existed, in order of size, and after which segments were made, by index."""

    segments: tuple[Segment, ...]
    moments: tuple[Moment, ...]
    after: Mapping[int, datetime]
    refused: tuple[Refused, ...]
    unrenewed: tuple[Dated, ...]

    @classmethod
    def of(cls, archive: Archive, trust: Trust, now: datetime | None = None) -> "Timeline":
        """Judge the stamps of an archive."""
        dated, refused = judged(archive.attached, trust, now)
        moments = [
            moment
            for size, group in groupby(dated, lambda each: each.size)
            if (moment := _moment(size, list(group), trust.agree))
        ]
        after = _after(archive.segments, dated)
        return cls(archive.segments, tuple(moments), after, tuple(refused), tuple(unrenewed(dated, now)))

    def existed(self, entry: int) -> Moment | None:
        """Return by when entry `entry` existed (segment i is entry i + 1): the first time of a head that covers it."""
        covering = [moment for moment in self.moments if moment.size > entry]
        return min(covering, key=lambda moment: moment.latest, default=None)

    @property
    def end(self) -> Moment | None:
        """Return by when the last recorded state existed."""
        return self.existed(len(self.segments))

    @property
    def grew(self) -> bool:
        """Tell whether the log was seen before it was whole: a first part existed before the rest is known to."""
        first, last = self.existed(1), self.end
        return first is not None and last is not None and first.before(last)

    @property
    def share(self) -> float:
        """Return what part of all steps existed by the first stamp over any; 1 if the whole log appeared at once."""
        total = sum(segment.steps for segment in self.segments)
        first = self.existed(1)
        if first is None or not total:
            return 1.0
        return sum(segment.steps for segment in self.segments if segment.index + 1 < first.size) / total

    @property
    def paces(self) -> tuple[Pace, ...]:
        """Return what was committed between successive stamped heads, of those that no larger one preceded."""
        told = [moment for moment in self.moments if moment is self.existed(moment.size - 1)]
        return tuple(self._pace(since, until) for since, until in pairwise(told))

    @property
    def bounded(self) -> bool:
        """Tell whether the last segment, and all from some one on, say which stamp they were made after."""
        known = [segment.index in self.after for segment in self.segments]
        return any(known) and all(known[known.index(True) :])

    def _pace(self, since: Moment, until: Moment) -> Pace:
        between = [segment for segment in self.segments if since.size <= segment.index + 1 < until.size]
        bounded = all(self.after.get(segment.index, _EVER) >= since.earliest for segment in between)
        return Pace(since, until, sum(segment.steps for segment in between), bounded)


def _moment(size: int, dated: Sequence[Dated], agree: int) -> Moment | None:
    """Return by when so many authorities say that a head existed, None if fewer say so at all."""
    first = {each.authority: each for each in sorted(dated, key=lambda each: each.latest, reverse=True)}
    agreed = sorted(first.values(), key=lambda each: each.latest)[:agree]
    if len(agreed) < agree:
        return None
    return Moment(size, agreed[-1].earliest, agreed[-1].latest, tuple(each.authority for each in agreed))


def _after(segments: Sequence[Segment], dated: Sequence[Dated]) -> dict[int, datetime]:
    """Return the times that segments were made after: of the stamps that they name, over heads that leave them out."""
    stamps = {each.digest: each for each in dated}
    found: dict[int, datetime] = {}
    for segment in segments:
        named = stamps.get(segment.not_before) if segment.not_before else None
        if named is not None and named.size <= segment.index + 1:
            found[segment.index] = named.earliest
    return found
