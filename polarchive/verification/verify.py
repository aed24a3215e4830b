"""Judge an archive: check it as a whole, replay the selected segments, and say what was found."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from polarchive.format.archive import Archive
from polarchive.format.challenge import NONCE_SIZE, derive
from polarchive.training import stack
from polarchive.trust.demands import Seen
from polarchive.trust.trust import Trust
from polarchive.verification import showing
from polarchive.verification.case import Build, Case, States
from polarchive.verification.checks.demands import demands
from polarchive.verification.policy import Policy
from polarchive.verification.replay import replay
from polarchive.verification.selections import odds_of
from polarchive.verification.showing import Batches
from polarchive.verification.states import state
from polarchive.verification.verdict import Judged, Verdict

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """Say what a challenge asks for: segments in ascending order, and those of their states that are not stored."""

    challenge: bytes
    segments: list[int]
    states: list[int]

    @classmethod
    def of(cls, archive: Archive, policy: Policy, nonce: bytes) -> "Plan":
        """Return what a judge's 32 random bytes lead to, under a policy."""
        challenge = derive(archive.heads[-1].text, nonce)
        segments = policy.selection(archive, challenge)
        needed = sorted({end for index in segments for end in (index, index + 1)})
        return cls(challenge, segments, [index for index in needed if not archive.is_stored(index)])

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
    judged = list(_judged(case, policy, plan.order, progress))
    return Verdict(
        archive=archive.digest,
        policy=str(policy),
        nonce=nonce,
        challenge=plan.challenge,
        segments=len(archive.segments),
        recorded_on=dict(archive.header.stack),
        replayed_on=stack.describe([torch.device(device)]),
        findings=tuple(findings),
        odds=odds_of(policy.selection, archive, plan.segments),
        judged=tuple(sorted(judged, key=lambda each: each.index)),
        stored=sum(map(archive.is_stored, range(len(archive.segments) + 1))),
        obtained=dict(sorted(case.obtained.items())),
        earlier=tuple(earlier),
        seen=seen,
    )


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


def _judged(case: Case, policy: Policy, order: list[int], progress: Progress) -> Iterator[Judged]:
    for done, (index, following) in enumerate(pairwise([*order, None])):
        progress(done, len(order))
        if following is not None:
            case.showing.expect(case.archive.segments[following])
        assert index is not None
        evidence = replay(case, index)
        errors = {each.tensor or "all": each.error for each in policy.threshold(evidence)}
        yield Judged(index, evidence.first, evidence.steps, policy.judge(evidence), errors, evidence.residual)
    progress(len(order), len(order))
