"""Tell a verdict to people, as text, and to programs, as JSON."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from polarchive.trust import telling
from polarchive.verification.drift import Unexplained
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.plain import VERSION, number, plain
from polarchive.verification.verdict import ACCEPTED, INCONCLUSIVE, Judged, Verdict

_SHOWN = 3
_MARKS = {Outcome.PASSED: "ok  ", Outcome.FAILED: "FAIL", Outcome.UNKNOWN: "??  ", Outcome.ADVICE: "note"}
NOT_SHOWN = (
    "when the steps were computed, or how long that took: stamps show by when the log existed",
    "that the data were its owner's, or what they were before the loop fed them",
    "that no other training leads to an equivalent model (distillation, fine-tuning, permuted copies)",
)


def text(verdict: Verdict) -> Iterator[str]:
    """Yield the lines of a report: the verdict, what stands against it, the segments, and what was not shown."""
    replayed, total = len(verdict.judged), verdict.segments
    yield f"{verdict.result.upper()}: {replayed} of {total} segments replayed, {_count(verdict)}"
    yield f"archive   {verdict.archive.hex() if verdict.archive else 'a run directory, not sealed'}"
    yield f"run       {verdict.run.hex()}, {len(verdict.heads)} heads signed by {verdict.signer}"
    yield f"policy    {verdict.policy}"
    yield f"challenge {verdict.challenge.hex()} from nonce {verdict.nonce.hex()}"
    for earlier in verdict.earlier:
        yield f"earlier   {earlier}"
    yield f"stack     {_stacks(verdict)}"
    yield f"states    {states(verdict)}"
    if verdict.seen is not None:
        yield from telling.lines(verdict.seen)
    for finding in verdict.findings:
        yield f"  {_MARKS[finding.outcome]} {finding.check}: {_where(finding)}{finding.message}"
    for judged in (*verdict.judged, *verdict.pairs):
        yield from _segment(judged)
    if verdict.unexplained is not None and verdict.unexplained.segments:
        yield _displacement(verdict.unexplained)
    if verdict.odds is not None:
        one, tenth = verdict.odds.one, verdict.odds.tenth
        yield f"one bad segment among {total} is met with probability {one:.3g}; of a tenth, one is with {tenth:.3g}"
    elif replayed < total:
        yield f"{total - replayed} segments were not replayed, by the judge's choice: a rehearsal"
    if verdict.unchecked:
        yield f"unchecked {', '.join(verdict.unchecked)}"
    for assumption in verdict.assumes:
        yield f"assumes   {assumption}"
    if verdict.result in (ACCEPTED, INCONCLUSIVE):
        yield "not shown: " + "; ".join(NOT_SHOWN)


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain JSON values, as `report.schema.json` describes them (SPEC.md, "Reports")."""
    return {
        "version": VERSION,
        "kind": "replay",
        "verdict": verdict.result,
        "reasons": [plain(finding) for finding in verdict.reasons],
        "segments": [_judged(judged) for judged in verdict.judged],
        "pairs": [_judged(judged) for judged in verdict.pairs],
        "findings": [plain(finding) for finding in verdict.all_findings],
        "archive": verdict.archive.hex() if verdict.archive else None,
        "run": verdict.run.hex(),
        "signer": verdict.signer,
        "heads": len(verdict.heads),
        "policy": verdict.policy,
        "nonce": verdict.nonce.hex(),
        "challenge": verdict.challenge.hex(),
        "recorded_on": dict(verdict.recorded_on),
        "replayed_on": dict(verdict.replayed_on),
        "states_stored": verdict.stored,
        "states_obtained": {str(index): how for index, how in verdict.obtained.items()},
        "odds": asdict(verdict.odds) if verdict.odds else None,
        "earlier_challenges": list(verdict.earlier),
        "unexplained": _unexplained(verdict.unexplained) if verdict.unexplained else None,
        "assumes": list(verdict.assumes),
        "unchecked": list(verdict.unchecked),
        "times": telling.as_json(verdict.seen) if verdict.seen else None,
        "total_segments": verdict.segments,
        "not_shown": list(NOT_SHOWN),
    }


def _judged(judged: Judged) -> dict[str, Any]:
    return {
        "index": judged.index,
        "start": judged.first,
        "steps": judged.steps,
        "in_a_row": judged.in_a_row,
        "accepted": judged.accepted,
        "residual": number(judged.residual),
        "errors": {name: number(error) for name, error in judged.errors.items()},
        "allowed": {name: number(limit) for name, limit in judged.allowed.items()},
    }


def _unexplained(found: Unexplained) -> dict[str, Any]:
    return {
        "toward": number(found.toward),
        "total": number(found.total),
        "kept": number(found.kept),
        "coherence": number(found.coherence),
        "distance": number(found.distance),
        "segments": found.segments,
    }


def _stacks(verdict: Verdict) -> str:
    before, now = verdict.recorded_on, verdict.replayed_on
    odd = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if not odd:
        return "the recording one, by its own account"
    return "; ".join(_difference(name, before.get(name), now.get(name)) for name in odd)


def _difference(name: str, before: str | None, now: str | None) -> str:
    if now is None:
        return f"{name} {before} (recorded)"
    return f"{name} {now} (recorded on {before})" if before is not None else f"{name} {now} (not recorded)"


def states(verdict: Verdict) -> str:
    """Say how many states are in the archive, and how the replay came by the others."""
    total = verdict.segments + 1
    if verdict.stored == total:
        return f"all {total} stored"
    counts = Counter(verdict.obtained.values())
    others = "; ".join(f"{number} {how}" for how, number in sorted(counts.items()))
    return f"{verdict.stored} of {total} stored" + (f"; {others}" if others else "")


def _displacement(found: Unexplained) -> str:
    """Return the number in which a replay ends: what of the way from first to last weights nobody has explained."""
    parts = f"{found.toward:.2g} of the way toward the end, {found.total:.2g} in all"
    parts += f", {found.kept:.2g} kept by the optimizer" if found.kept else ""
    return f"unexplained displacement: {parts} (‖W_T − W_0‖ = {found.distance:.4g}, {found.segments} segments)"


def _segment(judged: Judged) -> Iterator[str]:
    worst = max(judged.errors.items(), key=lambda item: _size(item[1]), default=None)
    error = f"largest error {worst[1]:.3g} in {worst[0]}" if worst and worst[1] else "every error 0" if worst else ""
    steps = f"steps {judged.first} to {judged.first + judged.steps - 1}"
    last = judged.index + judged.in_a_row - 1
    which = f"segment {judged.index}" if judged.in_a_row == 1 else f"segments {judged.index} to {last} in a row"
    yield f"  {_MARKS[judged.outcome]} {which}, {steps}: {error}"
    against = [finding for finding in judged.findings if finding.outcome is not Outcome.PASSED]
    against.sort(key=lambda finding: _size(finding.error), reverse=True)
    for finding in against[:_SHOWN]:
        yield f"       {finding.check}: {_where(finding)}{finding.message}"
    if len(against) > _SHOWN:
        yield f"       and {len(against) - _SHOWN} more"


def _size(error: float | None) -> tuple[bool, float]:
    """Return what errors are ordered by: NaN, which no number is, comes last."""
    return (error is not None and math.isnan(error), error or 0.0)


def _where(finding: Finding) -> str:
    step = f"step {finding.step}: " if finding.step is not None else ""
    return step + (f"{finding.tensor}: " if finding.tensor and finding.tensor not in finding.message else "")


def _count(verdict: Verdict) -> str:
    against = len(verdict.reasons)
    return f"{against} finding{'s' * (against != 1)} against it" if against else "nothing against it"
