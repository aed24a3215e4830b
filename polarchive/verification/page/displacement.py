"""Show what all replays together leave unexplained of the way from the first weights to the last."""

import math
from collections.abc import Iterator
from typing import Final

from polarchive.verification.checks.joint import CHECK
from polarchive.verification.drift import Unexplained
from polarchive.verification.finding import Outcome
from polarchive.verification.page.drawing import Logarithmic, Scale, line, mark, picture, power, words
from polarchive.verification.page.markup import Markup, element, joined, table
from polarchive.verification.verdict import Verdict

_LEFT, _RIGHT, _LOWEST = 4.0, 96.0, -8
_BOTTOM: Final = 154
_CAPTION: Final = "As a fraction of the way from the first weights to the last. Noise has no direction; theft has."


def shown(verdict: Verdict) -> Markup:
    """Return the picture and the numbers, or why there are none."""
    found = verdict.unexplained
    if found is None or not found.segments:
        return element("p", "Not measured: no replay was compared with what was claimed.")
    failed = any(each.check == CHECK and each.outcome is not Outcome.PASSED for each in verdict.findings)
    return joined([_drawn(found, failed), _numbers(found)])


def _drawn(found: Unexplained, failed: bool) -> Markup:
    across = Logarithmic(Scale(_LOWEST, 0, _LEFT, _RIGHT))
    outcome = Outcome.FAILED if failed else Outcome.PASSED
    label = f"Unexplained: {found.toward:.2g} of the way toward the end, {found.total:.2g} of it in all, "
    label += f"{found.kept:.2g} kept by the optimizer"
    toward = _row("toward the end", found.toward, 34, across, outcome)
    total = _row("in all", found.total, 76, across, outcome)
    kept = _row("kept by the optimizer", found.kept, 118, across, outcome)
    drawn = picture(_BOTTOM, label, *_frame(across), *toward, *total, *kept)
    return element("figure", drawn, element("figcaption", _CAPTION))


def _row(name: str, value: float, y: float, across: Logarithmic, outcome: Outcome) -> Iterator[Markup]:
    size = abs(value)
    place = _LEFT if size == 0 else across(size) if size < math.inf else _RIGHT
    yield words(_LEFT, y - 12, f"{name}: {value:.2g}" if size else f"{name}: none", "axis strong")
    yield line((_LEFT, place), (y, y), f"track {outcome}")
    yield mark(outcome, place, y, f"{name}: {value:.3g} of the way")


def _frame(across: Logarithmic) -> Iterator[Markup]:
    for exponent in range(_LOWEST, 1, 2):
        x = across(10.0**exponent)
        yield line((x, x), (8, _BOTTOM - 22), "grid")
        yield words(x, _BOTTOM - 6, power(exponent) if exponent else "all of it", _side(exponent))


def _side(exponent: int) -> str:
    return "axis end" if not exponent else "axis" if exponent == _LOWEST else "axis middle"


def _numbers(found: Unexplained) -> Markup:
    rows = (
        ("toward the end", f"{found.toward:.3g} of the way"),
        ("in all", f"{found.total:.3g} of the way"),
        ("kept by the optimizer", f"{found.kept:.3g} of the way"),
        ("coherence", f"{found.coherence:.3g} (about 1 for noise)"),
        ("distance of first and last weights", f"{found.distance:.4g}"),
        ("segments that were compared", f"{found.segments:,}"),
    )
    return table("What residuals add up to", ("Measure", "Value"), rows)
