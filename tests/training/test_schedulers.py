"""Go on with a run whose learning rate a scheduler sets, as README.md says to."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim import lr_scheduler as schedulers

import polarchive as pol
from tests.simulator import PROVER

STEPS, BROKEN_OFF = 20, 12
MAKE: dict[str, Callable[[Optimizer], Any]] = {
    "one cycle": lambda optimizer: schedulers.OneCycleLR(optimizer, max_lr=0.1, total_steps=40),
    "exponential": lambda optimizer: schedulers.ExponentialLR(optimizer, 0.9),
    "cosine": lambda optimizer: schedulers.CosineAnnealingLR(optimizer, 30),
    "lambda": lambda optimizer: schedulers.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "milestones": lambda optimizer: schedulers.MultiStepLR(optimizer, [8, 15]),
}


def train(folder: Path, make: Callable[[Optimizer], Any], until: int) -> dict[int, float]:
    """Train from where the run stands, and return the learning rate of each step; it ends only after all steps."""
    torch.manual_seed(0)
    model, rates = nn.Linear(3, 2), {}
    optimizer = AdamW(model.parameters())
    scheduler = make(optimizer)
    trainer = pol.TorchTrainer(model=model, optimizer=optimizer)
    with pol.Writer(folder, trainer, every=5, signer=PROVER, seed=0, resume=True, background=False) as log:
        if log.step:
            scheduler.last_epoch = log.step - 1
            scheduler.step()
        for step in range(log.step, until):
            batch = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
            log.record(batch)
            rates[step] = optimizer.param_groups[0]["lr"]
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
            scheduler.step()
        if until < STEPS:
            raise InterruptedError
    return rates


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("name", MAKE)
def test_a_scheduler_is_wound_on_to_where_a_run_goes_on(name: str, tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", MAKE[name], STEPS)
    with suppress(InterruptedError):
        train(tmp_path / "run", MAKE[name], BROKEN_OFF)
    rest = train(tmp_path / "run", MAKE[name], STEPS)
    assert 0 < min(rest) <= BROKEN_OFF and rest == {step: whole[step] for step in rest}
