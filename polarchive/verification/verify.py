"""Judge an archive: check it as a whole, replay the selected segments, and say what was found."""

import secrets
from collections.abc import Callable

import torch
from torch import Tensor

from polarchive.format.archive import Archive
from polarchive.format.challenge import NONCE_SIZE, derive
from polarchive.training import stack
from polarchive.verification.case import Batches, Build, Case, States
from polarchive.verification.policy import Policy
from polarchive.verification.replay import replay
from polarchive.verification.selections import Sample
from polarchive.verification.states import state
from polarchive.verification.verdict import Judged, Verdict

Progress = Callable[[int, int], None]


def verify(
    archive: Archive,
    build: Build,
    batches: Batches,
    *,
    policy: Policy | None = None,
    secret: bytes | None = None,
    states: States | None = None,
    device: str = "cpu",
    nonce: bytes | None = None,
    progress: Progress = lambda done, total: None,
) -> Verdict:
    """Return the verdict on an open archive.

    `build(header, device)` makes the judge's trainer; `batches(step)` shows the batch of a step as it was recorded (a
    list of them where gradients accumulate), in indexed mode `batches(step, rows)` those rows of the dataset; `secret`
    opens salted commitments. `states(index)` shows a state that is not stored (None: it is withheld); without it such
    states are computed again, which on another machine may come out otherwise. `nonce` is the judge's 32 random bytes
    for this run: keep it, so that a retry repeats the challenge. `progress` is told the segments done and in all.
    Raises FormatError if the archive turns out broken, and what the judge's own code raises.
    """
    policy = policy or Policy()
    nonce = nonce or secrets.token_bytes(NONCE_SIZE)
    challenge = derive(archive.heads[-1].text, nonce)
    case = Case.of(archive, build, batches, secret, device, states)
    findings = [finding for check in policy.of_archive for finding in check(archive)]
    findings += [finding for of_case in policy.of_case for finding in of_case(case)]
    chosen = policy.selection(archive, challenge)
    judged = []
    for done, index in enumerate([*chosen[1::2], *chosen[::2]]):  # else undeclared state is carried on as recorded
        progress(done, len(chosen))
        evidence = replay(case, index)
        errors = {each.tensor or "all": each.error for each in policy.threshold(evidence)}
        judged.append(Judged(index, evidence.first, evidence.steps, policy.judge(evidence), errors))
    progress(len(chosen), len(chosen))
    return Verdict(
        archive=archive.digest,
        policy=str(policy),
        nonce=nonce,
        challenge=challenge,
        segments=len(archive.segments),
        recorded_on=dict(archive.header.stack),
        replayed_on=stack.describe([torch.device(device)]),
        findings=tuple(findings),
        odds=policy.selection.odds(len(archive.segments)) if isinstance(policy.selection, Sample) else None,
        stored=sum(map(archive.is_stored, range(len(archive.segments) + 1))),
        obtained=dict(sorted(case.obtained.items())),
        judged=tuple(sorted(judged, key=lambda each: each.index)),
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
    return state(Case.of(archive, build, batches, secret, device), index)
