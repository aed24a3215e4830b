"""Train honestly: what every attack is measured against."""

from collections.abc import Sequence
from dataclasses import dataclass

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet


@dataclass(frozen=True, slots=True)
class Honest(Attack):
    """Train a model of one's own, as long as the victim did.

    Source: the protocol. Assumes nothing. Expected: accepted by every policy; the model is not the victim's.
    """

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step as the update rule says."""
        for step in range(known.steps):
            trainer.step([log.record(rows=known.rows(step))])
