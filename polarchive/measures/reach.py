"""Say how far Adam can move a weight: what no gradient whatever can do, no honest segment has done."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from polarchive.format.entry import Hyper
from polarchive.format.schema import values
from polarchive.format.tensors import Array

Numbers: TypeAlias = npt.NDArray[np.float64]
_ROUNDING: Final = {"BF16": 2.0**-8, "F16": 2.0**-11, "F32": 2.0**-24, "F64": 2.0**-53}  # of one operation, relative
_OPERATIONS: Final = 4  # on a weight in a step
_SLACK: Final = 1.001  # for rounding within the update itself
_STEPS: Final = 4096  # after which bias is corrected no more


@dataclass(frozen=True, slots=True)
class Betas:
    """Hold the ranges in which both betas have been since moments began at zero."""

    first: tuple[float, float]
    second: tuple[float, float]

    def joined(self, first: float, second: float) -> "Betas":
        """Return the ranges with another step's betas in them."""
        return Betas(_joined(self.first, first), _joined(self.second, second))

    @property
    def bound(self) -> float:
        """Return the most that m̂ / √v̂ can be in one element, at any step: infinite where nothing bounds it.

        By Cauchy-Schwarz over all gradients so far, |m| = |Σ (1 − β₁) β₁ⁱ g| ≤ (1 − β₁) √(Σ (β₁²/β₂)ⁱ) √(Σ β₂ⁱ g²). At
        0.9 and 0.999 that is 7.27, and 1 for the first step; a larger eps and amsgrad only lessen it.
        """
        (low, high), (least, most) = self.first, self.second
        if low < 0 or high >= 1 or most >= 1 or high * high >= least:
            return math.inf
        ratio, steps = high * high / least, np.arange(1, _STEPS)
        ever = (1 - low) / np.sqrt((1 - most) * (1 - ratio))
        early = ever / (1 - high**steps) * np.sqrt((1 - least**steps) * (1 - ratio**steps))
        return max(float(early.max()), float(ever))


@dataclass(frozen=True, slots=True)
class Way:
    """Hold how far a parameter group's weights can go in a span of steps, and the share that decay leaves of them."""

    reach: float
    kept: float
    steps: int

    def used(self, before: Array, after: Array) -> float:
        """Return the largest change of an element over what it can change by; above 1 is impossible."""
        old, new = (values(array).astype(np.float64) for array in (before, after))
        rounding = _ROUNDING[after.dtype] * _OPERATIONS * self.steps * np.maximum(abs(old), abs(new))
        allowed = self.reach * _SLACK + rounding
        return min(_largest(abs(new - kept * old), allowed) for kept in {1.0, self.kept})


def ways(history: Mapping[str, Betas], steps: Iterable[Hyper]) -> dict[str, Way]:
    """Return, by OPTIMIZER/GROUP, how far steps lead under betas as they have been since the first step.

    Whether decay is Adam's or AdamW's is not recorded, so a change is held to the one that it fits better.
    """
    bounds = {group: betas.bound for group, betas in history.items()}
    found: dict[str, Way] = {}
    for hyper in steps:
        for group in groups(hyper):
            rate = _number(hyper, f"{group}/lr")
            way = found.get(group, Way(0.0, 1.0, 0))
            kept = way.kept * (1 - rate * _number(hyper, f"{group}/weight_decay"))
            reach = abs(rate) * bounds[group] if rate else 0.0
            found[group] = Way(way.reach + reach, kept, way.steps + 1)
    return found


def since(history: Mapping[str, Betas], steps: Iterable[Hyper]) -> dict[str, Betas]:
    """Return the ranges of betas, by OPTIMIZER/GROUP, with some steps more."""
    found = dict(history)
    for hyper in steps:
        for group in groups(hyper):
            first, second = (hyper[f"{group}/betas/{place}"] or 0.0 for place in (0, 1))
            begun = found.get(group, Betas((first, first), (second, second)))
            found[group] = begun.joined(first, second)
    return found


def groups(hyper: Hyper) -> Iterator[str]:
    """Yield OPTIMIZER/GROUP for every group that has two betas."""
    for name in hyper:
        if name.endswith("/betas/1"):
            yield name.removesuffix("/betas/1")


def _joined(known: tuple[float, float], value: float) -> tuple[float, float]:
    return min(known[0], value), max(known[1], value)


def _number(hyper: Hyper, name: str) -> float:
    return float(hyper.get(name) or 0.0)


def _largest(changes: Numbers, allowed: Numbers) -> float:
    """Return the largest share; any change is more than nothing, and what is no number more than anything."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(changes == 0, 0.0, changes / allowed)
    return float(np.where(np.isnan(shares), math.inf, shares).max(initial=0.0))
