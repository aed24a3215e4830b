"""Show a judge no data for what would not replay."""

from collections.abc import Sequence
from dataclasses import dataclass

from polarchive.attacks.attack import Attack
from polarchive.attacks.infinitesimal import Infinitesimal
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet


@dataclass(frozen=True, slots=True)
class Withheld(Attack):
    """Forge another spoof, and lose the data of its segments from `start` to `stop`; by default of all: go dark.

    Source: found here; a prover who answers no challenge at all is one who shows no batch. Assumes that a
    judge lets data be missing. Expected: rejected by every policy that replays one of these segments, which withheld
    data fail. Costs what the spoof costs.
    """

    spoof: Attack = Infinitesimal()  # noqa: RUF009
    start: int | None = None
    stop: int | None = None

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Commit to all data, then forget some."""
        self.spoof.forge(known, trainer, log, challenge)
        steps = range(known.steps)
        for segment in range(known.segments)[self.start : self.stop]:
            for step in steps[segment * known.every : (segment + 1) * known.every]:
                log.withhold(step)
