"""Tell a contest in Markdown."""

from collections.abc import Iterator, Mapping

from polarchive.contest.protocol import Protocol
from polarchive.contest.rows import Match, Row, Spoof

_MARKS = {"accepted": "**accepted**", "rejected": "rejected", "inconclusive": "inconclusive"}


def markdown(matches: Mapping[str, Match]) -> Iterator[str]:
    """Yield the lines of a table of verdicts for each protocol, then one of what each spoof cost."""
    rows = [row for match in matches.values() for row in match.rows]
    for protocol in (each for each in Protocol if any(row.protocol is each for row in rows)):
        yield from _verdicts(protocol, [row for row in rows if row.protocol is protocol])
    yield from _costs([spoof for match in matches.values() for spoof in match.spoofs])


def _verdicts(protocol: Protocol, rows: list[Row]) -> Iterator[str]:
    policies = list(dict.fromkeys(row.policy for row in rows))
    yield from (f"## {protocol.value.capitalize()}", "")
    yield f"| attack | {' | '.join(policies)} |"
    yield "|---" * (len(policies) + 1) + "|"
    for attack in dict.fromkeys(row.attack for row in rows):
        found = {row.policy: row for row in rows if row.attack == attack}
        yield f"| {attack} | {' | '.join(_cell(found.get(policy)) for policy in policies)} |"
    yield ""


def _cell(row: Row | None) -> str:
    """Return a verdict, the checks against acceptance, and how likely a challenge meets them where that is not sure."""
    if row is None:
        return ""
    chance = [f"found by {row.caught:.0%} of challenges"] if 0 < row.caught < 1 else []
    why = ", ".join([*row.by, *chance])
    return _MARKS[row.verdict] + (f" ({why})" if why else "")


def _costs(spoofs: list[Spoof]) -> Iterator[str]:
    honest = next((spoof for spoof in spoofs if spoof.attack == "honest"), None)
    yield from ("## Costs", "")
    yield "| attack | ends at | largest ε | passes | Appendix B | of honest: operations | seconds | records made |"
    yield "|---|---|---|---|---|---|---|---|"
    for spoof in spoofs:
        yield f"| {_name(spoof)} | {' | '.join(_cost(spoof, honest))} |"
    yield ""


def _name(spoof: Spoof) -> str:
    return f"{spoof.attack}, for a challenge" if spoof.challenged else spoof.attack


def _cost(spoof: Spoof, honest: Spoof | None) -> Iterator[str]:
    yield f"{spoof.lands:.3g}"
    yield f"{max(spoof.errors.values()):.3g}" if spoof.errors else "–"
    yield f"{spoof.passes:.4g}"
    yield "–" if spoof.counted is None else f"{spoof.counted:.4g}"
    yield f"{spoof.flops / honest.flops:.3g}" if honest and honest.flops else "–"
    yield f"{spoof.seconds / honest.seconds:.3g}" if honest and honest.seconds else "–"
    yield str(spoof.data)
