"""List replays in a table: all of them, or the worst of many."""

from typing import Final

from polarchive.verification.page.markup import Markup, element, joined, table
from polarchive.verification.page.worst import WORDS, Worst, numbers_of, of_all, place, steps_of
from polarchive.verification.verdict import Verdict

_MOST: Final = 200


def listed(verdict: Verdict) -> Markup:
    """Return the table of replays in order."""
    found = of_all(verdict)
    kept = sorted(sorted(found, key=lambda each: each.rank)[-_MOST:], key=place)
    which = f"The worst {_MOST} of {len(found):,} replays" if len(found) > _MOST else "All replays"
    caption = f"{which}, each with the error that is the largest share of what is allowed, and in which tensor"
    return table(caption, ("Segment", "Result", "Error", "In"), map(_row, kept))


def _row(worst: Worst) -> tuple[str, ...]:
    judged = worst.judged
    named = joined([numbers_of(judged), element("div", steps_of(judged), class_="more")])
    result = element("span", WORDS[judged.outcome], class_=judged.outcome)
    if not worst.tensor:
        return named, result, "nothing compared", ""
    limit = element("div", f"of {worst.allowed:.3g}", class_="more")
    return named, result, joined([element("span", f"{worst.error:.3g}"), limit]), worst.tensor
