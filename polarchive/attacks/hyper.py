"""Choose the settings of every step so that genuine steps lead toward the stolen weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.landing import after
from polarchive.attacks.line import norm
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.vector import vector
from polarchive.attacks.workload import Batch

_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Fitted(Attack):
    """Take at every step the learning rate and weight decay that lead nearest to the victim, then jump.

    Source: found here. Assumes a judge who takes the prover's settings: by least squares over the step's direction and
    the weights themselves, of any sign, or with `bounded` by the best rate above 0 alone. All steps but the last jump
    are genuine. Expected: it does not come near, for each step offers two directions of many; `strict` finds settings
    out of bounds, and in any case the jump.
    """

    bounded: bool = False
    lands: bool = True

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Look where each step would lead, set the settings, and take it."""
        for step in range(known.steps):
            self._fit(known, trainer, known.batch(step))
            trainer.step([log.record(rows=known.rows(step))])
        if self.lands:
            trainer.claim(known.weights)

    def _fit(self, known: Known, trainer: Puppet, batch: Batch) -> None:
        group, opening, names = trainer.optimizer.param_groups[0], trainer.save(), trainer.parameters
        decay = group["weight_decay"]
        trainer.claim(lr=1.0, weight_decay=decay if self.bounded else 0.0)
        moved = vector(after(trainer, opening, [batch]), names) - vector(opening, names)
        trainer.load(opening)
        way = vector(known.weights, names) - vector(opening, names)
        if self.bounded:
            trainer.claim(lr=max(float(moved @ way / (moved @ moved)), 0.0), weight_decay=decay)
        else:
            sides = torch.stack([moved, -vector(opening, names)], dim=1)
            rate, pull = torch.linalg.lstsq(sides, way).solution.tolist()
            trainer.claim(lr=rate, weight_decay=pull / rate)


@dataclass(frozen=True, slots=True)
class FarAndBack(Attack):
    """Train, throw the weights far out by a huge learning rate, take them back by a huge weight decay, and jump.

    Source: found here. Assumes a judge who allows α times an update, however long: both updates are `times` as long as
    the way that is jumped on return needs. SGD (weight decay in the gradient) and AdamW do. Expected: passes
    `relative`; `strict` bounds weight decay, and no update counts for more than the tensor it ends in.
    """

    times: float = 2.0

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Train but in the last two segments, which take one step each that counts."""
        back = (known.segments - 1) * known.every
        out = back - known.every
        for step in range(known.steps):
            if step == out:
                self._throw(known, trainer, known.batch(step))
            elif step == back:
                trainer.claim(lr=_TINY, weight_decay=1 / _TINY)
                shut(trainer)
            elif step > out:
                trainer.claim(lr=0.0, weight_decay=0.0)
            trainer.step([log.record(rows=known.rows(step))])
        trainer.claim(known.weights)

    def _throw(self, known: Known, trainer: Puppet, batch: Batch) -> None:
        """Set the rate at which one step goes so far that α of it is more than the length of the victim's weights."""
        opening, names = trainer.save(), trainer.parameters
        trainer.claim(lr=1.0)
        moved = vector(after(trainer, opening, [batch]), names) - vector(opening, names)
        trainer.load(opening)
        wanted = self.times * norm({name: known.weights[name] for name in names}) / known.rules.alpha
        trainer.claim(lr=wanted / float(moved.norm()))


def shut(trainer: Puppet) -> None:
    """Keep SGD from adding its momentum; other optimizers have no such setting."""
    if "momentum" in trainer.optimizer.param_groups[0]:
        trainer.claim(momentum=0.0)
