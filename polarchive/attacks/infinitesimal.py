"""Walk to the stolen weights in steps that claim next to no learning rate (Fang et al., section VI-A)."""

from collections.abc import Sequence
from dataclasses import dataclass

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.line import between
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet


@dataclass(frozen=True, slots=True)
class Infinitesimal(Attack):
    """Put states on a line, and claim a learning rate so small that replay stands still.

    Source: Fang et al., section VI-A. Assumes that the judge takes the prover's learning rate, and that an update of
    the line is below its threshold. Expected: passes `jia2021_full` where ‖W_T − W_0‖ / segments < δ; each segment of
    it is 100 % off by the relative measure. Costs one interpolation per update.
    """

    rate: float = 1e-12

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Claim a state on the line before each segment; no step is taken but one, for the names of momentum."""
        fresh = trainer.weights()
        for step in range(known.steps):
            if step % known.every == 0:
                trainer.claim(between(fresh, known.weights, step / known.steps), lr=self.rate)
            batch = log.record(rows=known.rows(step))
            if step == 0:
                trainer.settle(batch)
        trainer.claim(known.weights)
