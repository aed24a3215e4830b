"""Train on from the stolen weights, and prove that (Fang et al., section IX)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet


@dataclass(frozen=True, slots=True)
class Tuning(Attack):
    """Begin at the stolen weights, with a fresh optimizer, and train honestly, at `slower` times the usual rate.

    Source: Fang et al., section IX. Assumes that a judge asks how a run went on, and not where it began. Expected:
    every segment replays, so policies that ask for weights only accept; strict ones come to no verdict on a state 0
    that nothing explains. The model behaves like the victim's. Costs an honest training, as short as one likes.
    """

    seeded: ClassVar[bool] = False
    function_space: ClassVar[bool] = True
    slower: float = 0.1

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step as the update rule says, from the stolen weights on."""
        trainer.claim(known.weights, lr=self.slower * trainer.rate)
        for step in range(known.steps):
            trainer.step([log.record(rows=known.rows(step))])
