"""Tell people, and programs, what stamps and witnesses show."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from polarchive.trust.demands import Seen
from polarchive.trust.timeline import Moment, Pace, Timeline

_SHOWN: Final = 5


def lines(seen: Seen) -> Iterator[str]:
    """Yield the lines of a report: what existed when, how fast it grew, and who else saw the log."""
    if seen.timeline is None:
        yield "times     not judged: no timestamp authority is believed (--trust names some)"
    else:
        yield from _times(seen.timeline)
    for size, found in seen.cosigned.items():
        who = ", ".join(f"{each.witness.name} at {clock(each.time)}" for each in found)
        yield f"witnesses the head of {size} was cosigned by {who}"


def as_json(seen: Seen) -> dict[str, Any]:
    """Return the same as plain JSON values; times are ISO 8601 in UTC."""
    timeline = seen.timeline
    return {
        "heads": [_moment(moment) for moment in timeline.moments] if timeline else None,
        "segments_after": {str(i): when.isoformat() for i, when in timeline.after.items()} if timeline else None,
        "paces": [_pace(pace) for pace in timeline.paces] if timeline else None,
        "all_at_once": not timeline.grew if timeline and timeline.moments else None,
        "first_share": timeline.share if timeline and timeline.moments else None,
        "refused": [[each.name, each.reason.value, each.message] for each in timeline.refused] if timeline else [],
        "unrenewed": len(timeline.unrenewed) if timeline else None,
        "cosigned": {
            str(size): [[each.witness.name, each.time.isoformat()] for each in found]
            for size, found in seen.cosigned.items()
        },
        "unmet": list(seen.unmet),
    }


def clock(when: datetime) -> str:
    """Return a time as people read it, in UTC to the second."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def interval(moment: Moment) -> str:
    """Return a time that is known up to the accuracy of a clock."""
    half = (moment.latest - moment.earliest) / 2
    return f"{clock(moment.earliest + half)} ± {_span(half)}"


def _times(timeline: Timeline) -> Iterator[str]:
    if not timeline.moments:
        yield "times     unknown: no stamp by an authority that is believed"
    for moment in _some(timeline.moments):
        who = ", ".join(moment.authorities)
        yield f"times     {_covered(timeline, moment)} existed at {interval(moment)} ({who})"
    for pace in _some(timeline.paces):
        yield f"pace      {_told(pace)}"
    if timeline.moments:
        yield from _flags(timeline)
    for refused in timeline.refused[:_SHOWN]:
        yield f"stamp     {refused.name} does not count: {refused.message} [{refused.reason.value}]"
    if len(timeline.refused) > _SHOWN:
        yield f"stamp     and {len(timeline.refused) - _SHOWN} more do not count"


def _flags(timeline: Timeline) -> Iterator[str]:
    if timeline.segments and not timeline.grew:
        yield "times     the log appeared all at once: nothing shows that it grew"
    if not timeline.after:
        yield "times     no lower bound on time: no segment says which stamp it was made after"
    else:
        first = min(timeline.after)
        yield f"times     {len(timeline.after)} segments, from {first} on, were made after stamps that they name"
    if timeline.unrenewed:
        yield f"stamp     {len(timeline.unrenewed)} are under certificates that ended before anybody renewed them"


def _some(parts: tuple[Any, ...]) -> Iterator[Any]:
    """Yield the first and the last few of many parts."""
    yield from parts if len(parts) <= 2 * _SHOWN else (*parts[:_SHOWN], *parts[-_SHOWN:])


def _covered(timeline: Timeline, moment: Moment) -> str:
    last = min(moment.size - 2, len(timeline.segments) - 1)
    if last < 0:
        return "the header"
    whole = " and the end" if moment.size == len(timeline.segments) + 2 else ""
    return ("segment 0" if last == 0 else f"segments 0 to {last}") + whole


def _told(pace: Pace) -> str:
    if not pace.steps:
        return f"no steps within {_span(pace.elapsed)}"
    rate = f", at least {pace.rate:,.0f} an hour" if pace.bounded else "; they may have lain there before"
    return f"{pace.steps:,} steps within {_span(pace.elapsed)}{rate}"


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 3600:.1f} h"


def _moment(moment: Moment) -> dict[str, Any]:
    return {
        "size": moment.size,
        "earliest": moment.earliest.isoformat(),
        "latest": moment.latest.isoformat(),
        "authorities": list(moment.authorities),
    }


def _pace(pace: Pace) -> dict[str, Any]:
    return {
        "from": pace.since.size,
        "to": pace.until.size,
        "steps": pace.steps,
        "seconds_at_most": pace.elapsed.total_seconds(),
        "bounded": pace.bounded,
        "steps_per_hour_at_least": pace.rate if pace.bounded and pace.elapsed else None,
    }
