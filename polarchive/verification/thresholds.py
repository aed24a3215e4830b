"""Decide how large an error may be: functions from evidence to measured errors and what is allowed."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from polarchive.measures.distance import Distance
from polarchive.training.values import SEPARATOR
from polarchive.verification.evidence import Evidence, kind


@dataclass(frozen=True, slots=True)
class Measured:
    """Hold one error beside what is allowed, in `unit`; `tensor` is None where many are measured as one."""

    tensor: str | None
    error: float
    allowed: float
    unit: str = ""

    @property
    def within(self) -> bool:
        """Tell whether the error is allowed; NaN never is."""
        return self.error <= self.allowed


_OF_OPTIMIZER: Final = 2  # separators in OPTIMIZER/PARAMETER/KEY, at least
_HIDDEN_FLOOR: Final = 1e-6
Threshold: TypeAlias = Callable[[Evidence], Iterator[Measured]]


@dataclass(frozen=True, slots=True)
class Fixed:
    """Allow each element of each tensor to be off by `limit`; 0 asks for bit-exact replay."""

    limit: float = 0.0

    def __call__(self, evidence: Evidence) -> Iterator[Measured]:
        """Yield each tensor's largest error."""
        for name, distance in evidence.distances.items():
            yield Measured(name, _exact(distance, distance.linf), self.limit)


@dataclass(frozen=True, slots=True)
class Lp:
    """Allow an ℓp distance (p is 1, 2 or inf) of `limit` between all tensors of `part` together (Jia et al. 2021)."""

    p: float
    limit: float
    part: str = "model"

    def __call__(self, evidence: Evidence) -> Iterator[Measured]:
        """Yield one error for the whole part."""
        own = [d for name, d in evidence.distances.items() if name.split("/")[0] == self.part]
        norms = {
            1: sum(d.l1 for d in own),
            2: math.hypot(*(d.l2 for d in own)),
            math.inf: _max(d.linf for d in own),
        }
        yield Measured(None, norms[self.p] if own else math.nan, self.limit)  # nothing measured is nothing allowed


@dataclass(frozen=True, slots=True)
class Relative:
    """Allow each tensor an error of `alpha` times its update (Lemma 2), per element.

    The update is the lesser of the claimed and the replayed one, so claiming a large step buys nothing. `floor` times
    the pooled update of tensors of the same kind is taken where that is more: a tensor without a true gradient (the
    bias of an attention's keys) moves by rounding noise alone, and no replay repeats noise. What optimizers keep gets
    next to no such floor: a zeroed second moment is small, and makes the next step huge. A tensor that the replay does
    not move at all (a frozen one) has no noise either, and must be equal. No update counts for more than the tensor it
    ends in: far away and back again would otherwise be a licence to end anywhere.
    """

    alpha: float = 0.1
    floor: float = 0.05

    def __call__(self, evidence: Evidence) -> Iterator[Measured]:
        """Yield each tensor's error, as a fraction of its update."""
        pooled = _pooled(evidence.distances)
        for name, distance in evidence.distances.items():
            root = math.sqrt(max(distance.count, 1))
            update = min(distance.claimed, distance.replayed, distance.size) / root
            floor = self.floor if name.count(SEPARATOR) < _OF_OPTIMIZER else _HIDDEN_FLOOR
            scale = max(update, floor * pooled[kind(name)]) if distance.replayed else 0.0
            error = distance.l2 / root / scale if 0 < scale < math.inf else math.inf
            yield Measured(name, _exact(distance, error), self.alpha, " times its update")


def _pooled(distances: Mapping[str, Distance]) -> dict[str, float]:
    norms: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for name, distance in distances.items():
        norms[kind(name)] = math.hypot(norms[kind(name)], min(distance.replayed, distance.size))
        counts[kind(name)] += distance.count
    return {name: norm / math.sqrt(max(counts[name], 1)) for name, norm in norms.items()}


def _exact(distance: Distance, error: float) -> float:
    return 0.0 if distance.equal else error


def _max(values: Iterator[float]) -> float:
    found = list(values)
    return math.nan if any(map(math.isnan, found)) else max(found, default=0.0)
