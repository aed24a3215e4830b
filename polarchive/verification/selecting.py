"""Read a selection as it is written on a command line or in a policy file."""

from collections.abc import Callable, Mapping
from typing import Final

from polarchive.errors import PolError
from polarchive.verification.selections import ByEpoch, Sample, Selection, Suspicious, TopQ, every

FORMS: Final = "every, sample:N, top:Q, top:Q+N, suspicious:Q, suspicious:Q+N or epoch:RECORDS:N"


def selection(text: str) -> Selection:
    """Return the selection that `text` names; PolError if it names none."""
    kind, _, rest = text.partition(":")
    try:
        return _KINDS[kind](rest)
    except (KeyError, ValueError):
        raise PolError(f"{text} is not {FORMS}") from None


def _every(rest: str) -> Selection:
    if rest:
        raise ValueError(rest)
    return every


def _and_drawn(rest: str) -> tuple[int, int]:
    """Return how many segments are taken, and how many of the others drawn."""
    taken, plus, drawn = rest.partition("+")
    return _count(taken), _count(drawn) if plus else 0


def _epoch(rest: str) -> Selection:
    records, _, count = rest.partition(":")
    return ByEpoch(_count(count), _count(records))


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise ValueError(text)
    return int(text)


_KINDS: Final[Mapping[str, Callable[[str], Selection]]] = {
    "every": _every,
    "sample": lambda rest: Sample(_count(rest)),
    "top": lambda rest: TopQ(*_and_drawn(rest)),
    "suspicious": lambda rest: Suspicious(*_and_drawn(rest)),
    "epoch": _epoch,
}
