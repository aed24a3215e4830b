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
    """Hold one error beside what is allowed, in `unit`; `tensor` is None where many are measured as one.

    `unknown` says why nobody knows whether the error is allowed, unless there is none.
    """

    tensor: str | None
    error: float
    allowed: float
    unit: str = ""
    unknown: str | None = None

    @property
    def within(self) -> bool:
        """Tell whether the error is allowed; NaN never is."""
        return self.error == 0 or (self.unknown is None and self.error <= self.allowed)


FLOOR: Final = 0.05
UNIT: Final = " times its update"
_OF_OPTIMIZER: Final = 2  # separators in OPTIMIZER/PARAMETER/KEY, at least
_HIDDEN_FLOOR: Final = 1e-6
_SECOND: Final = "exp_avg_sq"
_FAINT: Final = 1e-10  # of all second moments: gradients of a hundred-thousandth, which are rounding
_ALIKE: Final = 4.0  # times an update that two walks of rounding end apart, at most
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
    """Allow an ℓp distance (p is 1, 2 or inf) of `limit` between all weights of `part` together (Jia et al. 2021).

    With `d_ref`, the distance between ends of independent runs, the limit is a fraction of it.
    """

    p: float
    limit: float
    part: str = "model"
    d_ref: float | None = None

    def __call__(self, evidence: Evidence) -> Iterator[Measured]:
        """Yield one error for the whole part."""
        own = evidence.weights(self.part)  # of none, all norms are NaN: nothing measured is nothing allowed
        norms = {1: own.l1, 2: own.l2, math.inf: own.linf}
        yield Measured(None, norms[self.p] / (self.d_ref or 1.0), self.limit, " of d_ref" if self.d_ref else "")


@dataclass(frozen=True, slots=True)
class PooledRelative:
    """Allow all weights of `part` together an error ‖g − g′‖ of `alpha` times min(‖g‖, ‖g′‖) (Fang et al., Lemma 2)."""

    alpha: float = 0.1
    part: str = "model"

    def __call__(self, evidence: Evidence) -> Iterator[Measured]:
        """Yield one error for all weights, as a fraction of their update."""
        yield Measured(None, evidence.weights(self.part).relative, self.alpha, " times the update")


@dataclass(frozen=True, slots=True)
class Relative:
    """Allow each tensor an error of `alpha` times its update (Lemma 2), per element.

    The update is the lesser of the claimed and the replayed one, so claiming a large step buys nothing. `floor` times
    the pooled update of tensors of the same kind is taken where that is more: a tensor without a true gradient (the
    bias of an attention's keys) moves by rounding noise alone, and no replay repeats noise. What optimizers keep gets
    next to no such floor: a zeroed second moment is small, and makes the next step huge. A tensor that the replay does
    not move at all (a frozen one) has no noise either, and must be equal. No update counts for more than the tensor it
    ends in: far away and back again would otherwise be a licence to end anywhere.

    Adam makes full steps of the rounding noise in a gradient that is truly zero (that of a bias right before batch
    norm). Of such a tensor, by the second moments that the judge's own replay ends with, an error as long as its
    updates is neither true nor false but unknown.
    """

    alpha: float = 0.1
    floor: float = FLOOR

    def __call__(self, evidence: Evidence) -> Iterator[Measured]:
        """Yield each tensor's error, as a fraction of its update."""
        updates = {name: min(each.claimed, each.replayed) for name, each in evidence.distances.items()}
        faint = _faint(evidence.distances)
        for name, error in _shares(evidence.distances, updates, self.floor).items():
            unknown = _rounding(name) if self.alpha < error <= _ALIKE and name in faint else None
            yield Measured(name, error, self.alpha, UNIT, unknown)


def shares(distances: Mapping[str, Distance]) -> dict[str, float]:
    """Return each tensor's error as `Relative` measures it, but of the update that was replayed, whatever was claimed.

    So errors of several outcomes against one replay have one scale, and a judge's own can be ranked with a claim's.
    """
    return _shares(distances, {name: each.replayed for name, each in distances.items()}, FLOOR)


def replays_of(threshold: Threshold) -> int:
    """Return how many replays of its own, under other numerics, a threshold needs beside the first one."""
    wanted: int = getattr(threshold, "replays", 0)
    return wanted


def _shares(distances: Mapping[str, Distance], updates: Mapping[str, float], floor: float) -> dict[str, float]:
    pooled = _pooled(distances)
    found = {}
    for name, distance in distances.items():
        root = math.sqrt(max(distance.count, 1))
        least = floor if name.count(SEPARATOR) < _OF_OPTIMIZER else _HIDDEN_FLOOR
        scale = max(min(updates[name], distance.size) / root, least * pooled[kind(name)]) if distance.replayed else 0.0
        error = distance.l2 / root / scale if 0 < scale < math.inf else math.inf
        found[name] = _exact(distance, error)
    return found


def _pooled(distances: Mapping[str, Distance]) -> dict[str, float]:
    norms: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    for name, distance in distances.items():
        norms[kind(name)] = math.hypot(norms[kind(name)], min(distance.replayed, distance.size))
        counts[kind(name)] += distance.count
    return {name: norm / math.sqrt(max(counts[name], 1)) for name, norm in norms.items()}


def _faint(distances: Mapping[str, Distance]) -> set[str]:
    """Return weights, and what Adam keeps of them, of which the replay's gradients are nothing beside the others'."""
    end = SEPARATOR + _SECOND
    seconds = {name.removesuffix(end): each for name, each in distances.items() if name.endswith(end)}
    squares, count = sum(each.size**2 for each in seconds.values()), sum(each.count for each in seconds.values())
    usual = math.sqrt(squares / max(count, 1))
    faint = {stem for stem, each in seconds.items() if each.size / math.sqrt(max(each.count, 1)) < _FAINT * usual}
    return {name for stem in faint for name in distances if name.rpartition(SEPARATOR)[0] == stem} | {
        stem.partition(SEPARATOR)[2] for stem in faint
    }


def _rounding(name: str) -> str:
    return f"{name} has next to no gradient: its update is rounding, which no other machine repeats"


def _exact(distance: Distance, error: float) -> float:
    return 0.0 if distance.equal else error
