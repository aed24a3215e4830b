"""Show the end of a victim's proof as if the run had begun there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from polarchive.attacks import leaked
from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet


@dataclass(frozen=True, slots=True)
class Cut(Attack):
    """Record the victim's segments from a share of its run on, and leave unexplained where the first state is from.

    Source: found here. Assumes that the victim's proof and its data leaked, and that steps draw no random
    numbers: they have other numbers here. Expected: every segment replays, so policies that ask for weights only
    accept; strict ones come to no verdict on a state 0 that nothing explains, and a dispute sees that it is a later
    state of the victim's. Costs no training.
    """

    seeded: ClassVar[bool] = False
    needs_leak: ClassVar[bool] = True
    share: float = 0.5

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Record the victim's later segments."""
        leaked.again(known, trainer, log, round(self.share * known.segments))
