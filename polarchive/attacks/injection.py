"""Choose the momentum that a segment opens with, so that genuine steps lead wherever they should."""

from collections.abc import Sequence
from dataclasses import dataclass

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.landing import Levers, land, statistics
from polarchive.attacks.line import between
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet


@dataclass(frozen=True, slots=True)
class Injection(Attack):
    """Train, then open each of the last segments with a momentum that carries it to the next point of a line.

    Source: found here. Assumes SGD with momentum, and a judge who starts a segment from the recorded momentum and
    compares weights only. `pieces` segments are forged, none: all but the first, which starts without momentum. Each
    is replayed bit for bit from genuine data; only the last one's claim is rounded, whose opening statistics are chosen
    too. `rate` is the learning rate of
    these segments, none: the victim's; the fixed point converges where it is small, and always for segments of one
    step, after two evaluations. Expected: passes `jia2021_full` and `relative`; `strict` finds closing momentum which
    is not what the replay left.
    """

    pieces: int | None = None
    rate: float | None = 1e-3
    iterations: int = 20

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step for real; before each forged segment, replace what the optimizer keeps."""
        for step in range(known.steps):
            if step % known.every == 0 and step // known.every >= first_forged(known, self.pieces):
                trainer.claim(lr=self.rate or trainer.rate)
                aim(known, trainer, step, momentum_levers(trainer, known.every), self.iterations)
            trainer.step([log.record(rows=known.rows(step))])
        trainer.claim(known.weights)


def first_forged(known: Known, pieces: int | None) -> int:
    """Return the first segment to forge; state 0 keeps no momentum, so it is not the first of all."""
    return max(known.segments - (pieces or known.segments), 1)


def aim(known: Known, trainer: Puppet, step: int, levers: Levers, iterations: int) -> float:
    """Choose the state before `step` so that its segment ends in the next point of the way, and return the miss."""
    last = min(step + known.every, known.steps)
    left = known.segments - step // known.every
    goal = between(trainer.weights(), known.weights, 1 / left)
    batches = [known.batch(each) for each in range(step, last)]
    if last == known.steps:
        levers = {**levers, **statistics(trainer.model, len(batches))}
    return land(trainer, batches, goal, levers, iterations)


def momentum_levers(trainer: Puppet, steps: int) -> Levers:
    """Return by how much the opening momentum moves each weight in so many steps of SGD: −lr·Σ μ^j."""
    group = trainer.optimizer.param_groups[0]
    kept = sum(group["momentum"] ** power for power in range(1, steps + 1)) or 1.0
    moved = -group["lr"] * kept * (group["momentum"] if group["nesterov"] else 1.0)
    return {name: (f"optimizer/{name}/momentum_buffer", moved) for name in trainer.parameters}
