"""Sign two logs of one run, and show the one that suits; data are to be committed once (Fang et al., section VIII)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polarchive.attacks.attack import Attack, write
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.format import note


@dataclass(frozen=True, slots=True)
class Equivocation(Attack):
    """Train honestly, in another order of the data for each `story`, all of them under one run id.

    Source: found here; Fang et al., section VIII, presume one commitment. Assumes that nobody holds two logs side
    by side. Expected: each log alone is accepted by every policy; a witness cosigns one of them only, and a dispute in
    which both appear finds that their signer's word is void. Costs an honest training per story.
    """

    story: int = 1

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Train as an honest prover does."""
        for step in range(known.steps):
            trainer.step([log.record(rows=known.workload.rows(known.seed + self.story, step))])

    def record(self, known: Known, folder: Path, signer: note.Signer, challenge: Sequence[int] | None = None) -> None:
        """Give every story the same run id."""
        write(self, known, folder, signer, challenge, run=known.seed.to_bytes(16, "big"))
