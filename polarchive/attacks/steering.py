"""Spend the tolerance of every segment on a direction: toward the stolen weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from torch import Tensor

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.line import norm
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.training.trainer import State

_ROUNDING = 0.999  # what float32 may take from a length


@dataclass(frozen=True, slots=True)
class Steering(Attack):
    """Train honestly, and end every segment a little nearer to the victim than training did.

    Source: found here. Assumes a judge who allows an error of α · min(‖g‖, ‖g'‖) on all weights (Lemma 2 of Fang et
    al.) or, with `by_tensor`, on each. `share` of what Known says of α is spent; `rate` is the learning rate, none: the
    victim's; with `lands` the last segment ends in the victim's weights, however far they are. Optimizer state and
    buffers are genuine. Expected: without `lands` passes `relative`, and by tensor the replay of `strict`, whose joint
    check finds that all residuals point one way. How near it comes is to be measured.
    """

    share: float = 0.95
    by_tensor: bool = True
    rate: float | None = None
    lands: bool = False

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step for real, and move before a state is recorded."""
        trainer.claim(lr=self.rate or trainer.rate)
        before = trainer.weights()
        for step in range(known.steps):
            if step and step % known.every == 0:
                before = self._steer(known, trainer, before)
            trainer.step([log.record(rows=known.rows(step))])
        self._steer(known, trainer, before)
        if self.lands:
            trainer.claim(known.weights)

    def _steer(self, known: Known, trainer: Puppet, before: State) -> State:
        alpha, weights = self.share * known.rules.alpha, trainer.weights()
        groups = [[name] for name in trainer.parameters] if self.by_tensor else [trainer.parameters]
        for names in groups:
            update = {name: weights[name] - before[name] for name in names}
            way = {name: known.weights[name] - weights[name] for name in names}
            part = share_of(update, way, alpha)
            weights.update({name: weights[name] + part * way[name] for name in names})
        trainer.claim(weights)
        return weights


def share_of(update: Mapping[str, Tensor], way: Mapping[str, Tensor], alpha: float) -> float:
    """Return how much of a way may be added to an update so that the error is α of the shorter of both updates."""
    length, far = norm(update), norm(way)
    if not far:
        return 0.0
    along = sum(float((update[name].double() * way[name].double()).sum()) for name in update) / far
    rest = 1 - alpha**2  # ρ² = α²(‖g‖² + 2ρ⟨g, u⟩ + ρ²), where the claimed update is the shorter one
    shorter = (alpha**2 * along + sqrt((alpha**2 * along) ** 2 + rest * (alpha * length) ** 2)) / rest
    return min(_ROUNDING * min(alpha * length, shorter) / far, 1.0)
