"""Make data that keeps replay in place, between states on a line from a start that only looks fresh (Zhang et al.)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from polarchive.attacks.attack import Attack
from polarchive.attacks.disturb import Disturbance, Disturbed
from polarchive.attacks.known import Known
from polarchive.attacks.line import between
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.ranked import ranked
from polarchive.attacks.workload import Batch


@dataclass(frozen=True, slots=True)
class SyntheticStart(Attack):
    """Put states on a line from a rank-matched start, and disturb each step's batch until its gradient vanishes.

    Source: Zhang et al. (2022), attack 2. Assumes a judge with a static threshold δ who tests at most the law of state
    0, and floats in a batch (8-bit images round the disturbance away). A disturbance is taken if ‖∇L‖² < `gap` and
    ‖r‖² < `moved`; else another batch is tried, and the best of `attempts` is taken. `rate` is the learning rate that
    is claimed, none: the victim's. Expected: passes `jia2021_full` where ‖W_T − W_0‖ / segments and what gradients
    remain are below δ; by the relative measure it is wrong everywhere. Costs `iterations` second-order gradients for
    each attempt at a step, of challenged segments only where the challenge is known.
    """

    seeded: ClassVar[bool] = False
    fabricates: ClassVar[bool] = True

    iterations: int = 10
    penalty: float = 1.0
    gap: float = 15.0
    moved: float = 20.0
    attempts: int = 30
    rate: float | None = 0.01

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Claim a state of the line before each segment, and take its steps, which hardly move."""
        first = ranked(trainer.weights(), known.weights)
        trainer.claim(lr=self.rate or trainer.rate)
        for segment in range(known.segments):
            steps = range(segment * known.every, min((segment + 1) * known.every, known.steps))
            trainer.claim(between(first, known.weights, segment / known.segments))
            if challenge is None or segment in challenge:
                for batch in self._data(known, trainer, steps):
                    trainer.step([log.record(batch)])
            else:
                _idle(known, trainer, log, steps)
        trainer.claim(known.weights)

    def _data(self, known: Known, trainer: Puppet, steps: range) -> Iterator[Batch]:
        """Yield the batch of each step, made where the steps before it have led."""
        for step in steps:
            rows = (known.workload.rows(known.seed + other, step) for other in range(self.attempts))
            yield self._still(known, trainer, map(known.workload.take, rows))

    def _still(self, known: Known, trainer: Puppet, batches: Iterator[Batch]) -> Batch:
        """Return the first of some batches whose gradient a small disturbance makes small, or the best there is."""
        disturb = Disturbance.of(known.workload, self.iterations, self.penalty)
        tried: list[Disturbed] = []
        for batch in batches:
            tried.append(disturb(trainer, batch))
            if tried[-1].gap < self.gap and tried[-1].moved < self.moved:
                return tried[-1].batch
        return min(tried, key=lambda each: each.gap).batch


def _idle(known: Known, trainer: Puppet, log: Log, steps: range) -> None:
    """Record genuine data for a segment that nobody will replay."""
    for step in steps:
        batch = log.record(rows=known.rows(step))
        if step == 0:
            trainer.settle(batch)
