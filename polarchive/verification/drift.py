"""Add up what replays leave unexplained: honest noise has no direction, theft does (SPEC.md, "Judging a run")."""

import math
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from polarchive.verification.residual import Residual, State, Way, square

_COHERENT: Final = 4  # what has no sign is added up as a random walk, and steps that are aimed are no walk


@dataclass(frozen=True, slots=True)
class Unexplained:
    """Hold the sum of all residuals r = claimed − replayed over the weights, beside the way that the run went.

    - `projection`: Σ ⟨r_t, W_T − W_t⟩ / ‖W_T − W_t‖, how far residuals carried the run toward its end;
    - `length`: ‖Σ r_t‖, how far they carried it at all;
    - `walk`: √Σ‖r_t‖², how long that sum is where residuals have nothing to do with each other;
    - `distance`: ‖W_T − W_0‖.

    - `spread`: the standard deviation of the projections of single segments;
    - `stored`: how far the sum of all residuals of momentum carries the weights, and how much longer second moments
      that are off can make steps.

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
    stored: float = 0.0

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
    def kept(self) -> float:
        """Return the unexplained displacement that the optimizer keeps, as a fraction of the whole way.

        Of a sample it is taken to grow with the segments.
        """
        return _fraction(self.stored * max(self.of, self.segments) / max(self.segments, 1), self.distance)

    @property
    def coherence(self) -> float:
        """Return how much longer the sum is than a random walk of the same steps: about 1 for honest noise."""
        return _fraction(self.length, self.walk)


class Drift:
    """Add up residuals, in the order in which they come: of segments out of `of` that a run has."""

    def __init__(self, way: Way, same_randomness: bool = True, of: int = 0) -> None:
        self._way, self._same_randomness, self._of = way, same_randomness, of
        self._sum: dict[str, Tensor] = {}
        self._projection, self._projections, self._squares, self._segments = 0.0, 0.0, 0.0, 0
        self._stretched = 0.0

    def add(self, before: State, claimed: State, replayed: State, closes: int = 0) -> None:
        """Add the residual of one segment, which began in `before`; step `closes` is the next one."""
        self.take(self._way.residual(before, claimed, replayed, closes))

    def take(self, residual: Residual) -> None:
        """Add a residual."""
        for name, tensor in residual.tensors.items():
            own = tensor.to(self._way.device)
            self._sum[name] = self._sum[name].add_(own) if name in self._sum else own.clone()
        self._projection += residual.along
        self._projections += residual.along * residual.along  # a power would raise where this is infinite
        self._squares += residual.square
        self._stretched += residual.stretched
        self._segments += residual.measured

    @property
    def found(self) -> Unexplained:
        """Return what all residuals so far come to."""
        squares = {name: square(self._sum[name]) for name in sorted(self._sum)}
        length = math.sqrt(sum(each for name, each in squares.items() if self._way.leads(name)))
        signed = sum(each for name, each in squares.items() if not self._way.leads(name))
        stored = math.sqrt(signed + _COHERENT**2 * self._stretched)
        walk, count = math.sqrt(self._squares), self._segments
        spread = self._projections - self._projection**2 / max(count, 1)
        return Unexplained(
            projection=self._projection,
            length=length,
            walk=walk,
            distance=self._way.distance,
            segments=count,
            same_randomness=self._same_randomness,
            spread=math.sqrt(max(0.0, spread) / max(count - 1, 1)),
            of=self._of,
            stored=stored,
        )


def _fraction(part: float, whole: float) -> float:
    if part == 0:
        return 0.0
    return part / whole if whole else math.inf
