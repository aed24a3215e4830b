"""Make the weights tiny, turn them toward the victim where a turn is short, and make them large again."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, prod
from typing import Final

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.line import norm
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.turning import toward

_RATE: Final = 1e-32  # so low that gradients come to nothing
_DECAY: Final = 1e28  # so high that momentum is all weights; their product is within any bound
_KEPT: Final = 0.5
_FORGOTTEN: Final = 1e-30


@dataclass(frozen=True, slots=True)
class Shrinking(Attack):
    """Scale all weights by momentum that holds nothing but weights, and spend the tolerance while they are tiny.

    Source: found here. Assumes SGD with momentum, segments of at least two steps, and a judge who takes the prover's
    settings within bounds step by step: weight decay fills the momentum at next to no learning rate, and the next step
    spends it at another, without decay. So a segment multiplies the weights by any factor below 1. The first makes
    them `tiny`; each of the others multiplies them by −1/2, an update longer than what it ends in, and `share` of the
    tolerance turns each tensor toward the victim's; the last one multiplies them to the victim's length. Ends in the
    victim's parameters, with batch statistics of its own. Expected: every segment replays within α; residuals add up
    to nothing, because they are as tiny as the weights. A judge with a schedule, or who bounds changes, rejects it.
    """

    tiny: float = 1e-4
    share: float = 0.45
    trained: int = 1

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Train for some segments, then scale in every one, and turn before its end is recorded."""
        for step in range(self.trained * known.every):
            trainer.step([log.record(rows=known.rows(step))])
        factors = self._factors(known, trainer)
        for index, factor in enumerate(factors):
            first = (self.trained + index) * known.every
            for step in range(first, min(first + known.every, known.steps)):
                scale(trainer, step - first, factor)
                trainer.step([log.record(rows=known.rows(step))])
            if index:
                self._turn(known, trainer, 1 / prod(factors[index + 1 :]))
        trainer.claim({name: known.weights[name] for name in trainer.parameters})

    def _factors(self, known: Known, trainer: Puppet) -> list[float]:
        """Return by what each segment multiplies the weights: all together, to the length of the victim's."""
        own = trainer.view()
        grown = norm({name: known.weights[name] for name in trainer.parameters})
        grown /= norm({name: own[name] for name in trainer.parameters})
        halves = [-0.5] * (known.segments - self.trained - 2)
        shrunk = self.tiny * prod(halves)
        return [-copysign(self.tiny, shrunk), *halves, -grown / abs(shrunk)]

    def _turn(self, known: Known, trainer: Puppet, scale: float) -> None:
        """Move each tensor toward the victim's, times `scale`, by a share of the tolerance."""
        weights, share = trainer.view(), self.share * known.rules.alpha
        names = trainer.parameters
        trainer.claim({name: toward(weights[name].detach(), known.weights[name] * scale, share) for name in names})


def scale(trainer: Puppet, place: int, factor: float) -> None:
    """Fill the momentum with weights in a segment's first step, spend it in the second, and stand still in others."""
    if place == 0:
        trainer.claim(lr=_RATE, weight_decay=_DECAY, momentum=_FORGOTTEN)
    elif place == 1:
        trainer.claim(lr=(1 - _RATE * _DECAY - factor) / (_KEPT * _DECAY), weight_decay=0.0, momentum=_KEPT)
    else:
        trainer.claim(lr=0.0, weight_decay=0.0, momentum=_KEPT)
