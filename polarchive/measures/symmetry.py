"""Describe what may be permuted and scaled in a network without changing what it computes."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from polarchive.errors import TrainerError
from polarchive.measures.names import is_statistic

State = dict[str, Tensor]


def weights(state: State) -> State:
    """Return the floating tensors in float64, without those that batch norm takes from its batches."""
    return {
        name: (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double()
        for name, tensor in state.items()
        if (tensor.is_floating_point() or tensor.is_complex()) and not is_statistic(name)
    }


@dataclass(frozen=True, slots=True)
class Axis:
    """Say where in a tensor the units of a group stand: unit u is the `width` slices from `at[u]` on, along `dim`.

    Without `at`, the units fill the dimension in their order. A unit has several slices where channels are flattened,
    or where it is a head of attention. To scale a unit by s multiplies its slices by s ** power.
    """

    tensor: str
    dim: int = 0
    power: int = 0
    at: tuple[int, ...] | None = None
    width: int = 1

    def places(self, tensor: Tensor) -> Tensor:
        """Return the indices of every unit's slices (units, width); TrainerError if the tensor does not have them."""
        size = tensor.shape[self.dim] if 0 <= self.dim < tensor.ndim else 0
        starts = torch.arange(0, size, self.width) if self.at is None else torch.tensor(self.at, dtype=torch.int64)
        places = starts[:, None] + torch.arange(self.width)
        if not places.numel() or len(set(places.flatten().tolist()) & set(range(size))) < places.numel():
            shape, where = tuple(tensor.shape), f"{starts.tolist()[:4]}… of width {self.width}"
            raise TrainerError(f"{self.tensor} of shape {shape} does not have units at {where} along {self.dim}")
        return places

    def slices(self, tensor: Tensor) -> Tensor:
        """Return the slices of every unit, as (units, elements)."""
        places = self.places(tensor)
        return tensor.index_select(self.dim, places.flatten()).movedim(self.dim, 0).reshape(len(places), -1)

    def permute(self, tensor: Tensor, order: Tensor) -> Tensor:
        """Return the tensor with unit order[u] where unit u was."""
        places = self.places(tensor)
        chosen = tensor.index_select(self.dim, places[order].flatten())
        return tensor.index_copy(self.dim, places.flatten(), chosen)

    def scale(self, tensor: Tensor, factors: Tensor) -> Tensor:
        """Return the tensor with unit u multiplied by factors[u] ** power, in its own dtype."""
        if not self.power:
            return tensor
        places = self.places(tensor)
        along = torch.ones(tensor.shape[self.dim], dtype=torch.float64)
        along[places] = (factors.double() ** self.power)[:, None].expand(places.shape)
        return (tensor.movedim(self.dim, -1) * along).movedim(-1, self.dim).to(tensor.dtype).contiguous()


@dataclass(frozen=True, slots=True)
class Group:
    """Name every place of some units that are alike, such as those of a hidden layer.

    The units may be permuted, unless the group says otherwise, and scaled, unless all powers are 0: by any factors
    above 0, which the norm of each unit's slices of power 1 settles, or where the group is `signed`, by 1 and −1 alone.
    """

    axes: tuple[Axis, ...]
    permuted: bool = True
    signed: bool = False

    def within(self, names: Container[str]) -> "Group":
        """Return what the group has in the tensors of some names."""
        return replace(self, axes=tuple(axis for axis in self.axes if axis.tensor in names))

    def units(self, state: State) -> int:
        """Return how many units the group has, 0 without axes; TrainerError if its tensors do not agree on it."""
        missing = [axis.tensor for axis in self.axes if axis.tensor not in state]
        if missing:
            raise TrainerError(f"the state lacks {missing[0]}, which a symmetry names")
        found = {len(axis.places(state[axis.tensor])) for axis in self.axes}
        if len(found) > 1:
            raise TrainerError(f"the group of {self.axes[0].tensor} has {sorted(found)} units, by its axes")
        return found.pop() if found else 0

    def permute(self, state: State, order: Tensor) -> State:
        """Return the state with unit order[u] where unit u was; TrainerError if that is no symmetry."""
        if not self.permuted or sorted(order.tolist()) != list(range(self.units(state))):
            raise TrainerError(f"an order is no permutation of {self.units(state)} units that may be permuted")
        result = dict(state)
        for axis in self.axes:
            result[axis.tensor] = axis.permute(result[axis.tensor], order)
        return result

    def scale(self, state: State, factors: Tensor) -> State:
        """Return the state with unit u multiplied by factors[u]; TrainerError if that is no symmetry."""
        allowed = factors.abs() == 1 if self.signed else (factors > 0) & factors.isfinite()
        if factors.shape != (self.units(state),) or not allowed.all():
            allowed_ones = "1 or −1" if self.signed else "above 0"
            raise TrainerError(f"the {len(factors)} scales of {self.units(state)} units must be {allowed_ones}")
        result = dict(state)
        for axis in self.axes:
            result[axis.tensor] = axis.scale(result[axis.tensor], factors)
        return result


Orders = Sequence[Tensor | None]
Scales = Sequence[Tensor | None]


def apply(state: State, groups: Sequence[Group], orders: Orders | None = None, scales: Scales | None = None) -> State:
    """Return the state with every group first permuted, then scaled; None leaves a group as it is.

    Unit u of a group becomes scales[u] times what unit order[u] was. TrainerError for what is no symmetry.
    """
    for group, order in zip(groups, orders or [None] * len(groups), strict=True):
        state = state if order is None else group.permute(state, order)
    for group, factors in zip(groups, scales or [None] * len(groups), strict=True):
        state = state if factors is None else group.scale(state, factors)
    return dict(state)


def sequential(layers: Sequence[str], *, bias: bool = True) -> list[Group]:
    """Return the symmetries of layers in a row (linear, or convolutions) with ReLU, or nothing, between them.

    `layers` are names such as "model/0", from input to output; `bias` says whether they have biases.
    """
    return [Group((*produced(layer, bias=bias, power=1), consumed(after))) for layer, after in pairwise(layers)]


def produced(layer: str, *, bias: bool = False, power: int = 0, at: tuple[int, ...] | None = None) -> tuple[Axis, ...]:
    """Return where a layer's outputs stand in it."""
    return tuple(Axis(f"{layer}.{name}", 0, power, at) for name in ("weight", "bias")[: 1 + bias])


def consumed(layer: str, *, at: tuple[int, ...] | None = None, width: int = 1) -> Axis:
    """Return where a layer's inputs stand in it: it undoes what scale they have."""
    return Axis(f"{layer}.weight", 1, -1, at, width)


def normalised(norm: str, *, at: tuple[int, ...] | None = None) -> tuple[Axis, ...]:
    """Return where the outputs of a batch norm stand in it: their scale is that of its weight and bias."""
    moved = (Axis(f"{norm}.{name}", 0, 1, at) for name in ("weight", "bias"))
    return *moved, *(Axis(f"{norm}.{name}", 0, 0, at) for name in ("running_mean", "running_var"))


def absorbed(layer: str, norm: str, *, bias: bool = False) -> list[Group]:
    """Return what a batch norm undoes of the layer before it: any scale, and with the sign of its own weight, signs.

    Scales change what the norm computes only by its epsilon.
    """
    mean, var = Axis(f"{norm}.running_mean", 0, 1), Axis(f"{norm}.running_var", 0, 2)
    outputs = produced(layer, bias=bias, power=1)
    flipped = Axis(f"{norm}.weight", 0, 1)
    return [Group((*outputs, mean, var), permuted=False), Group((flipped, *outputs, mean), permuted=False, signed=True)]
