"""Put a page together: the verdict first, then why, then all that it rests on."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Final

from polarchive.verification.finding import Outcome
from polarchive.verification.page import account, displacement, replayed, times
from polarchive.verification.page.listed import listed
from polarchive.verification.page.markup import Markup, bullets, element
from polarchive.verification.verdict import ACCEPTED, Verdict

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_CLOSING: Final = (
    "Written by polarc verify, with nothing in it that comes from elsewhere. "
    "This page is an account of a verdict and no proof of it: whoever has the archive can judge it again."
)


def page(verdict: Verdict) -> str:
    """Return a verdict as one HTML page, which loads nothing; names out of the archive stay text."""
    run = verdict.run.hex()[:8]
    title = f"{verdict.result.capitalize()}: report on run {run}" if run else f"{verdict.result.capitalize()}: report"
    body = element("main", _top(verdict), *_sections(verdict), element("footer", element("p", _CLOSING)))
    return "<!doctype html>\n" + element("html", _head(title), element("body", body), lang="en") + "\n"


def _head(title: str) -> Markup:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(files(__package__).joinpath("page.css").read_text("utf-8"))),
    )


def _top(verdict: Verdict) -> Markup:
    signer, policy = (text.partition(mark)[0] for text, mark in ((verdict.signer, "+"), (verdict.policy, ":")))
    return element(
        "header",
        element("p", "polarchive · report of a replay", class_="kind"),
        element("h1", verdict.result.capitalize()),
        element("p", why(verdict), class_="why"),
        element("p", f"Signed by {signer}, judged by the policy {policy}.", class_="by"),
        class_=verdict.result,
    )


def why(verdict: Verdict) -> str:
    """Return one sentence that says why: what was replayed, or the first thing that speaks against the run."""
    done = f"{len(verdict.judged):,} of {verdict.segments:,} segments were replayed"
    if verdict.result == ACCEPTED:
        return f"{done}, and nothing that was checked speaks against the run."
    reasons = sorted(verdict.reasons, key=lambda each: each.outcome is not Outcome.FAILED)
    if not reasons:
        return f"{done}: nothing was shown either way."
    first, more = account.told(reasons[0]), len(reasons) - 1
    others = f", and {more:,} more finding{'s' * (more != 1)}" if more else ""
    return f"{first[:1].upper()}{first[1:]}{others}."


def _sections(verdict: Verdict) -> Iterator[Markup]:
    if verdict.reasons:
        yield _section("Why", account.against(verdict))
    if verdict.judged:
        every = element("details", element("summary", "Every replay in a table"), listed(verdict))
        yield _section("Replayed segments", replayed.drawn(verdict), every)
    yield _section("When it was made", times.shown(verdict))
    yield _section("Unexplained displacement", displacement.shown(verdict))
    yield _section("Checked", account.checked(verdict), account.checked_each(verdict))
    yield _section("Not checked, and not shown", bullets(account.unchecked(verdict)))
    yield _section("Assumptions", bullets(verdict.assumes or ("This policy names none.",)))
    yield _section("The challenge", account.challenge(verdict))
    yield _section("Who signed, and where it ran", account.origin(verdict), account.stacks(verdict))


def _section(heading: str, *parts: Markup) -> Markup:
    return element("section", element("h2", heading), *parts)
