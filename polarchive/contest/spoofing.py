"""Have one attack forge one spoof, and every policy judge it."""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from polarchive.attacks.attack import Attack, Spent, forge
from polarchive.attacks.puppet import of_model
from polarchive.contest import precedence
from polarchive.contest.arena import ADVERSARY, VICTIM, Arena, emptied, key, signer
from polarchive.contest.chance import caught
from polarchive.contest.costing import counted
from polarchive.contest.protocol import Protocol
from polarchive.contest.records import fabricated
from polarchive.contest.rows import Match, Row, Spoof
from polarchive.errors import FormatError, OpeningError
from polarchive.format.archive import Archive, open_archive
from polarchive.measures.kinship import kinship
from polarchive.training.arrays import to_tensors
from polarchive.training.kept import kept
from polarchive.trust.keys import read_secret
from polarchive.verification.finding import Outcome
from polarchive.verification.policy import Policy
from polarchive.verification.selections import every
from polarchive.verification.verdict import REJECTED, Verdict
from polarchive.verification.verify import verify_all

NONCE: Final = bytes(32)  # of the contest's judge; the chances over all nonces are given beside what it drew
Progress = Callable[[int, int], None]
Policies = Mapping[str, Policy]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Take the segments of a challenge that was known before data were made."""

    segments: tuple[int, ...]

    def __call__(self, archive: Archive, challenge: bytes) -> list[int]:
        """Return the segments in ascending order."""
        return list(self.segments)


@dataclass(frozen=True, slots=True)
class Judgement:
    """Hold the verdict on what a challenge drew, that on all segments, and how likely what is wrong is met."""

    drawn: Verdict
    whole: Verdict
    caught: float


@dataclass(frozen=True, slots=True)
class Spoofing:
    """Hold one spoof to be made and judged; `challenge` is known before its data are made, None if it is not."""

    name: str
    attack: Attack
    arena: Arena
    challenge: tuple[int, ...] | None

    @property
    def folder(self) -> Path:
        """Return where the spoof is made."""
        return self.arena.folder / "spoofs" / self.name / ("committed" if self.challenge is None else "challenged")

    def met(self, policies: Policies, protocols: Collection[Protocol], progress: Progress) -> Match:
        """Forge, and have it judged."""
        spent = self._forged()
        made = [self._fabricated(step) for step in range(self.arena.workload.steps)]
        try:
            judgements = self._judged(policies, progress)
        except FormatError as error:
            return Match((self._spoof(spent, made, ()),), tuple(self._broken(policies, protocols, error)))
        rows = [row for name, each in judgements.items() for row in self._rows(name, each, made, protocols)]
        return Match((self._spoof(spent, made, judgements.values()),), tuple(rows))

    def _forged(self) -> Spent:
        """Forge, unless what this attack forged for this training is there: to judge it anew takes no forging."""
        known, note = self.arena.known, self.folder / "spent.json"
        of = [repr(self.attack), known.workload.told, repr(known.rules), known.seed, list(self.challenge or ())]
        if note.exists() and (told := json.loads(note.read_bytes()))["of"] == of:
            return Spent(told["flops"], told["seconds"])
        spent = forge(self.attack, known, emptied(self.folder), signer(ADVERSARY), self.challenge)
        self.arena.seal(self.folder)
        note.write_text(json.dumps({"of": of, "flops": spent.flops, "seconds": spent.seconds}))
        return spent

    def _judged(self, policies: Policies, progress: Progress) -> dict[str, Judgement]:
        """Replay all segments once, and have each policy judge those that it draws, and all."""
        drawn = [self._asking(policy) for policy in policies.values()]
        wholes = [policy if self.challenge else replace(policy, selection=every) for policy in drawn]
        with self._opened() as archive:
            verdicts = verify_all(
                archive,
                self.arena.workload.build,
                self._shown,
                policies=[*drawn, *wholes],
                secret=read_secret(self.folder / "run" / "secret"),
                nonce=NONCE,
                progress=progress,
            )
            pairs = zip(policies, drawn, verdicts, verdicts[len(drawn) :], strict=False)
            return {
                name: Judgement(one, whole, caught(archive, policy.selection, one, whole))
                for name, policy, one, whole in pairs
            }

    def _asking(self, policy: Policy) -> Policy:
        return policy if self.challenge is None else replace(policy, selection=Chosen(self.challenge))

    def _opened(self) -> Archive:
        return open_archive(self.folder / "run.pol", trusted=[key(ADVERSARY), key(VICTIM)])

    def _shown(self, step: int) -> object:
        return kept(self.folder / "batches", step)

    def _rows(
        self, policy: str, judgement: Judgement, made: Sequence[int], protocols: Collection[Protocol]
    ) -> Iterator[Row]:
        verdict = judgement.drawn
        row = _row(self.name, policy, verdict, judgement.caught)
        if self.challenge is not None:
            yield replace(row, protocol=Protocol.AT_CHALLENGE)
            return
        if Protocol.COMMITTED in protocols:
            yield row
        if Protocol.PUBLIC in protocols:
            yield _public(row, verdict, made)
        if Protocol.STAMPED in protocols and self.arena.authority:
            yield precedence.stamped(self.arena, self.folder / "run.pol", verdict, row)

    def _fabricated(self, step: int) -> int:
        """Return how many records of a step are not of the public set."""
        try:
            return fabricated(kept(self.folder / "batches", step), self.arena.genuine)
        except OpeningError:  # withheld
            return 0

    def _spoof(self, spent: Spent, made: Sequence[int], judgements: Collection[Judgement]) -> Spoof:
        arena, segments = self.arena, self.arena.workload.segments
        errors = {each.index: each.residual for judgement in judgements for each in judgement.whole.judged}
        return Spoof(
            attack=self.name,
            challenged=self.challenge is not None,
            lands=self._distance() / arena.reference.mean,
            flops=spent.flops,
            seconds=spent.seconds,
            passes=spent.flops / arena.forward,
            counted=counted(self.attack, arena.known, segments if self.challenge is None else len(self.challenge)),
            data=sum(made),
            errors={index: error / arena.reference.mean for index, error in sorted(errors.items())},
        )

    def _distance(self) -> float:
        """Return how far from the victim's weights the spoof ends, NaN where that cannot be told."""
        try:
            with self._opened() as archive:
                last = of_model(to_tensors(archive.state(-1)))
        except FormatError:
            return math.nan
        plain = kinship(last, self.arena.weights).plain
        return plain.distance if plain else math.nan

    def _broken(self, policies: Policies, protocols: Collection[Protocol], error: FormatError) -> Iterator[Row]:
        asked = [each for each in protocols if (each is Protocol.AT_CHALLENGE) == (self.challenge is not None)]
        yield from (
            Row(self.name, each, name, REJECTED, ("seal",), str(error), 1.0) for each in asked for name in policies
        )


def _public(row: Row, verdict: Verdict, made: Sequence[int]) -> Row:
    """Return the row of a judge who takes records of the public data set only."""
    steps = (step for each in verdict.judged for step in range(each.first, each.first + each.steps))
    odd = next((step for step in steps if made[step]), None)
    if odd is None:
        return replace(row, protocol=Protocol.PUBLIC)
    why = f"step {odd}: a record is none of the public data set"
    return replace(row, protocol=Protocol.PUBLIC, verdict=REJECTED, by=(*row.by, "public data"), why=row.why or why)


def _row(name: str, policy: str, verdict: Verdict, chance: float) -> Row:
    reasons = verdict.reasons
    pairs = {id(finding) for each in verdict.pairs for finding in each.findings}
    by = dict.fromkeys("pairs" if id(finding) in pairs else finding.check for finding in reasons)
    failed = [finding for finding in reasons if finding.outcome is Outcome.FAILED] or list(reasons)
    why = failed[0].message if failed else ""
    return Row(name, Protocol.COMMITTED, policy, verdict.result, tuple(by), why, chance)
