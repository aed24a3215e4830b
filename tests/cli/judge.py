"""Judge a tiny run from the command line: such a file is what a judge writes, apart from the functions that fail."""

import sys
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import polarchive as pol

Batch = tuple[Tensor, Tensor]


def batches(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 5, generator=generator), torch.randn(8, 2, generator=generator)


def build(header: object, device: str) -> pol.TorchTrainer:
    return with_weight(lambda: 1.0)


def with_weight(weight: Callable[[], float]) -> pol.TorchTrainer:
    """Return a trainer of a small network on a loss that is weighted."""
    model = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(fed: Iterable[Batch]) -> None:
        for inputs, targets in fed:
            optimizer.zero_grad()
            (weight() * F.mse_loss(model(inputs), targets)).backward()
            optimizer.step()

    return pol.TorchTrainer(step, model=model, optimizer=optimizer)


def build_with_undeclared_state(header: object, device: str) -> pol.TorchTrainer:
    """Count steps where no trainer sees it: a loop of this kind cannot be replayed from its middle."""
    seen: list[None] = []

    def weight() -> float:
        seen.append(None)
        return float(len(seen))

    return with_weight(weight)


def other_batches(step: int) -> Batch:
    return batches(step + 1)


def build_raising(header: object, device: str) -> pol.TorchTrainer:
    raise FileNotFoundError("no such model")


def build_that_steps_into_an_error(header: object, device: str) -> pol.TorchTrainer:
    return with_weight(lambda: 1 / len(""))


def build_that_exits(header: object, device: str) -> pol.TorchTrainer:
    sys.exit(0)


def batches_raising(step: int) -> Batch:
    raise KeyError(f"no batch\nof step {step}")


not_callable = 3
