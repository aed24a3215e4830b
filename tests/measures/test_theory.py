"""Hold the bounds of Lemmas 4 and 5 to laws of costs whose probabilities are known; the printed bounds break them."""

from dataclasses import dataclass
from math import inf, isnan, log, nan, sqrt
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from polarchive.errors import PolError
from polarchive.measures.theory import queries, stability


@dataclass(frozen=True)
class TwoCosts:
    """Stand for a law of two costs, of which the lower has probability `chance`."""

    chance: float
    low: float
    high: float

    @property
    def mean(self) -> float:
        return self.chance * self.low + (1 - self.chance) * self.high

    @property
    def variance(self) -> float:
        return self.chance * (1 - self.chance) * (self.high - self.low) ** 2


LAWS = st.builds(
    lambda chance, low, more: TwoCosts(chance, low, low + more),
    st.floats(0.001, 0.999),
    st.floats(0.01, 10),
    st.floats(0.01, 10),
)


@given(LAWS, st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.999))
def test_stability_holds_for_every_law_of_two_costs(law: TwoCosts, c: float, spread: float, below: float) -> None:
    """Honest training makes what costs less than E₁ + a with at most the proved probability, wherever E₁ < cE is."""
    spoof = below * c * law.mean
    found = stability(mean=law.mean, variance=law.variance, c=c, spoof_variance=spread**2)
    if law.low < spoof + sqrt(3) * spread:
        assert law.chance <= found.proved + 1e-9
    assert 0 <= found.proved <= 1


def test_stability_as_printed_does_not_hold() -> None:
    """Half of all honest proofs cost 0.84: within a = 0.346 of a spoof's mean of 0.499, which is cheap for c = 0.5."""
    law = TwoCosts(0.5, 0.84, 1.16)
    found = stability(mean=law.mean, variance=law.variance, c=0.5, spoof_variance=0.04)
    assert law.low < 0.499 + sqrt(3 * 0.04)
    assert found.printed < 0.04 < law.chance < found.proved < 0.53


@pytest.mark.parametrize(("c", "spoof_variance"), [(1.0, 0.0), (1.0, 0.5), (0.5, 1 / 12), (0.9, 0.01)])
def test_stability_proves_nothing_where_the_spoof_may_cost_as_much(c: float, spoof_variance: float) -> None:
    assert stability(mean=1, variance=0.1, c=c, spoof_variance=spoof_variance).proved == 1.0


def test_stability_is_the_papers_formula_where_it_has_a_value() -> None:
    assert stability(mean=2, variance=0.5, c=0.25, spoof_variance=1 / 3).printed == pytest.approx(0.5 / 2.5**2)
    assert stability(mean=1, variance=0.5, c=1, spoof_variance=0).printed == inf
    assert isnan(stability(mean=1, variance=0, c=1, spoof_variance=0).printed)


def test_spoof_of_one_cost_is_made_by_honest_training_as_rarely_as_it_costs_so_little() -> None:
    """Without variance the sign does not matter, and what is left is Cantelli in place of Chebyshev."""
    found = stability(mean=1, variance=0.1, c=0.5, spoof_variance=0)
    assert found.printed == pytest.approx(0.4) and found.proved == pytest.approx(0.1 / 0.35)


@given(LAWS, st.floats(0, 1))
def test_queries_hold_for_every_law_of_two_costs(law: TwoCosts, c: float) -> None:
    assume(law.low <= c * law.mean)
    found = queries(mean=law.mean, variance=law.variance, c=c)
    none_in = [(1 - law.chance) ** (draws - 1) for draws in (found.needed, found.issued)]
    assert 1 - none_in[0] < 2 / 3 + 1e-9  # with one draw less than is needed, a cheap proof is not likely enough
    assert none_in[1] >= 2 / 3 - 1e-9  # and so many are issued with probability 2/3


@pytest.mark.parametrize("variance", [0.001, 0.01, 0.05])
def test_queries_are_not_issued_as_often_as_printed(variance: float) -> None:
    """The law for which the bound on a cheap proof is sharp has one with probability 1/3 before so many are issued."""
    found = queries(mean=1, variance=variance, c=0.5)
    chance = variance / (variance + 0.25)
    assert (1 - chance) ** (found.printed - 1) < 0.5 and found.issued < found.printed


def test_queries_are_the_papers_formula_where_it_has_a_value() -> None:
    assert queries(mean=2, variance=0.5, c=0.5).printed == pytest.approx(log(1 / 3) / log(0.5))
    assert queries(mean=1, variance=0, c=0.5).printed == inf


@pytest.mark.parametrize(("variance", "c"), [(0.25, 0.5), (9.0, 0.5), (0.1, 1.0), (0.0, 1.0)])
def test_queries_have_no_printed_bound_where_chebyshev_has_none(variance: float, c: float) -> None:
    found = queries(mean=1, variance=variance, c=c)
    assert isnan(found.printed) and found.needed >= 1 and found.issued == 1


@pytest.mark.parametrize("draws", range(1, 9))
def test_count_that_is_whole_but_for_rounding_is_whole(draws: int) -> None:
    """Where so many draws find a cheap one with probability 2/3, so many are needed; with 1/3, one more is issued."""
    for missed in (1 / 3, 2 / 3):
        chance = 1 - missed ** (1 / draws)
        found = queries(mean=1, variance=0.25 * chance / (1 - chance), c=0.5)
        assert (found.needed if missed < 0.5 else found.issued - 1) == draws


def test_wide_costs_may_still_take_more_than_one_draw() -> None:
    assert queries(mean=1, variance=0.3, c=0.5).needed == 2


def test_costs_that_do_not_vary_are_never_cheap() -> None:
    found = queries(mean=1, variance=0, c=0.5)
    assert (found.needed, found.issued) == (inf, inf)


@pytest.mark.parametrize("changed", [
    {"mean": 0}, {"mean": -1}, {"mean": inf}, {"mean": nan}, {"variance": -1}, {"variance": nan}, {"c": -0.1},
    {"c": 1.1}, {"c": nan},
], ids=str)  # fmt: skip
def test_what_describes_no_costs_is_refused(changed: Any) -> None:
    given_ = {"mean": 1, "variance": 0.1, "c": 0.5, **changed}
    with pytest.raises(PolError, match="costs have"):
        queries(**given_)
    with pytest.raises(PolError, match="costs have"):
        stability(**given_, spoof_variance=0.1)
    with pytest.raises(PolError, match="costs have"):
        stability(mean=1, variance=0.1, c=0.5, spoof_variance=-1)
