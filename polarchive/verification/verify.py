"""Judge an archive: check it as a whole, replay the selected segments, and say what was found."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from polarchive.format.archive import Archive
from polarchive.format.challenge import NONCE_SIZE, derive, draw
from polarchive.training import stack
from polarchive.training.arrays import to_tensors
from polarchive.trust.demands import Seen
from polarchive.trust.trust import Trust
from polarchive.verification import showing
from polarchive.verification.case import Build, Case, States
from polarchive.verification.checks.demands import demands
from polarchive.verification.drift import Drift
from polarchive.verification.evidence import Evidence
from polarchive.verification.numerics import others
from polarchive.verification.policy import Policy
from polarchive.verification.replay import replay
from polarchive.verification.selections import odds_of
from polarchive.verification.showing import Batches
from polarchive.verification.states import state
from polarchive.verification.thresholds import replays_of
from polarchive.verification.verdict import Judged, Verdict

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """Say what a challenge asks for: segments in ascending order, and those of their states that are not stored.

    Of `pairs` each is a segment that is replayed together with the next one, both of which are asked for anyway.
    """

    challenge: bytes
    segments: list[int]
    states: list[int]
    pairs: list[int]

    @classmethod
    def of(cls, archive: Archive, policy: Policy, nonce: bytes) -> "Plan":
        """Return what a judge's 32 random bytes lead to, under a policy."""
        challenge = derive(archive.heads[-1].text, nonce)
        segments = policy.selection(archive, challenge)
        needed = sorted({end for index in segments for end in (index, index + 1)})
        followed = [index for index in segments if index + 1 in set(segments)]
        drawn = draw(challenge, len(followed), min(policy.in_a_row, len(followed)), "pairs")
        states = [index for index in needed if not archive.is_stored(index)]
        return cls(challenge, segments, states, [followed[place] for place in drawn])

    @property
    def order(self) -> list[int]:
        """Return the segments in the order of replay: else undeclared state would be carried on as recorded."""
        return [*self.segments[1::2], *self.segments[::2]]


def verify(
    archive: Archive,
    build: Build,
    batches: Batches,
    *,
    policy: Policy | None = None,
    trust: Trust | None = None,
    secret: bytes | None = None,
    states: States | None = None,
    device: str = "cpu",
    nonce: bytes | None = None,
    earlier: Iterable[str] = (),
    progress: Progress = lambda done, total: None,
) -> Verdict:
    """Return the verdict on an open archive.

    `build(header, device)` makes the judge's trainer; `batches(step)` shows the batch of a step as it was recorded (a
    list of them where gradients accumulate), in indexed mode `batches(step, rows)` those rows of the dataset; `secret`
    opens salted commitments. What a prover has sent is shown by `Sent`. `states(index)` shows a state that is not
    stored (None: it is withheld); without it such states are computed again, which on another machine may come out
    otherwise. `nonce` is the judge's 32 random bytes for this run: keep it, so that a retry repeats the challenge, and
    name `earlier` ones in the verdict. `trust` says whose stamps count, which witnesses, and what is demanded of them;
    it does not ask again who signed. `progress` is told the segments done and in all. Raises FormatError if the
    archive turns out broken, and what the judge's own code raises.
    """
    policy = policy or Policy()
    nonce = nonce or secrets.token_bytes(NONCE_SIZE)
    plan = Plan.of(archive, policy, nonce)
    case = Case.of(archive, build, showing.of(archive, batches, secret), device, states)
    seen = Seen.of(archive, trust) if trust else None
    findings = [finding for check in policy.of_archive for finding in check(archive)]
    findings += demands(seen) if seen else []
    findings += [finding for of_case in policy.of_case for finding in of_case(case)]
    first, final = (_weights(archive, index, device) for index in (0, -1))
    drift = Drift(first, final, case.same_randomness, len(archive.segments))
    judged = [_judged(policy, evidence) for evidence in replays(case, policy, plan, drift, progress)]
    findings += [finding for of_whole in policy.of_whole for finding in of_whole(drift.found)]
    return Verdict(
        archive=archive.digest,
        policy=str(policy),
        assumes=policy.assumes,
        unchecked=policy.unchecked,
        nonce=nonce,
        challenge=plan.challenge,
        segments=len(archive.segments),
        recorded_on=dict(archive.header.stack),
        replayed_on=stack.describe([torch.device(device)]),
        findings=tuple(findings),
        odds=odds_of(policy.selection, archive, plan.segments),
        judged=tuple(sorted((each for each in judged if each.in_a_row == 1), key=lambda each: each.index)),
        pairs=tuple(each for each in judged if each.in_a_row > 1),
        unexplained=drift.found,
        stored=sum(map(archive.is_stored, range(len(archive.segments) + 1))),
        obtained=dict(sorted(case.obtained.items())),
        earlier=tuple(earlier),
        seen=seen,
    )


def replays(case: Case, policy: Policy, plan: Plan, drift: Drift, progress: Progress) -> Iterator[Evidence]:
    """Yield the evidence on every segment of a plan, whose residuals are added to `drift`, then on every pair.

    A segment that could not be replayed alone is not tried again in a pair.
    """
    order, total = plan.order, len(plan.segments) + len(plan.pairs)
    numerics = others(case.device)[: replays_of(policy.threshold)]
    refused: set[int] = set()
    for done, (index, following) in enumerate(pairwise([*order, None])):
        progress(done, total)
        if following is not None:
            case.showing.expect(case.archive.segments[following])
        assert index is not None
        evidence = replay(case, index, numerics=numerics, drift=drift)
        if evidence.refused is not None:
            refused.add(index)
        yield evidence
    for done, index in enumerate(plan.pairs, len(order)):
        progress(done, total)
        if not refused & {index, index + 1}:
            yield replay(case, index, 2, numerics=numerics)
    progress(total, total)


def _judged(policy: Policy, evidence: Evidence) -> Judged:
    errors = {each.tensor or "all": each.error for each in policy.threshold(evidence)}
    findings = policy.judge(evidence)
    return Judged(
        evidence.segment, evidence.first, evidence.steps, findings, errors, evidence.residual, evidence.in_a_row
    )


def _weights(archive: Archive, index: int, device: str) -> dict[str, Tensor]:
    """Return a state on the device; nothing if it is not stored, as the last one of an unfinished run may not be."""
    if not archive.is_stored(index if index >= 0 else len(archive.segments)):
        return {}
    return {name: tensor.to(device) for name, tensor in to_tensors(archive.state(index)).items()}


def regenerate(
    archive: Archive,
    build: Build,
    batches: Batches,
    index: int,
    *,
    secret: bytes | None = None,
    device: str = "cpu",
) -> dict[str, Tensor]:
    """Return state `index`, which is committed by its root only, by training on from the last stored one before it.

    This is how a prover shows it to a judge who asks. OpeningError if it comes out otherwise: rounding differs on
    another machine, or with another number of threads.
    """
    return state(Case.of(archive, build, showing.of(archive, batches, secret), device), index)
