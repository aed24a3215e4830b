"""Choose which genuine records to train on, so that updates lead to the stolen weights (Fang et al., section VII-2.1).

The idea of steering by order is of Shumailov et al. 2021, "Manipulating SGD with data ordering attacks".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.vector import vector


@dataclass(frozen=True, slots=True)
class Ordering(Attack):
    """Draw `pool` times as many records as a step takes, and train on those that lead nearest to W_T.

    They are tried in groups of `group`; with 1 each is tried alone, which is dear.

    Source: Fang et al., section VII-2.1. Assumes that some records lead there. Expected: the run is valid, for its data
    are genuine, and it ends elsewhere; with `jump` it ends in W_T, and its last segment is off by nearly all of its
    update. Costs 1 + `pool` times honest training, and more for the small batches that it tries.
    """

    pool: int = 4
    group: int = 8
    jump: bool = False

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step as the update rule says, on chosen records."""
        draws = torch.Generator().manual_seed(known.seed)
        size, batch = known.workload.size, known.workload.batch
        for _ in range(known.steps):
            groups = torch.split(torch.randperm(size, generator=draws)[: self.pool * batch], self.group)
            best = changes(known, trainer, groups).argsort(descending=True)
            rows = torch.cat([groups[place] for place in best])[:batch]
            trainer.step([log.record(rows=rows)])
        if self.jump:
            trainer.claim(known.weights)


def changes(known: Known, trainer: Puppet, groups: Iterable[Tensor]) -> Tensor:
    """Return how much nearer to W_T a step on each group of records alone would lead: float64, shape (n,).

    That is ‖W_T − W‖ − ‖W_T − W′‖ over all parameters, for a plain step W′ = W − lr·∇L. Groups are rows of the data; of
    one row each, this is what Figures 6, 10 and 11 show. Batch norm takes its statistics of the group.
    """
    names = trainer.parameters
    way = vector(known.weights, names) - vector(trainer.weights(), names)
    steps = (_step(known, trainer, rows) for rows in groups)
    return torch.stack([_change(way, vector(step, names)) for step in steps])


def _step(known: Known, trainer: Puppet, rows: Tensor) -> Mapping[str, Tensor]:
    gradient = trainer.gradient(known.workload.take(rows))
    return {name: -trainer.rate * tensor for name, tensor in gradient.items()}


def _change(way: Tensor, step: Tensor) -> Tensor:
    """Return ‖way‖ − ‖way − step‖; the difference of two like numbers is expanded, for it is small."""
    nearer: Tensor = (2 * way - step) @ step / (way.norm() + (way - step).norm())
    return nearer
