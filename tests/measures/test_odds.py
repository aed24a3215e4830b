"""Hold the odds of a draw to counting all draws."""

from fractions import Fraction
from itertools import combinations
from math import comb
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polarchive.errors import PolError
from polarchive.measures.odds import counted, detection, draws_for, of_fraction


def exact(population: int, bad: int, drawn: int) -> Fraction:
    bad, drawn = sorted((bad, drawn))  # which may change places
    return 1 - Fraction(comb(population - drawn, bad), comb(population, bad))


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


@given(st.data())
def test_detection_is_exact_to_the_last_digits(data: st.DataObject) -> None:
    population = data.draw(st.integers(1, 400))
    bad, drawn = data.draw(st.integers(0, population)), data.draw(st.integers(0, population))
    assert detection(population, bad, drawn) == pytest.approx(float(exact(population, bad, drawn)), rel=1e-14, abs=0)


@pytest.mark.parametrize(("bad", "drawn"), [(1, 1), (1, 1000), (1000, 1000), (3, 500_000), (2000, 50)])
def test_detection_in_a_large_population_is_exact_too(bad: int, drawn: int) -> None:
    assert detection(10**6, bad, drawn) == pytest.approx(float(exact(10**6, bad, drawn)), rel=1e-13, abs=0)


def test_no_draw_takes_long_to_judge() -> None:
    start = process_time()
    assert detection(10**6, 1000, 1000) > 0.6 and detection(10**12, 10**8, 10**8) == 1
    assert [draws_for(10**6, bad, 0.99) for bad in (1000, 500_000)] == [4593, 7]
    assert process_time() - start < 1


def test_one_bad_thing_is_met_as_often_as_it_is_drawn() -> None:
    assert detection(200, 1, 50) == pytest.approx(0.25)
    assert detection(10, 1, 0) == detection(10, 0, 10) == 0.0 and detection(10, 1, 99) == 1.0
    assert str(detection(10, 0, 10)) == "0.0"


def test_a_fraction_is_at_least_one() -> None:
    assert of_fraction(1000, 0.1, 20) == detection(1000, 100, 20) > 0.87
    assert of_fraction(5, 0.1, 1) == pytest.approx(0.2)


@pytest.mark.parametrize(("fraction", "count"), [(0.07, 7), (0.071, 8), (0.0, 1), (1.0, 100), (0.29, 29), (1e-9, 1)])
def test_a_fraction_is_the_decimal_that_was_written(fraction: float, count: int) -> None:
    assert counted(100, fraction) == count


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction: float) -> None:
    with pytest.raises(PolError, match="fraction"):
        of_fraction(10, fraction, 1)


@given(st.data(), st.sampled_from([0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.7, 0.75, 0.8, 0.9, 0.95, 0.99, 0.999999, 1]))
def test_fewest_replays_that_reach_a_probability_are_found(data: st.DataObject, probability: float) -> None:
    population = data.draw(st.integers(1, 60))
    bad = data.draw(st.integers(1, population))
    asked = Fraction(str(probability))
    fewest = next(drawn for drawn in range(population + 1) if exact(population, bad, drawn) >= asked)
    assert draws_for(population, bad, probability) == fewest


def test_certainty_takes_all_but_the_bad_ones_and_one_more() -> None:
    assert draws_for(10**6, 1, 1) == 10**6 and draws_for(10**6, 1000, 1) == 10**6 - 999


@pytest.mark.parametrize(("population", "bad", "probability"), [(10, 0, 0.5), (10, 11, 0.5), (10, 1, 1.1), (0, 0, 0)])
def test_what_no_draw_reaches_is_refused(population: int, bad: int, probability: float) -> None:
    with pytest.raises(PolError, match="no draw"):
        draws_for(population, bad, probability)
