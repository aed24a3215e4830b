"""Hide weights behind numbers that are longer: counters, and batch statistics of glaring records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.line import between
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.training.trainer import State


@dataclass(frozen=True, slots=True)
class Counters(Attack):
    """Put weights on a line, and have all else be genuine: every step is taken, at a learning rate of 0.

    Source: found here. Assumes a judge who pools all tensors of a state in one norm: num_batches_tracked and Adam's
    step move by one a step, weights by far less. Expected: passes a pooled relative norm over all state where a piece
    of the way is below α times what counters move; fails any norm of weights alone.
    """

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Step where nothing moves but what counts, and move the weights before a state is recorded."""
        fresh = trainer.weights()
        trainer.claim(lr=0.0)
        for step in range(known.steps):
            move(known, trainer, fresh, step)
            trainer.step([log.record(rows=known.rows(step))])
        trainer.claim(known.weights)


@dataclass(frozen=True, slots=True)
class Glaring(Attack):
    """Do so on records that glare in every other segment, so that batch statistics move by any length.

    Source: found here. Assumes a judge who pools weights and batch statistics in one norm: what moves statistics is
    `times` as bright, and its square goes into the variance. Ends in the victim's parameters, with statistics of its
    own. Expected: passes a pooled relative norm over the model; fails one of weights alone, and any schema of what a
    camera gives.
    """

    fabricates: ClassVar[bool] = True

    times: float = 100.0

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Step where nothing moves but statistics, and move the weights before a state is recorded."""
        fresh = trainer.weights()
        trainer.claim(lr=0.0)
        for step in range(known.steps):
            move(known, trainer, fresh, step)
            images, *others = known.batch(step)
            bright = 1.0 if step // known.every % 2 else self.times
            trainer.step([log.record((images * bright, *others))])
        trainer.claim({name: known.weights[name] for name in trainer.parameters})


def move(known: Known, trainer: Puppet, fresh: State, step: int) -> None:
    """Claim parameters on the line from fresh ones to the victim's, where a segment begins."""
    if step % known.every == 0:
        goal = between(fresh, known.weights, step / known.steps)
        trainer.claim({name: goal[name] for name in trainer.parameters})
