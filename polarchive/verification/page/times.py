"""Show when parts of the log existed: heads, the stamps over them, and between which times each segment was made."""

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Final, TypeVar

from polarchive.trust import telling
from polarchive.trust.demands import Seen
from polarchive.trust.timeline import Moment, Timeline
from polarchive.verification.finding import Outcome
from polarchive.verification.page.drawing import Scale, beside, line, mark, picture, words
from polarchive.verification.page.markup import Markup, element, joined, table
from polarchive.verification.verdict import Verdict

T = TypeVar("T")
_MOST: Final = 300
_HIGH, _LOW, _BOTTOM = 16, 196, 222
_LEFT, _RIGHT = 1.0, 99.0


def shown(verdict: Verdict) -> Markup:
    """Return the picture and the account of times; of a log that nobody dates, only where its heads are."""
    if verdict.seen is None:
        return joined([_strip(verdict), element("p", "No stamp or witness was looked at: no trust file was given.")])
    timeline = verdict.seen.timeline
    drawn = _growth(timeline, verdict) if timeline and timeline.moments else _strip(verdict)
    return joined([drawn, table("What stamps and witnesses show", ("About", "Shown"), _told(verdict.seen))])


def _told(seen: Seen) -> Iterator[tuple[str, Markup]]:
    """Yield what a text report says, its lines put together by what they are about."""
    parts = (line.partition(" ") for line in telling.lines(seen))
    for about, lines in groupby(parts, lambda part: part[0]):
        yield about, joined(element("div", line.strip()) for _, _, line in lines)


def _strip(verdict: Verdict) -> Markup:
    """Return the log as a line, with a tick for each head, which covers all that is to its left."""
    end = max([verdict.segments + 1, *verdict.heads])
    across = Scale(0, end, 2, 98)
    ticks = (line((across(size),) * 2, (16, 32), "head") for size in _some(verdict.heads))
    label = f"{len(verdict.heads)} signed heads over a log of {end} entries; no time is known"
    ends = words(2, 52, "header", "axis"), words(98, 52, f"{end:,} entries", "axis end")
    return _figure(picture(60, label, line((2, 98), (24, 24), "grid"), *ticks, *ends), _STRIP)


def _growth(timeline: Timeline, verdict: Verdict) -> Markup:
    """Return how many entries existed when."""
    moments = timeline.moments
    begin = min([*(moment.earliest for moment in moments), *timeline.after.values()])
    end = max(moment.latest for moment in moments)
    across, up = Scale(begin.timestamp(), end.timestamp(), _LEFT, _RIGHT), Scale(0, verdict.segments + 1, _LOW, _HIGH)
    parts = (*_frame(begin, end, verdict, up), *_bars(timeline, across, up), *_stamps(timeline, across, up))
    label = (
        f"{len(moments)} of {len(verdict.heads)} heads of the log are dated, "
        f"from {telling.clock(begin)} to {telling.clock(end)}"
    )
    return _figure(picture(_BOTTOM, label, *parts, class_="axes"), _GROWTH)


def _bars(timeline: Timeline, across: Scale, up: Scale) -> Iterator[Markup]:
    """Yield for each segment the span of time in which it was made; an open one begins at the edge."""
    for segment in _some(timeline.segments):
        existed = timeline.existed(segment.index + 1)
        if existed is not None:
            after = timeline.after.get(segment.index)
            begin = across(after.timestamp()) if after else _LEFT
            y = up(segment.index + 1)
            yield line((begin, across(existed.latest.timestamp())), (y, y), "bar" if after else "bar open")


def _stamps(timeline: Timeline, across: Scale, up: Scale) -> Iterator[Markup]:
    for moment in _some(timeline.moments):
        earliest, latest = across(moment.earliest.timestamp()), across(moment.latest.timestamp())
        y = up(moment.size - 1)
        yield line((earliest, latest), (y, y), "clock")
        yield mark(Outcome.PASSED, (earliest + latest) / 2, y, _tip(moment), "stamp")


def _tip(moment: Moment) -> str:
    return f"head of {moment.size} entries, {telling.interval(moment)}, {', '.join(moment.authorities)}"


def _frame(begin: datetime, end: datetime, verdict: Verdict, up: Scale) -> Iterator[Markup]:
    for value, text in ((0, "header"), (verdict.segments, "last")):
        yield line((0, 100), (up(value),) * 2, "grid")
        yield beside(up(value), text)
    yield from (line((0, _LEFT), (up(size - 1),) * 2, "head") for size in _some(verdict.heads))
    yield words(_LEFT, _BOTTOM - 4, _date(begin), "axis")
    if begin != end:
        yield words(_RIGHT, _BOTTOM - 4, _date(end), "axis end")


def _date(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M")


def _some(parts: tuple[T, ...]) -> Iterator[T]:
    """Yield what is drawn of many: the last, and others at even distances."""
    every = -(-len(parts) // _MOST)
    yield from (part for index, part in enumerate(reversed(parts)) if index % every == 0)


def _figure(drawn: Markup, caption: str) -> Markup:
    return element("figure", drawn, element("figcaption", caption))


_STRIP: Final = "The log, with a tick for each signed head; a head covers every entry to its left. No time is known."
_GROWTH: Final = (
    "Each line is a segment, from the time it was made after to the time by which it existed; dashed where nothing "
    "says after when. Dots are heads with a stamp that counts, ticks on the left all heads. Times are in UTC."
)
