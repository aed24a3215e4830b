"""Walk to the stolen weights in steps that claim next to no learning rate (Fang et al., section VI-A)."""

from collections.abc import Sequence
from dataclasses import dataclass

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.paths import Way, straight
from polarchive.attacks.puppet import Puppet
from polarchive.training.trainer import State


@dataclass(frozen=True, slots=True)
class Infinitesimal(Attack):
    """Put states on a way to the victim's, and claim a learning rate so small that replay stands still.

    Source: Fang et al., section VI-A. Assumes that the judge takes the prover's learning rate, and that an update of
    the way is below its threshold. `path` need not be a line, which could be detected. Expected: passes `jia2021_full`
    where ‖W_T − W_0‖ / segments < δ; by the relative measure each segment is off by its whole update. Costs one
    interpolation per update.
    """

    rate: float = 1e-12
    path: Way = straight

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Claim a state of the way before each segment; no step is taken but one, for the names of momentum."""
        states = self.path(self._start(known, trainer), known.weights, known.segments)
        for step in range(known.steps):
            if step % known.every == 0:
                trainer.claim(next(states), lr=self.rate)
            batch = log.record(rows=known.rows(step))
            if step == 0:
                trainer.settle(batch)
        trainer.claim(known.weights)

    def _start(self, known: Known, trainer: Puppet) -> State:
        return trainer.weights()
