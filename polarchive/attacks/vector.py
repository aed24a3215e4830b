"""See the weights of a model as one vector, in which distances and directions are measured."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polarchive.training.trainer import State


def vector(tensors: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Return the named tensors one after another, in float64: shape (n,)."""
    return torch.cat([tensors[name].detach().double().flatten() for name in names])


def tensors(values: Tensor, like: Mapping[str, Tensor], names: Sequence[str]) -> State:
    """Return the named tensors that a vector holds, shaped and typed as in `like`."""
    parts = torch.split(values, [like[name].numel() for name in names])
    return {name: part.reshape(like[name].shape).to(like[name].dtype) for name, part in zip(names, parts, strict=True)}
