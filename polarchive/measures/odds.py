"""Say how likely it is that a draw meets what is wrong."""

from math import ceil, comb


def detection(population: int, bad: int, drawn: int) -> float:
    """Return the probability that at least one of `bad` things is among `drawn` different ones out of `population`."""
    bad, drawn = min(bad, population), min(drawn, population)
    if not bad or not drawn:
        return 0.0
    return 1 - comb(population - bad, drawn) / comb(population, drawn)


def of_fraction(population: int, fraction: float, drawn: int) -> float:
    """Return the probability of detection if a fraction of the population is bad, and at least one."""
    return detection(population, max(1, ceil(fraction * population)), drawn)
