"""Train cheaply and jump: once, where all other segments are genuine, or in pieces no longer than honest updates."""

from collections.abc import Sequence
from dataclasses import dataclass

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.landing import Lever, after, land, statistics
from polarchive.attacks.line import between, distance
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet, of_model

_LONGER = 1.5  # how much an honest update is to exceed a piece, for training on leads away from the victim
_DOUBLINGS = 12
_FORGOTTEN = 1e-3  # statistics of which less is kept cannot be aimed


@dataclass(frozen=True, slots=True)
class Jump(Attack):
    """Train honestly, jump once at `place` of the run, and train honestly on into the victim's weights.

    Source: found here. Assumes a judge who replays some segments only. Training after the jump is genuine at `rate`;
    the jump aims to where that leads to the victim, by fixed point, so that one segment of all is false. Expected:
    sampling q of n segments misses it with 1 − q/n; every policy that replays all segments rejects it.
    """

    place: float = 0.5
    rate: float = 1e-4
    iterations: int = 12

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step for real; before one, put the weights elsewhere."""
        jump = known.every * min(max(round(self.place * known.segments), 1), known.segments - 1)
        for step in range(known.steps):
            if step == jump:
                trainer.claim(lr=self.rate)
                self._aim(known, trainer, step)
            trainer.step([log.record(rows=known.rows(step))])
        trainer.claim(known.weights)

    def _aim(self, known: Known, trainer: Puppet, step: int) -> float:
        left = statistics(trainer.model, known.steps - step)
        levers: dict[str, Lever] = {name: (name, 1.0) for name in trainer.parameters}
        levers |= {name: lever for name, lever in left.items() if lever[1] > _FORGOTTEN}
        trainer.claim({name: known.weights[name] for name in levers})
        batches = [known.batch(each) for each in range(step, known.steps)]
        return land(trainer, batches, known.weights, levers, self.iterations)


@dataclass(frozen=True, slots=True)
class Pieces(Attack):
    """Train honestly in the first segments of every epoch, and go on to the victim in pieces shorter than those.

    Source: found here; Fang et al., section VI-B, do so with fixed states. Assumes a judge who replays the `top`
    largest updates of an epoch: so many segments of it are trained, at a rate that is doubled until they are longer
    than what remains for each piece. Steps of the others are taken too, and overwritten but for counters. Expected:
    passes `jia2021_topq`; each piece is 100 % off by a relative measure.
    """

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Train or jump, segment by segment."""
        usual = trainer.rate
        for segment in range(known.segments):
            steps = range(segment * known.every, min((segment + 1) * known.every, known.steps))
            trainer.claim(lr=usual)
            goal = between(trainer.weights(), known.weights, 1 / pieces_left(known, segment))
            if is_trained(known, segment):
                lengthen(known, trainer, segment, steps)
            for step in steps:
                trainer.step([log.record(rows=known.rows(step))])
            if not is_trained(known, segment):
                trainer.claim({name: tensor for name, tensor in goal.items() if tensor.ndim})
        trainer.claim(known.weights)


def is_trained(known: Known, segment: int) -> bool:
    """Tell whether a segment is one of those that a judge of the largest updates is to find."""
    return segment % max(known.workload.epoch // known.every, 1) < known.rules.top


def pieces_left(known: Known, segment: int) -> int:
    """Return how many pieces there are from a segment on, at least one."""
    return max(sum(not is_trained(known, each) for each in range(segment, known.segments)), 1)


def lengthen(known: Known, trainer: Puppet, segment: int, steps: range) -> None:
    """Double the learning rate until the segment's update is longer than a piece of what is left after it."""
    opening, batches = trainer.save(), [known.batch(step) for step in steps]
    for _ in range(_DOUBLINGS):
        reached = of_model(after(trainer, opening, batches))
        if distance(opening, reached) > _LONGER * distance(reached, known.weights) / pieces_left(known, segment):
            break
        trainer.claim(lr=2 * trainer.rate)
    trainer.load(opening)
