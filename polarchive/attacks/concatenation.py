"""Train honestly for a while, then jump to the stolen weights (Jia et al. 2021, "directed retraining")."""

from collections.abc import Sequence
from dataclasses import dataclass

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet


@dataclass(frozen=True, slots=True)
class Concatenation(Attack):
    """Put the stolen weights at the end of an honest run that is a `share` as long as the victim's.

    Source: Jia et al. 2021; Fang et al., Table III. Assumes that the judge does not replay the last segment. Expected:
    one segment is off by nearly its whole update, which is the largest of all, so that whoever replays the largest
    ones finds it. Costs `share` of honest training.
    """

    share: float = 0.25

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step as the update rule says; what the last one led to is replaced."""
        for step in range(max(1, round(self.share * known.segments)) * known.every):
            trainer.step([log.record(rows=known.rows(step))])
        trainer.claim(known.weights)
