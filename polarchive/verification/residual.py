"""Measure what one replay leaves unexplained: how far off a claim is, and where it went instead."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from polarchive.format.archive import Archive
from polarchive.measures.symmetry import weights
from polarchive.training.arrays import to_tensors
from polarchive.verification.spending import Spending

State: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Residual:
    """Hold claimed − replayed of one segment, by tensor, without what is zero; `along` is its projection onto the way.

    Of momentum it is how far that will carry the weights, which `along` and `square`, the squared length, leave out.
    `stretched` is the squared length that second moments could add to one step. Where a run's last state is not known
    there is no way, and it is not `measured`.
    """

    tensors: Mapping[str, Tensor]
    along: float
    square: float
    measured: bool
    stretched: float = 0.0

    def packed(self) -> dict[str, Tensor]:
        """Return the tensors on the CPU, in float32 where that loses nothing."""
        return {name: _narrow(tensor).cpu().contiguous() for name, tensor in self.tensors.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as plain arrays."""
        arrays = {name: tensor.numpy() for name, tensor in self.packed().items()}
        return _arrived, (arrays, self.along, self.square, self.measured, self.stretched)


def _arrived(arrays: Mapping[str, Any], *numbers: Any) -> Residual:
    return Residual({name: torch.from_numpy(array).double() for name, array in arrays.items()}, *numbers)


class Way:
    """Measure residuals along the way from the `first` state of a run to its `final` one, in float64 where these are.

    Weights are the floating tensors that the first state has, without batch statistics. `distance` is ‖W_T − W_0‖.
    """

    def __init__(self, first: State, final: State, spending: Spending = Spending()) -> None:  # noqa: B008
        self._spending = spending
        own = weights({name: tensor for name, tensor in final.items() if name in first})
        self._final = {name: tensor for name, tensor in own.items() if first[name].shape == final[name].shape}
        self.distance = math.sqrt(sum(square(_way(end, _wide(first[name]))) for name, end in self._final.items()))

    @classmethod
    def of(cls, archive: Archive, device: str) -> "Way":
        """Return the way of a run; none if its last state is not stored, as that of an unfinished run may not be."""
        ends = (0, len(archive.segments))
        states = (to_tensors(archive.state(index)) if archive.is_stored(index) else {} for index in ends)
        first, final = ({name: tensor.to(device) for name, tensor in each.items()} for each in states)
        steps = (step for segment in archive.segments for step in archive.steps(segment.index))
        return cls(first, final, Spending.of(step.hyper for step in steps))

    def leads(self, name: str) -> bool:
        """Tell whether a tensor of a residual is one of the weights, which have a way, and not what carries them."""
        return name in self._final

    @property
    def device(self) -> torch.device:
        """Return where residuals are measured."""
        return next((tensor.device for tensor in self._final.values()), torch.device("cpu"))

    @torch.no_grad()
    def residual(self, before: State, claimed: State, replayed: State, closes: int = 0) -> Residual:
        """Return the residual of one segment, which began in `before`; step `closes` is the next one."""
        along, gap, total = 0.0, 0.0, 0.0
        tensors: dict[str, Tensor] = {}
        for name, final in self._final.items():
            if all(name in state and _wide(state[name]).shape == final.shape for state in (before, claimed, replayed)):
                found = _residual(_wide(claimed[name]), _wide(replayed[name]))
                way = _way(final, _wide(before[name]))
                along += torch.sum(found * way).item()
                gap += square(way)
                if found.any():
                    total += square(found)
                    tensors[name] = found
        if not self._final:
            return Residual({}, 0.0, 0.0, False)
        tensors |= self._spending.displacements(closes, claimed, replayed)
        stretched = self._spending.stretched(closes, claimed, replayed)
        return Residual(tensors, along / math.sqrt(gap) if gap else 0.0, total, True, stretched)


@dataclass(slots=True)
class Lone:
    """Keep the residual of one replay, None until there is one."""

    way: Way
    residual: Residual | None = None

    def add(self, before: State, claimed: State, replayed: State, closes: int = 0) -> None:
        """Measure it."""
        self.residual = self.way.residual(before, claimed, replayed, closes)


def _residual(claimed: Tensor, replayed: Tensor) -> Tensor:
    """Return claimed − replayed, where infinities that agree are at no distance."""
    return (claimed - replayed).masked_fill_(claimed == replayed, 0.0)


def _way(end: Tensor, start: Tensor) -> Tensor:
    """Return end − start, but for what is infinite: it has no direction."""
    way = end - start
    return way.masked_fill_(~way.isfinite(), 0.0)


def _narrow(tensor: Tensor) -> Tensor:
    narrow = tensor.float()
    return narrow if torch.equal(narrow.double(), tensor) else tensor


def _wide(tensor: Tensor) -> Tensor:
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double()


def square(tensor: Tensor) -> float:
    """Return the squared length of a tensor."""
    return torch.sum(tensor * tensor).item()
