"""Combine the updates of honest steps so that they lead to the stolen weights (Fang et al., section VII-2.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.vector import tensors, vector


@dataclass(frozen=True, slots=True)
class Rna(Attack):
    """Train for a round, then go to the combination of its updates that is nearest to W_T; and again.

    There are `rounds` to an epoch, or to the run if it is shorter. The combination is W + Σ c_i·g_i from the weights at
    which the round began, with `literal` Σ c_i·g_i as the paper prints it.

    Source: Fang et al., section VII-2.3 and Figure 8, after Regularized Nonlinear Acceleration (Scieur et al. 2016).
    Assumes that the judge takes the coefficients for settings of an optimizer. Expected: each round comes nearer, and
    none arrives; with `jump` the run ends in W_T. Replay by the rule that was claimed is off wherever a round ends.
    Costs an honest run, and a least-squares problem per round.
    """

    rounds: int = 10
    literal: bool = False
    jump: bool = False

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step as the update rule says, and end each round where no step led."""
        length = max(1, min(known.workload.epoch, known.steps) // self.rounds)
        path = [trainer.weights()]
        for step in range(known.steps):
            trainer.step([log.record(rows=known.rows(step))])
            path.append(trainer.weights())
            if len(path) > length:
                trainer.claim(self._ahead(known, trainer, path))
                path = [trainer.weights()]
        if self.jump:
            trainer.claim(known.weights)

    def _ahead(self, known: Known, trainer: Puppet, path: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        names = trainer.parameters
        states = torch.stack([vector(state, names) for state in path])
        origin = torch.zeros_like(states[0]) if self.literal else states[0]
        return tensors(combined(states, origin, vector(known.weights, names)), path[0], names)


def combined(states: Tensor, origin: Tensor, target: Tensor) -> Tensor:
    """Return the point origin + Σ c_i·g_i nearest to `target`, g_i the updates between `states`, shape (m + 1, n)."""
    updates = states.diff(dim=0).T
    coefficients: Tensor = torch.linalg.lstsq(updates, (target - origin)[:, None], driver="gelsd").solution[:, 0]
    return origin + updates @ coefficients
