"""Join the end of a victim's proof to a beginning of one's own."""

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
class Splice(Attack):
    """Train honestly for a share of the run, then go on with the victim's segments: one segment is bad.

    Source: found here. Assumes that the victim's proof and its data leaked. Expected: rejected wherever the
    segment of the junction is replayed, by every threshold; a sample misses that segment with 1 − q/n. Costs the share
    of an honest training that comes before.
    """

    needs_leak: ClassVar[bool] = True
    share: float = 0.5

    def bad(self, known: Known) -> int:
        """Return the segment that claims to lead from one's own training to the victim's."""
        return min(max(round(self.share * known.segments), 1), known.segments - 1) - 1

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Train up to the junction; the state there is the victim's."""
        junction = self.bad(known) + 1
        for step in range(junction * known.every):
            trainer.step([log.record(rows=known.rows(step))])
        leaked.again(known, trainer, log, junction)

    def record(self, known: Known, folder: Path, signer: note.Signer, challenge: Sequence[int] | None = None) -> None:
        """Take the victim's run id: its steps draw the random numbers that follow from it."""
        write(self, known, folder, signer, challenge, run=leaked.header(known).run)
