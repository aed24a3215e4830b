"""Test what law numbers follow, and bound what numbers not yet seen will be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf, isnan, log, nan
from typing import Any, Final

import numpy as np
import scipy  # whose `stats` takes a second to load, and does so at first use
from numpy.typing import ArrayLike, NDArray

from polarchive.errors import PolError

Numbers = NDArray[np.float64]
_FEWEST: Final = 3  # pairs that have a correlation worth the name
_ROUNDING: Final = 1e-12  # what is just reached may come out a few digits short


@dataclass(frozen=True, slots=True)
class Significance:
    """Hold a test's statistic, and how likely one as large is by chance (p, two-sided); NaN if numbers are missing."""

    statistic: float
    p: float


def same_law(one: ArrayLike, other: ArrayLike) -> Significance:
    """Return the two-sample Kolmogorov-Smirnov test that all numbers of both arrays are drawn from one law.

    So a law may be given by samples. Ties make p too large, never too small.
    """
    first, second = _numbers(one), _numbers(other)
    if not len(first) or not len(second):
        return Significance(nan, nan)
    found = scipy.stats.ks_2samp(first, second)
    return Significance(float(found.statistic), float(found.pvalue))


def follows(samples: ArrayLike, law: Callable[[Any], Any]) -> Significance:
    """Return the one-sample Kolmogorov-Smirnov test that numbers are drawn from a law.

    The law is given by its distribution function, which takes and returns arrays, such as `scipy.stats.norm.cdf`.
    """
    numbers = _numbers(samples)
    if not len(numbers) or np.isnan(numbers).any():
        return Significance(nan, nan)
    found = scipy.stats.ks_1samp(numbers, law)
    return Significance(float(found.statistic), float(found.pvalue))


def correlation(one: ArrayLike, other: ArrayLike) -> Significance:
    """Return Spearman's rank correlation of paired numbers; NaN if one side is constant, or of less than three pairs.

    It sees what no test of a law does: fresh numbers, put into the order of others.
    """
    first, second = _numbers(one), _numbers(other)
    if first.shape != second.shape:
        raise PolError(f"{len(first)} numbers are not paired with {len(second)}")
    if len(first) < _FEWEST or not np.ptp(first) or not np.ptp(second):
        return Significance(nan, nan)
    found = scipy.stats.spearmanr(first, second)
    return Significance(float(found.statistic), float(found.pvalue))


def clopper_pearson(found: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval that holds a success rate with a confidence, after `found` successes; never too narrow."""
    _require_probability(confidence)
    if not 0 <= found <= trials or not trials:
        raise PolError(f"{found} of {trials} is not a number of successes")
    interval = scipy.stats.binomtest(found, trials).proportion_ci(confidence, "exact")
    return float(interval.low), float(interval.high)


def conformal(errors: Sequence[float], tau: float) -> float:
    """Return the least of honest errors that the next honest one stays within with probability `tau` or more.

    That is the ⌈(n + 1)τ⌉-th smallest of n (split conformal prediction): the required TPR of Definition 3, on average
    over calibrations, whatever the law of the errors if they are exchangeable. Infinite if n is too small, so that it
    must not be used as a threshold: see `replays_needed`. NaN counts as infinite.
    """
    return _smallest(errors, ceil((len(errors) + 1) * _exact(tau)))


def replays_needed(tau: float) -> int:
    """Return from how many honest errors on `conformal` is finite."""
    return ceil(_exact(tau) / (1 - _exact(tau)))


def tolerance(errors: Sequence[float], tau: float, confidence: float) -> float:
    """Return the least of honest errors that, with a confidence over calibrations, gives a TPR of `tau` or more.

    That is the r-th smallest of n with P(Bin(n, τ) < r) ≥ confidence (Wilks' tolerance limit): this calibration's own
    TPR, for independent errors of one law. Infinite if n is too small: see `replays_for`. NaN counts as infinite.
    """
    _require_probability(tau)
    _require_probability(confidence)
    count = len(errors)
    below = scipy.special.bdtr(np.arange(count, dtype=np.float64), count, tau) if count else np.zeros(0)
    return _smallest(errors, int(np.searchsorted(below, confidence * (1 - _ROUNDING))) + 1)


def replays_for(tau: float, confidence: float) -> int:
    """Return from how many honest errors on `tolerance` is finite: the least n with 1 − τⁿ ≥ confidence."""
    missed = 1 - _exact(confidence)
    return ceil(log(missed) / log(_exact(tau)) * (1 - _ROUNDING))


def _smallest(errors: Sequence[float], rank: int) -> float:
    ordered = sorted(inf if isnan(error) else float(error) for error in errors)
    return ordered[rank - 1] if rank <= len(ordered) else inf


def _exact(probability: float) -> Fraction:
    """Return the decimal that a probability prints as, so that 0.55 of 20 is 11 and no more."""
    _require_probability(probability)
    return Fraction(str(probability))


def _require_probability(value: float) -> None:
    if not 0 < value < 1:
        raise PolError(f"a probability between 0 and 1 is needed, not {value}")


def _numbers(values: ArrayLike) -> Numbers:
    return np.asarray(values, dtype=np.float64).reshape(-1)
