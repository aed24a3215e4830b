"""Change one thing in the middle of a victim's proof, so that it is another one."""

from collections.abc import Sequence
from dataclasses import dataclass

from polarchive.attacks import leaked
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.resigned import Resigned


@dataclass(frozen=True, slots=True)
class Edit(Resigned):
    """Copy a leaked proof, but for the rate of one step, or the weights of one state, which are multiplied.

    Source: found here. Assumes that the victim's proof and its data leaked. Expected: rejected wherever the segment
    of the edit is replayed, if the edit exceeds the threshold; `Blurred` stays below it. Costs no training.
    """

    rate: float = 2.0
    weights: float = 1.0

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Edit the first step of the segment in the middle, and the state before it."""
        middle = known.segments // 2 * known.every

        def change(step: int) -> None:
            if step == middle:
                weights = trainer.weights()
                scaled = {name: self.weights * weights[name] for name in trainer.parameters}
                trainer.claim(scaled, lr=self.rate * trainer.rate)

        leaked.again(known, trainer, log, change=change)
