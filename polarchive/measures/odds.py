"""Say how likely it is that a draw meets what is wrong."""

from bisect import bisect_left
from fractions import Fraction
from math import ceil, expm1, inf, log, log1p
from typing import Final

from polarchive.errors import PolError

_CERTAIN: Final = -40.0  # of a logarithm: what is missed so rarely is met with 1, as numbers here go
_ROUNDING: Final = 1e-12  # of a logarithm: odds that are just reached may come out a digit short


def detection(population: int, bad: int, drawn: int) -> float:
    """Return the probability that at least one of `bad` things is among `drawn` different ones out of `population`."""
    return abs(expm1(_missing(population, bad, drawn)))


def of_fraction(population: int, fraction: float, drawn: int) -> float:
    """Return the probability of detection if a fraction of the population is bad, and at least one."""
    return detection(population, counted(population, fraction), drawn)


def counted(population: int, fraction: float) -> int:
    """Return how many make up a fraction of the population, at least one; the fraction is the decimal it prints as."""
    if not 0 <= fraction <= 1:
        raise PolError(f"a fraction is 0 to 1, not {fraction}")
    return max(1, ceil(Fraction(str(fraction)) * population))


def draws_for(population: int, bad: int, probability: float) -> int:
    """Return how many must be drawn to meet one of `bad` things with a probability; 1 asks for certainty."""
    if not 1 <= bad <= population or not 0 <= probability <= 1:
        raise PolError(f"no draw from {population} meets one of {bad} with probability {probability}")
    missed = float(1 - Fraction(str(probability)))
    allowed = log(missed) + _ROUNDING if missed else -inf
    return bisect_left(range(population), -allowed, key=lambda drawn: -_missing(population, bad, drawn))


def _missing(population: int, bad: int, drawn: int) -> float:
    """Return the logarithm of the probability that none of `bad` things is drawn: of C(N − b, n) / C(N, n)."""
    fewer, more = sorted((min(bad, population), min(drawn, population)))
    if fewer + more > population:
        return -inf
    missed = 0.0
    for left in range(population, population - fewer, -1):
        missed += log1p(-more / left)
        if missed < _CERTAIN:
            break
    return missed
