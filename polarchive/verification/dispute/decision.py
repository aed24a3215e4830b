"""Decide between two claims, by rules that are applied in order; what they cannot decide is said.

A claim to a state dates from the first stamp over the segment that closes with it, in a log that replays.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from polarchive.trust.telling import interval
from polarchive.verification.dispute import logs
from polarchive.verification.dispute.claim import Claim
from polarchive.verification.dispute.facts import Facts
from polarchive.verification.dispute.logs import Relation

HALF: Final = 0.5  # of the matrices of a model: a new head on a copied body is a copy


class Outcome(StrEnum):
    """Name what a dispute comes to."""

    NEITHER = "neither"  # no claim stands
    ONLY = "only"  # one claim stands, the other does not
    SAME = "same"  # both archives hold one log
    REWRITTEN = "rewritten"  # one signer told two stories of one run
    UNRELATED = "unrelated"  # two models: both may stand
    DERIVED = "derived"  # one run begins with a later state of the other
    PRIOR = "prior"  # one model, and one claim to it is the earlier
    UNDECIDED = "undecided"  # one model, and nothing here decides


@dataclass(frozen=True, slots=True)
class Decision:
    """Hold an outcome, whom it favours, why, and what stays open.

    `by_date` names whose claim is dated earlier where that alone does not decide.
    """

    outcome: Outcome
    favours: str | None = None
    because: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    by_date: str | None = None

    @property
    def decided(self) -> bool:
        """Tell whether the dispute is settled."""
        return self.outcome is not Outcome.UNDECIDED


def decide(a: Claim, b: Claim, facts: Facts | None) -> Decision:
    """Return the decision on two claims; `facts` are None where one of the archives is no proof at all."""
    if facts is not None and facts.relation is not Relation.OTHER:
        return _one_run(facts)
    if not (a.stands and b.stands):
        return _standing(a, b)
    assert facts is not None
    if not is_related(facts):
        return _unrelated(facts)
    if (facts.from_a is None) != (facts.from_b is None):
        parent, child = (a, b) if facts.from_a is not None else (b, a)
        return _derived(parent, child, facts)
    return _copies(a, b, facts) if facts.states else _rivals(a, b, facts)


def is_related(facts: Facts) -> bool:
    """Tell whether two runs have a model in common: near last weights, parts of them, or states on the way."""
    near = facts.kinship.near() or max(facts.kinship.copied, facts.kinship.alike) >= HALF
    return near or bool(facts.states) or facts.from_a is not None or facts.from_b is not None


def _one_run(facts: Facts) -> Decision:
    if facts.relation is Relation.SAME:
        return Decision(Outcome.SAME, because=("both archives hold one log, of one signer",))
    why = f"one key signed two logs of one run, which differ from entry {facts.fork} on: its word for either is void"
    return Decision(Outcome.REWRITTEN, because=(why,))


def _standing(a: Claim, b: Claim) -> Decision:
    because = tuple(_fallen(claim) for claim in (a, b) if not claim.stands)
    if not (a.stands or b.stands):
        return Decision(Outcome.NEITHER, because=because)
    left = a if a.stands else b
    return Decision(Outcome.ONLY, left.name, because, tuple(_unreplayed(left)))


def _fallen(claim: Claim) -> str:
    return f"{claim.name} is no proof: {claim.broken or 'the judge replayed it and rejected it'}"


def _unreplayed(claim: Claim) -> Iterator[str]:
    if claim.verdict is None:
        yield f"whether the log of {claim.name} replays: no report on it was given (polarc verify --report)"
    elif not claim.replays:
        yield f"whether the log of {claim.name} is true: the judge's verdict on it is {claim.verdict}"


def _unrelated(facts: Facts) -> Decision:
    why = "the last weights are not near each other, and the runs have no state in common"
    unchecked = (
        ()
        if facts.kinship.aligned
        else ("whether one is a permuted or rescaled copy: no --symmetries were given, or none that fit",)
    )
    return Decision(Outcome.UNRELATED, because=(why,), open=(*unchecked, "whether one was distilled from the other"))


def _derived(parent: Claim, child: Claim, facts: Facts) -> Decision:
    state = facts.from_a if facts.from_a is not None else facts.from_b
    assert state is not None
    why = f"{child.name} starts from state {state} of {parent.name}, bit for bit"
    earlier = logs.first(parent, state, child, 0)
    if earlier == child.name:
        told = f"yet the first stamp of {child.name} is earlier than any over that state of {parent.name}"
        return Decision(Outcome.UNDECIDED, None, (why, told), tuple(_unreplayed(parent)), child.name)
    if not parent.replays:
        return Decision(Outcome.UNDECIDED, None, (why,), tuple(_unreplayed(parent)), earlier)
    return Decision(Outcome.DERIVED, parent.name, (why,), () if earlier else (_overlap(parent, state, child, 0),))


def _copies(a: Claim, b: Claim, facts: Facts) -> Decision:
    """Decide where one run holds states of the other, so that one of them was copied: who showed the first of them?

    Who had them in hand first may have stolen them; a log that was seen to grow was not taken whole.
    """
    why = f"{len(facts.states)} states of both are the same, bit for bit: one was copied from the other"
    told = next((pair for pair in facts.states if pair.first), None)
    if told is None:
        return _tie(a, facts.states[0].a, b, facts.states[0].b, why)
    later = sum(pair.first not in (None, told.first) for pair in facts.states)
    lead = Lead.of(a, told.a, b, told.b, told.first == a.name)
    theft = f"whether it was stolen before the other's first stamp: the log of {lead.leader.name} appeared all at once"
    split = f"{later} states after that have earlier stamps in the other log, which went on with what it had taken"
    return lead.decision((why, *([split] if later else [])), () if lead.leader.grew else (theft,))


def _rivals(a: Claim, b: Claim, facts: Facts) -> Decision:
    """Decide where two runs end near each other by different ways: whose end existed first?

    Short runs from one public seed end near each other without theft (measured: ResNet-20, within 0.1 of d_ref for some
    ten steps).
    """
    assert a.archive is not None and b.archive is not None
    i, j = len(a.archive.segments), len(b.archive.segments)
    why = "both end in one model, or near it, by ways that have no state in common"
    first = logs.first(a, i, b, j)
    if first is None:
        return _tie(a, i, b, j, why)
    honest = facts.same_start and not facts.kinship.identical
    doubt = (
        ("whether they are near only because both start from one state, as that of a public seed",) if honest else ()
    )
    return Lead.of(a, i, b, j, first == a.name).decision((why,), doubt)


@dataclass(frozen=True, slots=True)
class Lead:
    """Say whose claim to a state is dated earlier: that of `leader`, to its state `mine`."""

    leader: Claim
    mine: int
    other: Claim
    theirs: int

    @classmethod
    def of(cls, a: Claim, i: int, b: Claim, j: int, forward: bool) -> "Lead":
        """Return the lead of A if `forward`, of B if not."""
        return cls(a, i, b, j) if forward else cls(b, j, a, i)

    def decision(self, because: tuple[str, ...], doubts: tuple[str, ...] = ()) -> Decision:
        """Decide for who was first, if the judge accepted that log and no doubt is left."""
        name, open_questions = self.leader.name, (*_unreplayed(self.leader), *doubts)
        because = (*because, self._dated())
        if open_questions:
            return Decision(Outcome.UNDECIDED, None, because, open_questions, name)
        return Decision(Outcome.PRIOR, name, (*because, f"the log of {name} replays"))

    def _dated(self) -> str:
        mine, theirs = self.leader.existed(self.mine), self.other.existed(self.theirs)
        assert mine is not None
        rest = f"{self.other.name} at {interval(theirs)}" if theirs else f"{self.other.name} shows no time at all"
        return f"{self.leader.name} is first seen with it at {interval(mine)}, {rest}"


def _tie(a: Claim, i: int, b: Claim, j: int, why: str) -> Decision:
    return Decision(Outcome.UNDECIDED, None, (why,), (_overlap(a, i, b, j),))


def _overlap(a: Claim, i: int, b: Claim, j: int) -> str:
    mine, theirs = a.existed(i), b.existed(j)
    if mine is None or theirs is None:
        return "who was first: neither claim has a stamp that counts"
    return f"who was first: {interval(mine)} and {interval(theirs)} overlap"
