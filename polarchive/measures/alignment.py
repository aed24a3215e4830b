"""Undo what permutations, scales and signs of units hide."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from polarchive.measures.matching import match
from polarchive.measures.symmetry import Group, State, apply, weights

_STILL: Final = 1e-9  # a scale nearer to 1 is rounding


def canonical(state: State, groups: Sequence[Group]) -> tuple[State, list[Tensor]]:
    """Return a state in float64 with units of norm 1, their scale moved on, and the factor that each unit was given.

    Networks that differ by scales alone have the same one, unless a group's scale depends on itself. A unit of zeros
    stays as it is. Passes over the groups end when nothing changes.
    """
    state = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    scored = [group.within(weights(state)) for group in groups]
    totals = [torch.ones(group.units(state), dtype=torch.float64) for group in groups]
    for _ in range(len(groups) + 1):
        still = True
        for index, group in enumerate(groups):
            factors = _factors(state, scored[index], len(totals[index]))
            state, totals[index] = group.scale(state, factors), totals[index] * factors
            still = still and bool((factors - 1).abs().le(_STILL).all())
        if still:
            break
    return state, totals


def align(claimed: State, other: State, groups: Sequence[Group]) -> State:
    """Return `other` as near to `claimed` as scales and weight matching bring it; floats come back in float64.

    TrainerError if the groups do not fit the states.
    """
    home, factors = canonical(claimed, groups)
    away, _ = canonical(other, groups)
    return apply(match(home, away, groups), groups, scales=[1 / each for each in factors])


def _factors(state: State, group: Group, units: int) -> Tensor:
    """Return what makes the norm of every unit 1, over the weights that have its scale."""
    seen = [axis.slices(state[axis.tensor]) for axis in group.axes if axis.power == 1 and not group.signed]
    factors = 1 / torch.cat(seen, 1).norm(dim=1) if seen else torch.ones(units, dtype=torch.float64)
    return torch.where(factors.isfinite() & (factors > 0), factors, 1.0)
