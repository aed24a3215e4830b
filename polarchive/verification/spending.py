"""Say how far what an optimizer keeps can carry the weights: momentum is displacement that was not yet made."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor

from polarchive.format.entry import Hyper
from polarchive.training.values import SEPARATOR

State: TypeAlias = Mapping[str, Tensor]
_MOMENTUM, _FIRST, _SECOND, _COUNT = "momentum_buffer", "exp_avg", "exp_avg_sq", "step"
_EPS: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Spending:
    """Hold the settings that a run's optimizers could spend momentum under, the largest of all steps and groups.

    A momentum m adds −lr · m · μ / (1 − μ) to the weights from here on, and a first moment of Adam as much over √v̂. The
    rate that counts is the largest of the run, since momentum that is kept for it is spent at it.
    """

    rate: float = 0.0
    momentum: float = 0.0
    first: float = 0.0
    second: float = 0.0

    @classmethod
    def of(cls, hypers: Iterable[Hyper]) -> "Spending":
        """Return the settings of a run."""
        largest = {"lr": 0.0, "momentum": 0.0, "betas/0": 0.0, "betas/1": 0.0}
        for hyper in hypers:
            for name, value in hyper.items():
                key = SEPARATOR.join(name.split(SEPARATOR)[2:])
                if key in largest and value is not None:
                    largest[key] = max(largest[key], float(value))
        return cls(largest["lr"], largest["momentum"], largest["betas/0"], largest["betas/1"])

    def displacements(self, claimed: State, replayed: State) -> Iterator[tuple[str, Tensor]]:
        """Yield how far the weights will be carried by what is claimed of each momentum beyond what was replayed."""
        for name in sorted(claimed.keys() & replayed.keys()) if self.rate else ():
            own, key = claimed[name], name.rpartition(SEPARATOR)[2]
            if key in (_MOMENTUM, _FIRST) and own.shape == replayed[name].shape and own.is_floating_point():
                residual = own.double() - replayed[name].double()
                if residual.any():
                    yield name, residual * self._scale(name, key, claimed, replayed)

    def _scale(self, name: str, key: str, claimed: State, replayed: State) -> Tensor | float:
        if key == _MOMENTUM:
            return self.rate * _repeated(self.momentum)
        stem = name.removesuffix(_FIRST)
        seconds = [state[stem + _SECOND].double() for state in (claimed, replayed) if stem + _SECOND in state]
        if not seconds:
            return self.rate * _repeated(self.first)
        steps = float(claimed[stem + _COUNT]) if stem + _COUNT in claimed else torch.inf
        least = torch.stack(seconds).amin(0) / float(1 - self.second**steps)
        found: Tensor = (least.clamp(min=0).sqrt() + _EPS).reciprocal()
        return found * (self.rate * _repeated(self.first) / float(1 - self.first**steps))


def _repeated(momentum: float) -> float:
    """Return μ + μ² + …"""
    return momentum / (1 - momentum) if momentum < 1 else torch.inf
