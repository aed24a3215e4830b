"""Record the victim's own proof again, under a key of one's own (Fang et al., section VIII-B)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from polarchive.attacks import leaked
from polarchive.attacks.attack import Attack, write
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.format import note


@dataclass(frozen=True, slots=True)
class Resigned(Attack):
    """Copy a leaked proof: every state, setting and batch, and the run's id, from which the seeds of steps follow.

    Source: the replay attack of Fang et al., section VIII-B. Assumes that the proof and its data leaked, which section
    III denies. Expected: accepted by every policy, for it is a true training run; whose it was, only stamps tell, in a
    dispute. Backdating is this attack with stamps of a clock that the judge does not believe. Costs no training.
    """

    needs_leak: ClassVar[bool] = True

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Record what the victim recorded."""
        leaked.again(known, trainer, log)

    def record(self, known: Known, folder: Path, signer: note.Signer, challenge: Sequence[int] | None = None) -> None:
        """Claim the victim's seed, and its run id: nothing ties an id to a key."""
        victim = leaked.header(known)
        write(self, known, folder, signer, challenge, seed=victim.initial.seed, run=victim.run)
