"""Draw what replaying the segments came to: errors as multiples of what is allowed."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from polarchive.verification.finding import Outcome
from polarchive.verification.page.drawing import Logarithmic, Scale, beside, line, mark, picture, power, words
from polarchive.verification.page.markup import Markup, element
from polarchive.verification.page.worst import GRAVE, WORDS, Worst, of_all
from polarchive.verification.verdict import Verdict

_MOST_MARKS: Final = 400
_BEYOND, _HIGH, _LOW, _EXACT, _BOTTOM = 22, 46, 206, 230, 256  # from above, in pixels
_LEFT, _RIGHT = 1.0, 99.0


def drawn(verdict: Verdict) -> Markup:
    """Return the picture of all replays: for each, the largest error as a share of what is allowed."""
    found = list(_thinned(of_all(verdict)))
    shares = [each.share for each in found if 0 < each.share < math.inf]
    down = Logarithmic.over(shares, _LOW, _HIGH)
    across = Scale(-0.5, max(verdict.segments, 1) - 0.5, _LEFT, _RIGHT)
    marks = (_mark(each, across, down) for each in found)
    image = picture(_BOTTOM, _label(verdict), *_frame(verdict, down), *marks, class_="axes")
    return element("figure", image, _legend(verdict))


def _thinned(found: Sequence[Worst]) -> Iterator[Worst]:
    """Yield what is drawn: of neighbours that would cover each other, the worst."""
    size = _neighbours(found)
    for start in range(0, len(found), size):
        yield max(found[start : start + size], key=lambda each: each.rank)


def _neighbours(found: Sequence[object]) -> int:
    return max(1, math.ceil(len(found) / _MOST_MARKS))


def _mark(worst: Worst, across: Scale, down: Logarithmic) -> Markup:
    judged, share = worst.judged, worst.share
    y = _EXACT if share == 0 else down(share) if share < math.inf else _BEYOND
    middle = judged.index + (judged.in_a_row - 1) / 2
    return mark(judged.outcome, across(middle), y, str(worst), "pair" if judged.in_a_row > 1 else "")


def _frame(verdict: Verdict, down: Logarithmic) -> Iterator[Markup]:
    yield beside(_BEYOND, "beyond")
    yield line((0, 100), (_BEYOND, _BEYOND), "grid faint")
    for exponent in down.decades():
        y = down(10.0**exponent)
        yield line((0, 100), (y, y), "grid" if exponent else "limit")
        yield beside(y, f"{power(exponent)}×", "axis" if exponent else "axis strong")
    yield words(100, down(1) - 6, "allowed", "axis strong end")
    yield line((0, 100), (_EXACT, _EXACT), "grid faint")
    yield beside(_EXACT, "0")
    yield from _below(verdict)


def _below(verdict: Verdict) -> Iterator[Markup]:
    last = verdict.segments - 1
    yield words(_LEFT, _BOTTOM - 6, "segment 0", "axis")
    if last > 0:
        yield words(_RIGHT, _BOTTOM - 6, f"segment {last:,}", "axis end")


def _label(verdict: Verdict) -> str:
    found = [each.outcome for each in (*verdict.judged, *verdict.pairs)]
    counts = ", ".join(f"{found.count(each)} {WORDS[each]}" for each in GRAVE)
    return f"Largest error of each of {len(found)} replays, against its limit: {counts}"


def _legend(verdict: Verdict) -> Markup:
    found = (*verdict.judged, *verdict.pairs)
    outcomes = {each.outcome for each in found}
    keys = [_key(each, WORDS[each]) for each in GRAVE if each in outcomes]
    keys += [_key(Outcome.PASSED, "hollow or thin: segments in a row", "pair")] if verdict.pairs else []
    which = f"the worst of {size} neighbouring replays" if (size := _neighbours(found)) > 1 else "one replay"
    said = f"Each mark is {which}: its largest error, as a multiple of what the policy allows."
    return element("figcaption", said, element("div", *keys))


def _key(outcome: Outcome, text: str, class_: str = "") -> Markup:
    sign = element("svg", mark(outcome, 50, 7, text, class_), width="16", height="14", aria_hidden="true")
    return element("span", sign, text, class_="key")
