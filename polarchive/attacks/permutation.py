"""Claim the stolen model with its hidden units in another order: other weights, the same function."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from polarchive.attacks.attack import Attack
from polarchive.attacks.infinitesimal import Infinitesimal
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.measures.symmetry import Group, apply
from polarchive.training.trainer import State


@dataclass(frozen=True, slots=True)
class Permutation(Attack):
    """Permute the units of the stolen model, and forge a proof of that model instead, by another spoof.

    Source: Fang et al., section IX, for models that are one function; `groups` are the symmetries of the workload's
    model (`polarchive.measures.symmetry`), without which nothing is permuted. Assumes that a copy is known by its
    weights. Expected: judged as the spoof is; the last weights are as far from the victim's as another model's, and
    a dispute that is told the symmetries undoes the order. Costs what the spoof costs.
    """

    function_space: ClassVar[bool] = True
    groups: tuple[Group, ...] = ()
    spoof: Attack = Infinitesimal()  # noqa: RUF009

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Forge a proof of the permuted weights."""
        weights = permuted(known.weights, self.groups, known.seed)
        self.spoof.forge(replace(known, weights=weights), trainer, log, challenge)


def permuted(state: State, groups: Sequence[Group], seed: int) -> State:
    """Return a state with the units of every group that may be permuted in an order that a seed determines."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(group.units(state), generator=generator) if group.permuted else None for group in groups]
    return apply(state, groups, orders)
