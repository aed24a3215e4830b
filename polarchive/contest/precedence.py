"""Ask stamps whose claim came first, where a spoof ends in the victim's model (Fang et al., section VIII-B)."""

from dataclasses import replace
from pathlib import Path

from polarchive.contest.arena import ADVERSARY, VICTIM, Arena, key
from polarchive.contest.protocol import Protocol
from polarchive.contest.rows import Row
from polarchive.trust.trust import Authority, Trust
from polarchive.verification.dispute.claim import Claim, Report
from polarchive.verification.dispute.decision import Decision, Outcome, decide
from polarchive.verification.dispute.facts import Facts
from polarchive.verification.verdict import ACCEPTED, INCONCLUSIVE, REJECTED, Verdict

CHECK = "precedence"


def stamped(arena: Arena, spoof: Path, verdict: Verdict, row: Row) -> Row:
    """Return the row of a spoof that meets the victim's proof, both stamped, in a dispute.

    The victim's replayed: it trained honestly, and the contest says so of every policy beside. A spoof that a policy
    refuses anyway has nothing to dispute.
    """
    if verdict.result != ACCEPTED:
        return replace(row, protocol=Protocol.STAMPED)
    decision = _decided(arena, spoof, verdict)
    result = _result(decision)
    by = () if result == ACCEPTED else (CHECK,)
    return replace(row, protocol=Protocol.STAMPED, verdict=result, by=by, why=_why(decision), caught=float(bool(by)))


def _decided(arena: Arena, spoof: Path, verdict: Verdict) -> Decision:
    assert arena.authority is not None
    believed = Authority("contest", arena.authority.certificates)
    trust = Trust((key(VICTIM), key(ADVERSARY)), (believed,))
    digest = verdict.archive.hex() if verdict.archive else ""
    reports = [Report(digest, ACCEPTED, len(verdict.judged), verdict.segments, None)]
    reports.append(Report(_digest(arena), ACCEPTED, verdict.segments, verdict.segments, None))
    ours = Claim.of("the victim", arena.victim / "run.pol", trust, reports)
    theirs = Claim.of("the adversary", spoof, trust, reports)
    try:
        whole = ours.archive is not None and theirs.archive is not None
        facts = Facts.of(ours, theirs, None, arena.reference.mean) if whole else None
        return decide(ours, theirs, facts)
    finally:
        for claim in (ours, theirs):
            if claim.archive is not None:
                claim.archive.close()


def _digest(arena: Arena) -> str:
    with arena.open("victim") as archive:
        return archive.digest.hex() if archive.digest else ""


def _result(decision: Decision) -> str:
    if decision.outcome in (Outcome.UNRELATED, Outcome.ONLY) or decision.favours == "the adversary":
        return ACCEPTED
    return INCONCLUSIVE if decision.outcome is Outcome.UNDECIDED else REJECTED


def _why(decision: Decision) -> str:
    return f"{decision.outcome.value}: {'; '.join((*decision.because, *decision.open))}"
