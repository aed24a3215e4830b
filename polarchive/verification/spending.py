"""Say how far what an optimizer keeps will carry the weights: momentum is displacement that was not yet made."""

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Final, TypeAlias

import torch
from torch import Tensor

from polarchive.format.entry import Hyper
from polarchive.training.values import SEPARATOR

State: TypeAlias = Mapping[str, Tensor]
_MOMENTUM, _FIRST, _SECOND = "momentum_buffer", "exp_avg", "exp_avg_sq"
_TINY: Final = 1e-30


@dataclass(frozen=True, slots=True)
class Spending:
    """Hold what becomes of each number that an optimizer keeps, by the steps that follow a boundary of steps.

    - `momentum`: a momentum m before step s adds −m · c_s to the weights, c_s = μ_s (lr_s + c_{s+1}); so what is never
      spent counts for nothing, and what is cannot be hidden;
    - `first`: a first moment of Adam adds as much over √v, with β₁ / √β₂ for μ, by which m / √v fades if gradients do;
    - `rate`: the largest rate from here on, at which a second moment that is too small makes one step too long.

    Of several groups the largest settings are taken. `corrected` is β₁, for bias, `least` 1 − β₂, `eps` the smallest.
    """

    momentum: Sequence[float] = ()
    first: Sequence[float] = ()
    rate: Sequence[float] = ()
    corrected: float = 0.0
    least: float = 1.0
    eps: float = _TINY

    @classmethod
    def of(cls, hypers: Iterable[Hyper]) -> "Spending":
        """Return what the settings of a run's steps, in order, lead to."""
        steps, eps = [], math.inf
        for hyper, same in groupby(hypers):  # settings seldom change from one step to the next
            settings = (_most(hyper, "lr"), _most(hyper, "momentum"), _most(hyper, "betas/0"), _most(hyper, "betas/1"))
            steps += [settings for _ in same]
            eps = min([eps, *(float(value or 0.0) for name, value in hyper.items() if name.endswith("/eps"))])
        back = steps[::-1]
        momentum, first = (array("d", accumulate(back, _carried(index), initial=0.0))[::-1] for index in (0, 1))
        rates = array("d", accumulate((step[0] for step in back), max, initial=0.0))[::-1]
        corrected, second = (max((step[place] for step in steps), default=0.0) for place in (2, 3))
        return cls(momentum, first, rates, corrected, 1 - second, max(eps, _TINY) if eps < math.inf else _TINY)

    def displacements(self, step: int, claimed: State, replayed: State) -> Iterator[tuple[str, Tensor]]:
        """Yield how far weights are carried from `step` on by what is claimed of each momentum and was not replayed."""
        for name, own, other in _pairs(claimed, replayed, (_MOMENTUM, _FIRST)) if step < len(self.rate) else ():
            residual = own - other
            if residual.any():
                yield name, residual * self._scale(name, step, claimed, replayed)

    def stretched(self, step: int, claimed: State, replayed: State) -> float:
        """Return the squared length of what second moments that are off can add to one step, whatever its direction."""
        total = 0.0
        for _, own, other in _pairs(claimed, replayed, (_SECOND,)) if step < len(self.rate) else ():
            if not torch.equal(own, other):
                gains = [self._gain(tensor, other) for tensor in (own, other)]
                total += torch.sum((self.rate[step] * (gains[0] - gains[1])) ** 2).item()
        return total

    def _gain(self, second: Tensor, usual: Tensor) -> Tensor:
        """Return how long a step is by a second moment, where by the usual one it is 1; its own gradient bounds it."""
        root = usual.clamp(min=0).sqrt()
        return (root + self.eps) / (second.clamp(min=0).sqrt() + math.sqrt(max(self.least, 0.0)) * root + self.eps)

    def _scale(self, name: str, step: int, claimed: State, replayed: State) -> Tensor | float:
        if name.endswith(_MOMENTUM):
            return self.momentum[step]
        stem = name.removesuffix(_FIRST)
        second = stem + _SECOND
        pairs = _pairs({second: claimed[second]}, replayed, (_SECOND,)) if second in claimed else ()
        seconds = [tensor for _, *both in pairs for tensor in both]
        bias = max(1 - self.corrected ** max(step, 1), _TINY)
        if not seconds or seconds[0].shape != claimed[name].shape:
            return self.first[step] / bias
        found: Tensor = (torch.minimum(seconds[0], seconds[1]).clamp(min=0).sqrt() + self.eps).reciprocal()
        return found * (self.first[step] / bias)


def _pairs(claimed: State, replayed: State, kinds: Sequence[str]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the tensors of some kinds that both states have alike; others are misfits, which are findings."""
    for name in sorted(claimed.keys() & replayed.keys()):
        own, other = claimed[name], replayed[name]
        kind = name.rpartition(SEPARATOR)[2]
        if kind in kinds and (own.shape, own.dtype) == (other.shape, other.dtype) and own.is_floating_point():
            yield name, own.double(), other.double()


def _carried(index: int) -> Callable[[float, tuple[float, float, float, float]], float]:
    """Return the step back in time of momentum (0), or of a first moment (1)."""

    def carried(after: float, step: tuple[float, float, float, float]) -> float:
        rate, momentum, first, second = step
        fades = momentum if index == 0 else first / math.sqrt(max(second, _TINY))
        return fades * (rate + after)

    return carried


def _most(hyper: Hyper, key: str) -> float:
    found = (float(value or 0.0) for name, value in hyper.items() if SEPARATOR.join(name.split(SEPARATOR)[2:]) == key)
    return max(found, default=0.0)
