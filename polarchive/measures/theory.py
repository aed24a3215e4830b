"""Compute what Lemmas 4 and 5 say of spoofs that are cheaper than training: as printed, and as their proofs bear out.

Both speak of the costs C(P) of honest proofs, of mean E and some variance, and of proofs that cost less than cE. Both
proofs use Chebyshev's inequality for what can only happen on one side, where Cantelli's is tighter and never exceeds 1:
P(C(P) ≤ E − x) ≤ Var / (Var + x²).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor, inf, isfinite, log, log1p, nan, sqrt
from typing import Final

from polarchive.errors import PolError

_DIGITS: Final = 9  # of a count from logarithms: what is nearly whole is whole


@dataclass(frozen=True, slots=True)
class Stability:
    """Hold ζ, what share of honest training makes all that a c-cheap algorithm does two times in three (Lemma 4).

    `printed` is the paper's ζ, NaN where it is 0/0; `proved` is what its proof gives, 1 where that is nothing.
    """

    printed: float
    proved: float


@dataclass(frozen=True, slots=True)
class Queries:
    """Hold how often honest training must be drawn for a c-cheap proof (Lemma 5).

    `printed` is the paper's bound, NaN where it has none; no fewer than `needed` draws find one with probability 2/3,
    and with probability 2/3 no fewer than `issued` are made until one is found. Infinite where there is none to find.
    """

    printed: float
    needed: float
    issued: float


def stability(*, mean: float, variance: float, c: float, spoof_variance: float) -> Stability:
    """Return ζ of Lemma 4, from the mean and variance of honest costs and the variance of what the spoof costs.

    The paper prints Var / (E(1 − c) + a)², a = √(3 Var(C(F))). Its proof needs a minus before a: the spoof's costs lie
    within a of their mean E₁ < cE, so what is asked for is P(C(P) < E₁ + a), and E₁ + a is only E(1 − c) − a below E.
    Where that is not below at all, nothing is proved. PolError if the numbers describe no costs.
    """
    _require_costs(mean, c, variance, spoof_variance)
    wide = sqrt(3 * spoof_variance)
    printed = _quotient(variance, (mean * (1 - c) + wide) ** 2)
    return Stability(printed, _below(mean * (1 - c) - wide, variance))


def queries(*, mean: float, variance: float, c: float) -> Queries:
    """Return the bounds of Lemma 5 on how many honest proofs must be drawn until one costs less than cE.

    The paper prints log(1/3) / log(1 − P), P = Var / ((1 − c)² E²), which has no value where P ≥ 1. What it shows is
    that with fewer draws a cheap proof is found with probability below 2/3. That with probability 2/3 so many draws
    are issued, as the lemma says, does not follow: none cheap among n − 1 draws must have probability 2/3, not 1/3.
    PolError if the numbers describe no costs.
    """
    _require_costs(mean, c, variance)
    chance = _quotient(variance, (mean * (1 - c)) ** 2)
    cheap = _below(mean * (1 - c), variance)
    needed, missed = _draws(1 / 3, cheap), _draws(2 / 3, cheap)
    return Queries(
        printed=_draws(1 / 3, chance) if chance < 1 else nan,
        needed=max(1.0, _whole(needed, ceil)),
        issued=1.0 + _whole(missed, floor),
    )


def _below(by: float, variance: float) -> float:
    """Return what bounds the probability of a cost that lies `by` below the mean, or farther (Cantelli)."""
    return variance / (variance + by * by) if by > 0 else 1.0


def _draws(missed: float, chance: float) -> float:
    """Return after how many draws, each a hit with some chance, the probability of none has come down to `missed`."""
    if not 0 < chance < 1:
        return 0.0 if chance else inf
    return log(missed) / log1p(-chance)


def _whole(count: float, rounded: Callable[[float], int]) -> float:
    return float(rounded(round(count, _DIGITS))) if isfinite(count) else count


def _quotient(above: float, below: float) -> float:
    if below:
        return above / below
    return inf if above else nan


def _require_costs(mean: float, c: float, *variances: float) -> None:
    if not (0 < mean < inf and 0 <= c <= 1 and all(0 <= each < inf for each in variances)):
        raise PolError(f"costs have a mean above 0, variances of 0 or more and c of 0 to 1: {mean}, {variances}, {c}")
