"""Disturb a batch until its gradient is what an adversary wants, by double back-propagation (Zhang et al.)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from polarchive.attacks.puppet import Puppet
from polarchive.attacks.workload import Batch, Workload


@dataclass(frozen=True, slots=True)
class Disturbed:
    """Hold a batch, by how much its gradient misses what is wanted, ‖∇L − g‖², and how far it was moved, ‖r‖²."""

    batch: Batch
    gap: float
    moved: float


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Say how inputs x are changed by r: L-BFGS for so many iterations on ‖∇L(clamp(x + r)) − g‖² + `penalty` · ‖r‖².

    Inputs stay between `low` and `high`, and r is in units of that range: of pixels from 0 to 1, as in the literature.
    """

    iterations: int
    penalty: float
    low: float
    high: float

    @classmethod
    def of(cls, workload: Workload, iterations: int, penalty: float) -> "Disturbance":
        """Return one that leaves inputs in the range of the genuine ones."""
        low, high = workload.records[0].aminmax()
        return cls(iterations, penalty, float(low), float(high))

    def __call__(self, trainer: Puppet, batch: Batch, wanted: Mapping[str, Tensor] | None = None) -> Disturbed:
        """Return a batch whose gradient, where the trainer is, comes near to a wanted one by parameter (none: zero)."""
        noise = torch.zeros(batch[0].shape, dtype=batch[0].dtype, requires_grad=True)
        optimizer = torch.optim.LBFGS([noise], max_iter=self.iterations)

        def objective() -> Tensor:
            gradient = trainer.gradient(self._shown(batch, noise), create_graph=True)
            missed = _gap(gradient, wanted) + self.penalty * noise.square().sum()
            noise.grad = torch.autograd.grad(missed, noise)[0].contiguous()
            return missed.detach()

        optimizer.step(objective)  # type: ignore[no-untyped-call]
        found = noise.detach().nan_to_num()  # without a line search it may diverge
        shown = self._shown(batch, found)
        gap = float(_gap(trainer.gradient(shown), wanted))
        return Disturbed(shown, gap, float(found.square().sum()))

    def _shown(self, batch: Batch, noise: Tensor) -> Batch:
        moved = batch[0] + (self.high - self.low) * noise
        return (moved.clamp(self.low, self.high), *batch[1:])


def _gap(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor] | None) -> Tensor:
    missed = found.values() if wanted is None else [found[name] - wanted[name] for name in found]
    return torch.stack([each.square().sum() for each in missed]).sum()
