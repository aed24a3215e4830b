"""Begin with fresh numbers in the order of stolen ones, which no test of their law can see (Zhang et al.)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from polarchive.attacks.infinitesimal import Infinitesimal
from polarchive.attacks.known import Known
from polarchive.attacks.puppet import Puppet
from polarchive.training.trainer import State


def ranked(fresh: Mapping[str, Tensor], stolen: Mapping[str, Tensor]) -> State:
    """Return the numbers of each fresh tensor, the smallest where the stolen tensor has its smallest, and so on.

    Of all orders it is the nearest to the stolen weights. The numbers are what the builder draws, so that a
    Kolmogorov-Smirnov test on any tensor comes out as for an honest start; constant tensors stay as they are built.
    """
    return {name: _ranked(fresh[name], stolen[name]) for name in stolen}


def _ranked(fresh: Tensor, stolen: Tensor) -> Tensor:
    found = torch.empty_like(fresh).flatten()
    found[stolen.flatten().argsort(stable=True)] = fresh.flatten().sort().values
    return found.reshape(fresh.shape)


@dataclass(frozen=True, slots=True)
class RankedInfinitesimal(Infinitesimal):
    """Take the steps of `Infinitesimal` from a rank-matched start, so that the way is shorter.

    Source: Fang et al., Fig. 4, where the same start is that of attack 2 of Zhang et al. Assumes besides that the judge
    tests at most the law of an unexplained state 0. Expected: as `Infinitesimal`, at a smaller δ; `strict` also misses
    where state 0 comes from.
    """

    seeded: ClassVar[bool] = False

    def _start(self, known: Known, trainer: Puppet) -> State:
        return ranked(trainer.weights(), known.weights)
