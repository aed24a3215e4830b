"""Hold the odds of a draw to counting all draws."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polarchive.measures.odds import detection, of_fraction


@pytest.mark.parametrize(("population", "bad", "drawn"), [(6, 1, 2), (6, 2, 3), (7, 3, 1), (5, 5, 1), (4, 1, 4)])
def test_detection_is_the_share_of_draws_that_meet_something_bad(population: int, bad: int, drawn: int) -> None:
    draws = list(combinations(range(population), drawn))
    met = sum(min(draw) < bad for draw in draws)
    assert detection(population, bad, drawn) == pytest.approx(met / len(draws))


@given(st.integers(1, 500), st.integers(0, 600), st.integers(0, 600))
def test_detection_is_a_probability_that_grows_with_both(population: int, bad: int, drawn: int) -> None:
    found = detection(population, bad, drawn)
    assert 0 <= found <= 1
    assert found <= detection(population, bad + 1, drawn) + 1e-12
    assert found <= detection(population, bad, drawn + 1) + 1e-12


def test_one_bad_thing_is_met_as_often_as_it_is_drawn() -> None:
    assert detection(200, 1, 50) == pytest.approx(0.25)
    assert detection(10, 1, 0) == detection(10, 0, 10) == 0.0 and detection(10, 1, 99) == 1.0


def test_a_fraction_is_at_least_one() -> None:
    assert of_fraction(1000, 0.1, 20) == detection(1000, 100, 20) > 0.87
    assert of_fraction(5, 0.1, 1) == pytest.approx(0.2)
