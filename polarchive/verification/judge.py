"""Judge under one policy what is replayed for several."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch

from polarchive.format.archive import Archive
from polarchive.training import stack
from polarchive.trust.demands import Seen
from polarchive.verification.case import Case
from polarchive.verification.drift import Drift
from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Finding
from polarchive.verification.plan import Plan
from polarchive.verification.policy import Policy
from polarchive.verification.residual import Way
from polarchive.verification.selections import odds_of
from polarchive.verification.tasks import Done, Task
from polarchive.verification.thresholds import replays_of
from polarchive.verification.verdict import Judged, Verdict


class Judge:
    """Follow one policy: ask for its own replays, hear what came of them, and come to a verdict."""

    def __init__(self, case: Case, policy: Policy, nonce: bytes, way: Way) -> None:
        self._case, self._policy, self._nonce = case, policy, nonce
        self._plan = Plan.of(case.archive, policy, nonce)
        self._drift = Drift(way, of=len(case.archive.segments))
        self._same_randomness = case.same_randomness
        self._own = replays_of(policy.threshold)
        self._wanted = {task.place for task in self.tasks}
        self._judged: list[Judged] = []
        self._obtained: dict[int, str] = {}
        self._stacks: list[Mapping[str, str]] = []

    @property
    def tasks(self) -> list[Task]:
        """Return what the policy's plan asks for."""
        alone = [Task(index, own=self._own) for index in self._plan.segments]
        return alone + [Task(index, 2, self._own) for index in self._plan.pairs]

    def hear(self, done: Done) -> None:
        """Judge what came of a task, if the policy asked for it."""
        evidence = done.evidence
        if done.place not in self._wanted:
            return
        self._judged.append(_judged(self._policy, replace(evidence, own=evidence.own[: self._own])))
        self._obtained |= done.obtained
        self._same_randomness &= evidence.same_randomness
        self._stacks += [done.stack] if done.stack not in self._stacks else []
        if done.residual is not None:
            self._drift.take(done.residual)

    def verdict(self, findings: Sequence[Finding], earlier: Iterable[str], seen: Seen | None) -> Verdict:
        """Return the verdict, given the findings on the archive as a whole."""
        archive, policy = self._case.archive, self._policy
        unexplained = replace(self._drift.found, same_randomness=self._same_randomness)
        whole = [finding for check in policy.of_whole for finding in check(unexplained)]
        return Verdict(
            archive=archive.digest,
            policy=str(policy),
            assumes=policy.assumes,
            unchecked=policy.unchecked,
            nonce=self._nonce,
            challenge=self._plan.challenge,
            segments=len(archive.segments),
            recorded_on=dict(archive.header.stack),
            replayed_on=_joined(self._stacks or [stack.describe([torch.device(self._case.device)])]),
            findings=(*findings, *whole),
            odds=odds_of(policy.selection, archive, self._plan.segments),
            judged=tuple(sorted((each for each in self._judged if each.in_a_row == 1), key=lambda each: each.index)),
            pairs=tuple(each for each in self._judged if each.in_a_row > 1),
            unexplained=unexplained,
            stored=_stored(archive),
            obtained=dict(sorted(self._obtained.items())),
            earlier=tuple(earlier),
            seen=seen,
            run=archive.header.run,
            signer=str(archive.header.key),
            heads=tuple(head.size for head in archive.heads),
        )


def _judged(policy: Policy, evidence: Evidence) -> Judged:
    measured = {each.tensor or "all": each for each in policy.threshold(evidence)}
    return Judged(
        index=evidence.segment,
        first=evidence.first,
        steps=evidence.steps,
        findings=policy.judge(evidence),
        errors={name: each.error for name, each in measured.items()},
        residual=evidence.residual,
        in_a_row=evidence.in_a_row,
        allowed={name: each.allowed for name, each in measured.items()},
    )


def _joined(stacks: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return one description of all machines that replayed, which says where they differ."""
    names = {name: None for each in stacks for name in each}
    return {name: " or ".join(sorted({each[name] for each in stacks if name in each})) for name in names}


def _stored(archive: Archive) -> int:
    return sum(map(archive.is_stored, range(len(archive.segments) + 1)))
