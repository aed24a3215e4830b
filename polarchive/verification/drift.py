"""Add up what replays leave unexplained: honest noise has no direction, theft does (SPEC.md, "Judging a run")."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from polarchive.measures.symmetry import weights

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Unexplained:
    """Hold the sum of all residuals r = claimed − replayed over the weights, beside the way that the run went.

    - `projection`: Σ ⟨r_t, W_T − W_t⟩ / ‖W_T − W_t‖, how far residuals carried the run toward its end;
    - `length`: ‖Σ r_t‖, how far they carried it at all;
    - `walk`: √Σ‖r_t‖², how long that sum is where residuals have nothing to do with each other;
    - `distance`: ‖W_T − W_0‖.

    - `spread`: the standard deviation of the projections of single segments.

    All these are of `segments` out of `of`; what they come to over the whole run is estimated from them.
    `same_randomness` is False where the judge draws other random numbers: then residuals are no noise.
    """

    projection: float
    length: float
    walk: float
    distance: float
    segments: int
    same_randomness: bool = True
    spread: float = 0.0
    of: int = 0

    @property
    def toward(self) -> float:
        """Return the unexplained displacement toward the end, as a fraction of the whole way.

        Of a sample, what it shows in every segment beyond three standard errors is taken for the others too.
        """
        count, total = self.segments, max(self.of, self.segments)
        if count in (0, total):
            return _fraction(self.projection, self.distance)
        error = 3 * self.spread * math.sqrt((1 - count / total) / count)
        shown = max(0.0, abs(self.projection) / count - error) if not math.isnan(self.projection) else math.nan
        return _fraction(math.copysign(total * shown, self.projection), self.distance)

    @property
    def total(self) -> float:
        """Return the unexplained displacement in any direction, as a fraction of the whole way.

        Of a sample, what its residuals have in common grows with the segments, the rest as a random walk.
        """
        count, total = self.segments, max(self.of, self.segments)
        if count in (0, 1, total):
            return _fraction(self.length * (total / max(count, 1)) ** 0.5, self.distance)
        common = max(0.0, self.length**2 - self.walk**2) / (count * (count - 1))
        walk = self.walk**2 / count
        return _fraction(math.sqrt(total**2 * common + total * walk), self.distance)

    @property
    def coherence(self) -> float:
        """Return how much longer the sum is than a random walk of the same steps: about 1 for honest noise."""
        return _fraction(self.length, self.walk)


class Drift:
    """Add up the residuals of a run from `first` to `final`, in float64 on the device where the states are.

    Weights are the floating tensors that the first state has, without batch statistics.
    """

    def __init__(self, first: State, final: State, same_randomness: bool = True, of: int = 0) -> None:
        own = weights({name: tensor for name, tensor in final.items() if name in first})
        self._final = {name: tensor for name, tensor in own.items() if first[name].shape == final[name].shape}
        self._sum = {name: torch.zeros_like(tensor) for name, tensor in self._final.items()}
        self._projection, self._squares, self._segments = 0.0, 0.0, 0
        self._same_randomness, self._of, self._projections = same_randomness, of, 0.0
        self._distance = math.sqrt(sum(_square(_way(end, _wide(first[name]))) for name, end in self._final.items()))

    @torch.no_grad()
    def add(self, before: State, claimed: State, replayed: State) -> None:
        """Add the residual of one segment, which began in `before`."""
        along, gap = 0.0, 0.0
        for name, final in self._final.items():
            if all(name in state and _wide(state[name]).shape == final.shape for state in (before, claimed, replayed)):
                residual = _residual(_wide(claimed[name]), _wide(replayed[name]))
                way = _way(final, _wide(before[name]))
                along += torch.sum(residual * way).item()
                gap += _square(way)
                self._squares += _square(residual)
                self._sum[name] += residual
        part = along / math.sqrt(gap) if gap else 0.0
        self._projection += part
        self._projections += part * part
        self._segments += bool(self._final)  # without a last state there is no way to measure along

    @property
    def found(self) -> Unexplained:
        """Return what all residuals so far come to."""
        length = math.sqrt(sum(map(_square, self._sum.values())))
        walk, count = math.sqrt(self._squares), self._segments
        spread = self._projections - self._projection**2 / max(count, 1)
        return Unexplained(
            projection=self._projection,
            length=length,
            walk=walk,
            distance=self._distance,
            segments=count,
            same_randomness=self._same_randomness,
            spread=math.sqrt(max(0.0, spread) / max(count - 1, 1)),
            of=self._of,
        )


def _residual(claimed: Tensor, replayed: Tensor) -> Tensor:
    """Return claimed − replayed, where infinities that agree are at no distance."""
    return (claimed - replayed).masked_fill_(claimed == replayed, 0.0)


def _way(end: Tensor, start: Tensor) -> Tensor:
    """Return end − start, but for what is infinite: it has no direction."""
    way = end - start
    return way.masked_fill_(~way.isfinite(), 0.0)


def _wide(tensor: Tensor) -> Tensor:
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double()


def _square(tensor: Tensor) -> float:
    return torch.sum(tensor * tensor).item()


def _fraction(part: float, whole: float) -> float:
    if part == 0:
        return 0.0
    return part / whole if whole else math.inf
