"""Describe a training that is to be proved or forged: model, optimizer, loss and data, which are all public."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import Parameter
from torch.optim import Optimizer

from polarchive.training.trainer import TorchTrainer

Batch: TypeAlias = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """Hold a training: `steps` steps on batches of `batch` records, of which a state is recorded `every` so often.

    `records` holds all data, record by record along the first dimension of each tensor, as they are fed to the model;
    the first tensor is the input, in floats if attacks are to change it. `loss(model, batch)` returns a scalar that can
    be differentiated twice. One step is one update of `optimizer(parameters)` on one batch.
    """

    name: str
    model: Callable[[], nn.Module]
    optimizer: Callable[[Iterable[Parameter]], Optimizer]
    loss: Callable[[nn.Module, Batch], Tensor]
    records: Batch
    batch: int
    every: int
    steps: int

    def build(self, header: object, device: str) -> TorchTrainer:
        """Return the judge's trainer; the judge sets the seed before."""
        model = self.model().to(device)
        optimizer = self.optimizer(model.parameters())

        def step(fed: Iterable[Batch]) -> None:
            for batch in fed:
                optimizer.zero_grad()
                self.loss(model, tuple(part.to(device) for part in batch)).backward()  # type: ignore[no-untyped-call]
                optimizer.step()

        return TorchTrainer(step, model=model, optimizer=optimizer)

    @property
    def told(self) -> str:
        """Return the training in words."""
        return f"{self.name}: {self.steps} steps of {self.batch} out of {self.size}, a state every {self.every}"

    @property
    def size(self) -> int:
        """Return the number of records."""
        return len(self.records[0])

    @property
    def epoch(self) -> int:
        """Return the number of steps of an epoch; what is left of a batch at its end is dropped."""
        return max(self.size // self.batch, 1)

    @property
    def segments(self) -> int:
        """Return the number of segments of a whole run."""
        return -(-self.steps // self.every)

    def rows(self, seed: int, step: int) -> Tensor:
        """Return which records step `step` of an honest run takes, whose order `seed` determines: shape (batch,)."""
        epoch, place = divmod(step, self.epoch)
        return _order(seed, epoch, self.size)[place * self.batch : (place + 1) * self.batch]

    def take(self, rows: Tensor) -> Batch:
        """Return the records at `rows` as a batch."""
        return tuple(part[rows] for part in self.records)


@lru_cache(maxsize=8)
def _order(seed: int, epoch: int, size: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
