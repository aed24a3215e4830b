"""Hold what stamps and witnesses show to what the judge's trust file demands of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from polarchive.format.archive import Archive
from polarchive.format.cosignature import Cosigned
from polarchive.trust import witnesses
from polarchive.trust.timeline import Timeline
from polarchive.trust.trust import Require, Trust


@dataclass(frozen=True, slots=True)
class Seen:
    """Hold what a judge learns from stamps and witnesses: times, cosignatures by head size, and what is amiss.

    `timeline` is None for a judge who believes no timestamp authority, and so cannot tell any time.
    """

    timeline: Timeline | None
    cosigned: Mapping[int, tuple[Cosigned, ...]]
    unmet: tuple[str, ...]
    met: tuple[str, ...]

    @classmethod
    def of(cls, archive: Archive, trust: Trust) -> "Seen":
        """Judge what lies beside an archive's heads; SignatureError if a line of a known witness does not verify."""
        cosigned = witnesses.cosigned(archive, trust)
        timeline = Timeline.of(archive, trust) if trust.authorities else None
        unmet = tuple(_of_stamps(archive, timeline, trust)) if timeline else ()
        lack = tuple(_of_witnesses(archive, cosigned, trust))
        return cls(timeline, cosigned, (*unmet, *lack), tuple(_met(trust, not unmet, not lack)))


def _of_stamps(archive: Archive, timeline: Timeline, trust: Trust) -> Iterator[str]:
    if trust.require >= Require.END and timeline.existed(archive.heads[-1].size - 1) is None:
        yield "no stamp that counts is over the last head"
    if trust.require >= Require.GROWTH and not timeline.grew:
        yield "the log appeared all at once: no stamp shows its first segment earlier than its last"
    if trust.require >= Require.BOUNDED and not timeline.bounded:
        yield "its last segments do not say which stamp they were made after"
    yield from _beyond(timeline, trust)


def _beyond(timeline: Timeline, trust: Trust) -> Iterator[str]:
    """Yield what exceeds the limits."""
    limits = trust.limits
    if limits.share is not None and timeline.share > limits.share:
        yield f"{timeline.share:.0%} of all steps existed by the first stamp, {limits.share:.0%} are allowed"
    for pace in timeline.paces:
        between = f"between the stamped heads of {pace.since.size} and {pace.until.size}"
        if limits.gap is not None and pace.elapsed > limits.gap:
            yield f"{pace.elapsed} {between}, {limits.gap} are allowed"
        if limits.rate is not None and pace.bounded and pace.rate > limits.rate:
            yield f"at least {pace.rate:,.0f} steps an hour {between}, {limits.rate:,.0f} are allowed"


def _of_witnesses(archive: Archive, cosigned: Mapping[int, tuple[Cosigned, ...]], trust: Trust) -> Iterator[str]:
    found = len(cosigned.get(archive.heads[-1].size, ()))
    if found < trust.quorum:
        yield f"{found} of the {trust.quorum} witnesses asked for have cosigned the last head"


def _met(trust: Trust, stamps: bool, cosigned: bool) -> Iterator[str]:
    if trust.authorities and trust.require and stamps:
        yield f"stamps are what the judge demands ({trust.require.name.lower()})"
    if trust.quorum and cosigned:
        yield f"at least {trust.quorum} witnesses have cosigned the last head"
