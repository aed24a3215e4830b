"""Walk from one set of weights to another in a straight line, as most spoofs do."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from polarchive.training.trainer import State


def between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> State:
    """Return the tensors a share of the way from `start` to `end`; what is counted in integers is rounded."""
    return {name: _between(start[name], end[name], share) for name in end}


def distance(start: Mapping[str, Tensor], end: Mapping[str, Tensor]) -> float:
    """Return the ℓ2 distance of all floating tensors together, summed in float64."""
    floating = [name for name in end if end[name].is_floating_point()]
    return norm({name: end[name].double() - start[name].double() for name in floating})


def norm(tensors: Mapping[str, Tensor]) -> float:
    """Return the ℓ2 norm of all tensors together, summed in float64."""
    return math.sqrt(sum(float(tensor.detach().double().square().sum()) for tensor in tensors.values()))


def _between(start: Tensor, end: Tensor, share: float) -> Tensor:
    if share >= 1:
        return end.clone()  # bit for bit
    mixed = torch.lerp(start.double(), end.double(), share)
    return (mixed if end.is_floating_point() else mixed.round()).to(end.dtype)
