"""Tell a decision, and what it rests on, to people and to programs."""

from collections.abc import Iterator
from typing import Any, Final

from polarchive.measures.kinship import Kinship
from polarchive.trust import telling
from polarchive.trust.timeline import Moment
from polarchive.verification.dispute.claim import Claim
from polarchive.verification.dispute.decision import Decision, Outcome
from polarchive.verification.dispute.facts import Facts
from polarchive.verification.plain import number

_SHOWN: Final = 6
_HEADLINES: Final = {
    Outcome.NEITHER: "neither claim stands",
    Outcome.ONLY: "only the claim of {} stands",
    Outcome.SAME: "one log, no dispute",
    Outcome.REWRITTEN: "the signer rewrote its log: neither claim counts",
    Outcome.UNRELATED: "two different models: both claims may stand",
    Outcome.DERIVED: "the other run builds on {}",
    Outcome.PRIOR: "the claim of {} is the earlier one",
    Outcome.UNDECIDED: "this cannot be decided",
}


def text(a: Claim, b: Claim, facts: Facts | None, decision: Decision) -> Iterator[str]:
    """Yield the lines of a report: the decision and its reasons, then each claim, then what both have in common."""
    yield f"{decision.outcome.upper()}: {_HEADLINES[decision.outcome].format(decision.favours)}"
    yield from (f"  because  {reason}" for reason in decision.because)
    yield from (f"  open     {question}" for question in decision.open)
    if decision.by_date:
        yield f"  by date alone, {decision.by_date} would be first"
    for claim in (a, b):
        yield from _claim(claim)
    if facts is not None:
        yield from _facts(a, b, facts)


def as_json(a: Claim, b: Claim, facts: Facts | None, decision: Decision) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    return {
        "outcome": decision.outcome.value,
        "favours": decision.favours,
        "by_date": decision.by_date,
        "because": list(decision.because),
        "open": list(decision.open),
        "claims": [_plain(claim) for claim in (a, b)],
        "kinship": _kin(facts.kinship) if facts else None,
        "shared_states": [
            {
                a.name: pair.a,
                b.name: pair.b,
                "first": pair.first,
                "times": [_when(a.existed(pair.a)), _when(b.existed(pair.b))],
            }
            for pair in facts.states
        ]
        if facts
        else [],
        "shared_batches": facts.batches if facts else None,
    }


def _claim(claim: Claim) -> Iterator[str]:
    yield f"{claim.name}"
    if claim.archive is None:
        yield f"  broken   {claim.broken}"
        return
    header, digest = claim.archive.header, claim.archive.digest
    yield f"  archive  {digest.hex() if digest else 'not sealed'}, run {header.run.hex()}, signed by {header.key.name}"
    report = claim.report
    told = (
        f"{report.verdict}, {report.replayed} of {report.segments} segments"
        if report and report.verdict
        else "none given"
    )
    yield f"  replay   {told}"
    if claim.seen is not None:
        yield from (f"  {line}" for line in telling.lines(claim.seen))


def _facts(a: Claim, b: Claim, facts: Facts) -> Iterator[str]:
    yield "in common"
    yield from (f"  weights  {line}" for line in _weights(facts.kinship))
    if facts.unfit:
        yield f"  weights  the symmetries do not fit: {facts.unfit}"
    yield f"  states   {len(facts.states)} of both, bit for bit (state 0 not counted)"
    for pair in facts.states[:_SHOWN]:
        who = f"{pair.first} first" if pair.first else "who was first is not known"
        yield f"           state {pair.a} of {a.name} is state {pair.b} of {b.name}: {who}"
    if len(facts.states) > _SHOWN:
        yield f"           and {len(facts.states) - _SHOWN} more"
    batches = "salted, so they cannot be compared" if facts.batches is None else f"{facts.batches} batch roots"
    yield f"  batches  {batches}"


def _weights(kin: Kinship) -> Iterator[str]:
    if kin.identical:
        yield "identical, bit for bit"
        return
    if kin.plain is None:
        yield "of another architecture"
    else:
        about = " (estimated from their norms)" if kin.estimated else ""
        noise = f", {kin.of_noise:.3g} times the replay noise" if kin.of_noise is not None else ""
        yield f"distance {kin.plain.distance:.4g}, {kin.plain.multiple:.3g} times d_ref{about}{noise}"
    if kin.aligned is not None:
        yield f"after aligning permutations and scales {kin.aligned.multiple:.3g} times what independent models are"
    else:
        yield "permutations and scales unchecked: no --symmetries, or none that fit"
    if kin.copied or kin.alike:
        yield f"{kin.copied:.0%} of the smaller one's matrices are in the other bit for bit, {kin.alike:.0%} nearly"


def _plain(claim: Claim) -> dict[str, Any]:
    archive = claim.archive
    return {
        "name": claim.name,
        "archive": archive.digest.hex() if archive and archive.digest else None,
        "run": archive.header.run.hex() if archive else None,
        "key": str(archive.header.key) if archive else None,
        "broken": claim.broken,
        "verdict": claim.verdict,
        "times": telling.as_json(claim.seen) if claim.seen else None,
    }


def _kin(kin: Kinship) -> dict[str, Any]:
    return {
        "identical": kin.identical,
        "near": kin.near(),
        "distance": number(kin.plain.distance) if kin.plain else None,
        "of_d_ref": number(kin.plain.multiple) if kin.plain else None,
        "d_ref_estimated": kin.estimated,
        "of_noise": number(kin.of_noise),
        "aligned_of_d_ref": number(kin.aligned.multiple) if kin.aligned else None,
        "copied": kin.copied,
        "alike": kin.alike,
    }


def _when(moment: Moment | None) -> list[str] | None:
    return [moment.earliest.isoformat(), moment.latest.isoformat()] if moment else None
