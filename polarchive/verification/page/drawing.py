"""Draw as SVG that fits any width: across in percent, down in pixels, so that words keep their size on a phone."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from polarchive.verification.finding import Outcome
from polarchive.verification.page.markup import Markup, element

_SHAPES: Final = {
    Outcome.PASSED: "M0-4A4 4 0 1 1 0 4A4 4 0 1 1 0-4Z",  # a disc
    Outcome.FAILED: "M-5-5L5 5M-5 5L5-5",  # a cross
    Outcome.UNKNOWN: "M0-6L6 0L0 6L-6 0Z",  # a diamond
}
_MARGIN: Final = 52  # pixels; page.css leaves as many
_MOST: Final = 30  # decades that a scale goes up or down
_DIGITS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, slots=True)
class Scale:
    """Map values from `low` to `high` to places from `start` to `stop`; what lies outside is put at an end."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Return the place of a value, in the middle if there is but one value."""
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """Map positive values to places as `Scale` does, by their order of magnitude."""

    scale: Scale

    @classmethod
    def over(cls, values: Iterable[float], start: float, stop: float) -> "Logarithmic":
        """Return the scale of whole decades that has room for values, within reason, and for 0.1 to 10."""
        powers = [min(max(math.log10(value), -_MOST), _MOST) for value in values]
        low, high = math.floor(min([*powers, -1])), math.ceil(max([*powers, 1]))
        return cls(Scale(low, high, start, stop))

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return self.scale(math.log10(value))

    def decades(self, most: int = 6) -> Iterator[int]:
        """Yield the powers of ten to draw a line at: 0, and others at even distances."""
        low, high = int(self.scale.low), int(self.scale.high)
        every = math.ceil((high - low) / most)
        yield from (power for power in range(low, high + 1) if power % every == 0)


def picture(height: float, label: str, *parts: Markup, class_: str = "") -> Markup:
    """Return an SVG image that `label` tells to whoever does not see it; the class `axes` leaves room for `beside`."""
    return element("svg", *parts, role="img", aria_label=label, class_=class_, width="100%", height=_short(height))


def line(x: tuple[float, float], y: tuple[float, float], class_: str) -> Markup:
    """Return a line from the first to the second x and y."""
    return element("line", x1=_part(x[0]), y1=_short(y[0]), x2=_part(x[1]), y2=_short(y[1]), class_=class_)


def mark(outcome: Outcome, x: float, y: float, tip: str, class_: str = "") -> Markup:
    """Return the sign for an outcome, told apart by its shape as well as by its colour; `tip` shows under a pointer."""
    shape = element("path", element("title", tip), d=_SHAPES[outcome], class_=f"{outcome} {class_}".strip())
    return element("svg", shape, x=_part(x), y=_short(y), aria_hidden="true")


def words(x: float, y: float, text: str, class_: str = "") -> Markup:
    """Return a line of text that begins at x, or is moved by the classes `middle` and `end`."""
    return element("text", text, x=_part(x), y=_short(y), class_=class_)


def beside(y: float, text: str, class_: str = "axis") -> Markup:
    """Return a word to the left of the picture."""
    return element("text", text, x=-_MARGIN, y=_short(y + 4), class_=class_)


def power(exponent: int) -> str:
    """Return a power of ten as people write it."""
    return f"{10**exponent:g}" if -2 <= exponent <= 3 else f"10{str(exponent).translate(_DIGITS)}"


def _part(x: float) -> str:
    return f"{_short(x)}%"


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
