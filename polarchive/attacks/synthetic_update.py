"""Train, then make the data by which one last step should land on the stolen weights (attack 1 of Zhang et al.)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from polarchive.attacks.attack import Attack
from polarchive.attacks.disturb import Disturbance
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.training.trainer import State


@dataclass(frozen=True, slots=True)
class SyntheticUpdate(Attack):
    """Take all steps but one honestly, and disturb the data of the last one until it leads to the victim's weights.

    Source: Zhang et al. (2022), attack 1. Assumes SGD, and that gradients can be chosen by data; `rate` is the learning
    rate of the last step, none: the victim's. Expected: does not converge, so the last segment is rejected by every
    policy that replays it. Costs honest training and `iterations` second-order gradients of one batch.
    """

    fabricates: ClassVar[bool] = True

    iterations: int = 100
    penalty: float = 1.0
    rate: float | None = None

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Train, take the last step on data made for it, and claim that it landed."""
        last = known.steps - 1
        for step in range(last):
            trainer.step([log.record(rows=known.rows(step))])
        trainer.claim(lr=self.rate or trainer.rate)
        if challenge is None or last // known.every in challenge:
            disturb = Disturbance.of(known.workload, self.iterations, self.penalty)
            made = disturb(trainer, known.batch(last), landing(trainer, known.weights))
            trainer.step([log.record(made.batch)])
        else:
            trainer.step([log.record(rows=known.rows(last))])
        trainer.claim(known.weights)


def landing(trainer: Puppet, goal: State) -> State:
    """Return the gradient with which the next step of SGD without Nesterov's momentum leads to `goal`."""
    before = trainer.save()
    for parameter in trainer.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()  # momentum and decay go on without a gradient
    coasted = trainer.weights()
    trainer.load(before)
    return {name: (coasted[name] - goal[name]) / trainer.rate for name in trainer.parameters}
