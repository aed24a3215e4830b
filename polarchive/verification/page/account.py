"""Show what a verdict rests on: findings, what was not checked, the challenge, who signed and where it ran."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from polarchive.verification import report
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.page.markup import Markup, element, joined, table
from polarchive.verification.page.worst import WORDS
from polarchive.verification.verdict import Verdict

_MOST: Final = 50


def against(verdict: Verdict) -> Markup:
    """Return the table of what keeps the run from being accepted."""
    return _findings("What keeps the run from being accepted", verdict.reasons)


def checked(verdict: Verdict) -> Markup:
    """Return the table of what was found on the archive as a whole."""
    return _findings("Findings on the whole run", verdict.findings)


def checked_each(verdict: Verdict) -> Markup:
    """Return the table of what each check came to in all replays."""
    found = Counter(
        (each.check, each.outcome) for judged in (*verdict.judged, *verdict.pairs) for each in judged.findings
    )
    rows = ((check, _outcome(outcome), f"{count:,} times") for (check, outcome), count in found.items())
    return table("Findings on replayed segments", ("Check", "Result", "How often"), rows)


def unchecked(verdict: Verdict) -> Iterator[str]:
    """Yield what was not checked, and what no replay can show."""
    left = verdict.segments - len(verdict.judged)
    if left:
        yield f"{left:,} of {verdict.segments:,} segments were not replayed{_odds(verdict)}"
    yield from (f"the check “{each}”, which the default policy makes" for each in verdict.unchecked)
    yield from report.NOT_SHOWN


def challenge(verdict: Verdict) -> Markup:
    """Return what lets anyone draw the same segments again."""
    rows: list[tuple[str, str]] = [
        ("challenge", _code(verdict.challenge.hex())),
        ("the judge's nonce", _code(verdict.nonce.hex())),
        *(("earlier", each) for each in verdict.earlier),
        ("policy", _code(verdict.policy)),
    ]
    return table("What was asked, and how it was drawn", ("Part", "Value"), rows)


def origin(verdict: Verdict) -> Markup:
    """Return who signed what."""
    archive = _code(verdict.archive.hex()) if verdict.archive else "a run directory, not sealed"
    rows = (
        ("signed by", _code(verdict.signer)),
        ("run", _code(verdict.run.hex())),
        ("archive", archive),
        ("heads", f"{len(verdict.heads):,}"),
        ("states", report.states(verdict)),
    )
    return table("Who signed, and what", ("Part", "Value"), rows)


def stacks(verdict: Verdict) -> Markup:
    """Return the two stacks side by side, what differs in bold."""
    before, now = verdict.recorded_on, verdict.replayed_on
    names = sorted(before.keys() | now.keys())
    rows = ((name, *_pair(before.get(name, "–"), now.get(name, "–"))) for name in names)
    caption = "The stacks; the recording one is by the prover's own account"
    return table(caption, ("Part", "Recorded on", "Replayed on"), rows)


def told(finding: Finding) -> str:
    """Return a finding's message after the segment, step and tensor that it is about."""
    parts = (("segment", finding.segment), ("step", finding.step))
    where = [f"{name} {value:,}" for name, value in parts if value is not None]
    if finding.tensor and finding.tensor not in finding.message:
        where.append(finding.tensor)
    return ": ".join([*([", ".join(where)] if where else []), finding.message])


def _findings(caption: str, findings: Sequence[Finding]) -> Markup:
    if len(findings) > _MOST:
        caption += f": the first {_MOST} of {len(findings):,}"
    rows = ((each.check, _outcome(each.outcome), told(each)) for each in findings[:_MOST])
    return table(caption, ("Check", "Result", "Finding"), rows)


def _outcome(outcome: Outcome) -> Markup:
    return element("span", WORDS[outcome], class_=outcome)


def _odds(verdict: Verdict) -> str:
    if verdict.odds is None:
        return ", by the judge's choice"
    one, tenth = verdict.odds.one, verdict.odds.tenth
    return f": a single bad one is met with probability {one:.3g}, of a tenth at least one is with {tenth:.3g}"


def _pair(before: str, now: str) -> tuple[str, str]:
    return (before, now) if before == now else (before, element("strong", now))


def _code(text: str) -> Markup:
    return joined([element("code", text)])
