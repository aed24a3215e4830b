"""Pad a short training with steps that cost next to nothing, to the number that a proof is to have."""

from collections.abc import Sequence
from dataclasses import dataclass

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet


@dataclass(frozen=True, slots=True)
class Padding(Attack):
    """Train for a few steps, repeat a batch of a few records at a learning rate of 0, and jump at the end.

    Source: found here; it is what a count of steps alone would measure (Jia et al., section VI). Assumes a judge who
    takes steps for work. `share` of the steps are trained; the others take `records` records each, the same ones.
    Expected: every padded segment replays; every policy that replays the last one rejects the jump, and one that
    bounds records of a step from below, or changes of the rate, the padding too.
    """

    share: float = 0.25
    records: int = 2
    rate: float = 0.0

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step for real, most of them on next to nothing."""
        trained = round(self.share * known.steps)
        for step in range(known.steps):
            if step == trained:
                trainer.claim(lr=self.rate)
            rows = known.rows(step) if step < trained else known.rows(0)[: self.records]
            trainer.step([log.record(rows=rows)])
        trainer.claim(known.weights)
