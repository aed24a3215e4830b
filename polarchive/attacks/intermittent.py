"""Train between segments that claim no learning rate, in which the run jumps toward the stolen weights."""

from collections.abc import Sequence
from dataclasses import dataclass

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.line import between
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet


@dataclass(frozen=True, slots=True)
class Intermittent(Attack):
    """Let every `period`-th segment, and the last, stand still by a learning rate of zero, and jump; train the others.

    Source: Fang et al., section VI-A, varied. Assumes that the judge takes the prover's learning rate, and a threshold
    above the jumps, which grow with the period. Expected: passes `jia2021_full` where a jump is below δ, and a judge
    who samples honest segments only; by the relative measure the still segments are infinitely wrong.
    """

    period: int = 2

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Train, with pauses; after each the state is a share of what is left of the way further on."""
        usual = trainer.rate
        still = [segment for segment in range(known.segments) if self._is_still(known, segment)]
        for step in range(known.steps):
            segment = step // known.every
            trainer.claim(lr=0.0 if segment in still else usual)
            trainer.step([log.record(rows=known.rows(step))])
            if segment in still and (step + 1) % known.every == 0:
                left = sum(each >= segment for each in still)
                trainer.claim(between(trainer.weights(), known.weights, 1 / left))
        trainer.claim(known.weights)

    def _is_still(self, known: Known, segment: int) -> bool:
        return segment % self.period == self.period - 1 or segment == known.segments - 1
