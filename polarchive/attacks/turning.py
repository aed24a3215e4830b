"""Turn the momentum toward the victim while weights stand still, and spend it in one step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.line import norm
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.training.trainer import State

_HALF: Final = 0.5
_MOST: Final = 90  # segments: beyond some 120 halves the rate that spends momentum is no number in single precision


@dataclass(frozen=True, slots=True)
class Turning(Attack):
    """Steer what the optimizer keeps: dampening of 1 shuts gradients out, and a rate of 0 holds the weights.

    Source: found here. Assumes SGD, and a judge who takes the prover's settings within bounds and adds up residuals of
    weights alone. After `trained` segments each one halves the momentum, an update as long as what it ends in, and
    `share` of the tolerance turns each tensor of it toward what leads to the victim; less than half, since errors of
    two segments in a row add up. The last segment's first step takes it all, at the rate that fits. It takes some
    fifty segments; after fewer, the last jump is what is left. Ends in the victim's parameters, with batch statistics
    of its own, for data do as they are. Expected: a judge with a schedule, or who bounds the rate, rejects it.
    """

    trained: int = 1
    share: float = 0.45

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Train; turn, before each state is recorded; spend."""
        trained = max(self.trained, known.segments - _MOST)
        for step in range(trained * known.every):
            trainer.step([log.record(rows=known.rows(step))])
        ratio = norm(momenta(trainer)) / norm(ways(known, trainer))
        for segment in range(trained, known.segments):
            last = segment == known.segments - 1
            trainer.claim(lr=1 / (_HALF * ratio) if last else 0.0, momentum=_HALF, dampening=1.0, weight_decay=0.0)
            for step in range(segment * known.every, min((segment + 1) * known.every, known.steps)):
                trainer.step([log.record(rows=known.rows(step))])
                trainer.claim(lr=0.0, momentum=0.0)
            ratio *= _HALF
            self._turn(known, trainer, ratio)
        trainer.claim({name: known.weights[name] for name in trainer.parameters})

    def _turn(self, known: Known, trainer: Puppet, ratio: float) -> None:
        """Move each momentum toward `ratio` times the way from the victim."""
        kept, way = momenta(trainer), ways(known, trainer)
        share = self.share * known.rules.alpha
        trainer.claim({key(name): toward(kept[name], ratio * way[name], share) for name in way})


def toward(start: Tensor, goal: Tensor, share: float) -> Tensor:
    """Return the goal, or what lies a share of the length of `start` from it toward the goal, if that is nearer."""
    far, allowed = norm({"": goal - start}), share * norm({"": start})
    return goal if far <= allowed else start + (goal - start) * (allowed / far)


def ways(known: Known, trainer: Puppet) -> State:
    """Return the ways from the victim's parameters to those of the trainer: momentum leads against them."""
    own = trainer.view()
    return {name: own[name].detach() - known.weights[name] for name in trainer.parameters}


def momenta(trainer: Puppet) -> State:
    """Return the momentum of each parameter, by the parameter's name."""
    own = trainer.view()
    return {name: own[key(name)] for name in trainer.parameters}


def key(name: str) -> str:
    """Return the name of a parameter's momentum."""
    return f"optimizer/{name}/momentum_buffer"
