"""Hold tests of laws to laws that are known, and thresholds from honest errors to what they promise of the next one."""

import sys
from itertools import pairwise
from math import comb, inf, isnan, log, nan, sqrt
from subprocess import run

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from polarchive.errors import PolError
from polarchive.measures.laws import (
    clopper_pearson,
    conformal,
    correlation,
    follows,
    replays_for,
    replays_needed,
    same_law,
    tolerance,
)

TAUS = [0.05, 0.5, 0.55, 0.7, 0.9, 0.95, 0.99]
ERRORS = st.lists(st.floats(0, 1e6), max_size=60)
ROUNDS = 4000
SURE = 1 - 1e-6


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def within(errors: list[float], threshold: float) -> int:
    return sum(error <= threshold for error in errors)


def test_samples_of_one_law_are_not_told_apart_and_others_are(rng: np.random.Generator) -> None:
    one, other = rng.normal(size=(3, 100)), rng.normal(size=500)
    assert same_law(one, other).p > 0.01
    assert same_law(one, 2 * other).p < 1e-3 and same_law(one, other + 0.5).p < 1e-3


def test_two_sample_statistic_is_the_largest_gap_between_distributions() -> None:
    found = same_law([1, 2, 3, 4], [3.5, 4.5])
    assert found.statistic == 0.75
    assert found.p == pytest.approx(6 / comb(6, 2))  # of all places for two among six, six lie so far to one side


def test_constants_are_of_one_law_only_if_they_are_equal() -> None:
    assert same_law(np.ones(20), np.ones(30)).p == 1.0
    assert same_law(np.ones(20), np.full(30, 1 + 1e-12)).p < 1e-9


def test_one_sample_follows_its_own_law_alone(rng: np.random.Generator) -> None:
    normal, uniform = scipy.stats.norm.cdf, scipy.stats.uniform.cdf
    for own, other, sample in ((normal, uniform, rng.normal(size=300)), (uniform, normal, rng.uniform(size=300))):
        assert follows(sample, own).p > 0.01 and follows(sample, other).p < 1e-6


def test_p_is_uniform_where_the_law_is_right(rng: np.random.Generator) -> None:
    ps = [same_law(rng.normal(size=40), rng.normal(size=60)).p for _ in range(1000)]
    low, high = clopper_pearson(sum(p <= 0.05 for p in ps), len(ps), SURE)
    assert low <= 0.05 and high > 0.03  # exact p take few values: they are never too small


def test_order_that_no_law_shows_is_seen_by_rank(rng: np.random.Generator) -> None:
    """A spoof's initial state: fresh numbers of the right law, in the order of the model that was stolen."""
    stolen, fresh = rng.normal(size=2000), rng.normal(size=2000)
    matched = np.sort(fresh)[np.argsort(np.argsort(stolen))]
    assert same_law(matched, rng.normal(size=2000)).p > 0.01
    assert correlation(matched, stolen).statistic == pytest.approx(1.0) and correlation(matched, stolen).p < 1e-9
    assert abs(correlation(fresh, stolen).statistic) < 0.1 and correlation(fresh, stolen).p > 0.01


def test_rank_correlation_is_that_known_by_hand() -> None:
    assert correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]).statistic == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert correlation([1, 2, 3], [9, 4, 1]).statistic == pytest.approx(-1.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("numbers", [[], [1.0], [1.0, 2.0], [3.0, 3.0, 3.0], [1.0, nan, 2.0]])
def test_what_has_no_order_has_no_correlation(numbers: list[float]) -> None:
    found = correlation(numbers, list(range(len(numbers))))
    assert isnan(found.statistic) and isnan(found.p)


@pytest.mark.filterwarnings("error")
def test_missing_numbers_show_as_such() -> None:
    found = [same_law([1, nan], [1, 2]), same_law([], [1]), same_law([1], []), follows([nan, 0.5], lambda x: x)]
    assert all(isnan(each.statistic) and isnan(each.p) for each in [*found, follows([], lambda x: x)])


def test_unpaired_numbers_are_refused() -> None:
    with pytest.raises(PolError, match="paired"):
        correlation([1, 2, 3], [1, 2])


@pytest.mark.parametrize(("found", "trials"), [(0, 1), (0, 30), (3, 30), (15, 30), (30, 30)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_ends_of_the_interval_make_what_was_found_as_rare_as_allowed(
    found: int, trials: int, confidence: float
) -> None:
    low, high = clopper_pearson(found, trials, confidence)
    chances = [scipy.stats.binom.sf(found - 1, trials, low), scipy.stats.binom.cdf(found, trials, high)]
    assert chances[0] == pytest.approx((1 - confidence) / 2) if found else low == 0
    assert chances[1] == pytest.approx((1 - confidence) / 2) if found < trials else high == 1


@pytest.mark.parametrize(("found", "trials", "confidence"), [(-1, 3, 0.9), (4, 3, 0.9), (0, 0, 0.9), (1, 2, 1.0)])
def test_interval_of_no_trials_is_refused(found: int, trials: int, confidence: float) -> None:
    with pytest.raises(PolError):
        clopper_pearson(found, trials, confidence)


@given(ERRORS, st.sampled_from(TAUS))
def test_conformal_threshold_is_the_least_that_covers_enough(errors: list[float], tau: float) -> None:
    """Enough are τ(n + 1) of the n errors, as the next one is as likely to fall between any two of them."""
    found, enough = conformal(errors, tau), round(tau * 100) * (len(errors) + 1)
    if found < inf:
        assert 100 * within(errors, found) >= enough
        assert 100 * within([error for error in errors if error < found], found) < enough
    assert (found == inf) == (len(errors) < replays_needed(tau))


@given(ERRORS, st.sampled_from(TAUS), st.sampled_from(TAUS))
def test_thresholds_grow_with_what_is_asked(errors: list[float], tau: float, confidence: float) -> None:
    for one, other in pairwise(TAUS):
        assert conformal(errors, one) <= conformal(errors, other)
        assert tolerance(errors, one, confidence) <= tolerance(errors, other, confidence)
        assert tolerance(errors, tau, one) <= tolerance(errors, tau, other)


@given(ERRORS, st.sampled_from(TAUS), st.sampled_from(TAUS))
def test_tolerance_is_the_least_that_covers_enough_with_confidence(
    errors: list[float], tau: float, confidence: float
) -> None:
    count, ordered = len(errors), sorted(errors)
    sure = [sum(comb(count, k) * tau**k * (1 - tau) ** (count - k) for k in range(rank)) for rank in range(count + 1)]
    rank = next((rank for rank in range(1, count + 1) if sure[rank] >= confidence - 1e-9), None)
    assert tolerance(errors, tau, confidence) == (ordered[rank - 1] if rank else inf)
    assert (rank is None) == (count < replays_for(tau, confidence))


@pytest.mark.parametrize(("tau", "count"), [(0.5, 1), (0.55, 2), (0.9, 9), (0.95, 19), (0.99, 99), (0.999, 999)])
def test_replays_needed_are_the_known_ones(tau: float, count: int) -> None:
    assert replays_needed(tau) == count
    assert conformal([0.0] * count, tau) == 0.0 and conformal([0.0] * (count - 1), tau) == inf


@pytest.mark.parametrize(("tau", "confidence", "count"), [
    (0.95, 0.95, 59), (0.99, 0.99, 459), (0.9, 0.95, 29),
    (0.5, 0.75, 2), (0.9, 0.19, 2), (0.9, 0.3439, 4), (0.8, 0.36, 2),
])  # fmt: skip
def test_replays_for_a_confidence_are_the_known_ones(tau: float, confidence: float, count: int) -> None:
    assert replays_for(tau, confidence) == count
    assert tolerance([0.0] * count, tau, confidence) == 0.0
    assert tolerance([0.0] * (count - 1), tau, confidence) == inf


def test_share_of_a_count_is_the_decimal_that_was_written() -> None:
    """As floats, 0.55 of 20 is 11.000000000000002, and would cost another replay."""
    assert conformal(list(range(1, 20)), 0.55) == 11


def test_error_that_is_no_number_counts_as_the_largest() -> None:
    errors = [nan, 1.0, 2.0, nan, 3.0]
    assert conformal(errors, 0.5) == 3.0 and conformal(errors, 0.6) == inf
    assert conformal([nan] * 99, 0.5) == inf


@pytest.mark.parametrize(("count", "tau"), [(19, 0.95), (30, 0.9), (40, 0.5)])
def test_conformal_threshold_covers_the_next_error_as_promised(
    count: int, tau: float, rng: np.random.Generator
) -> None:
    """By Monte Carlo, over skewed errors: the coverage is τ or more, and what rank / (n + 1) says exactly."""
    drawn = rng.lognormal(size=(ROUNDS, count + 1))
    covered = sum(row[-1] <= conformal(row[:-1].tolist(), tau) for row in drawn)
    low, high = clopper_pearson(covered, ROUNDS, SURE)
    assert low <= np.ceil(round((count + 1) * tau, 9)) / (count + 1) <= high and high >= tau


@pytest.mark.parametrize(("count", "tau", "confidence"), [(59, 0.95, 0.95), (60, 0.9, 0.9), (30, 0.5, 0.99)])
def test_tolerance_gives_the_tpr_as_often_as_promised(
    count: int, tau: float, confidence: float, rng: np.random.Generator
) -> None:
    """By Monte Carlo, over uniform errors, of which a threshold is its own TPR."""
    reached = sum(tolerance(row.tolist(), tau, confidence) >= tau for row in rng.uniform(size=(ROUNDS, count)))
    low, high = clopper_pearson(reached, ROUNDS, SURE)
    rank = int(scipy.stats.binom.ppf(confidence, count, tau)) + 1
    assert low <= scipy.stats.binom.cdf(rank - 1, count, tau) <= high and high >= confidence


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.5, nan])
def test_probability_that_is_none_is_refused(value: float) -> None:
    for call in (
        lambda: conformal([1.0], value),
        lambda: replays_needed(value),
        lambda: tolerance([1.0], value, 0.9),
        lambda: tolerance([1.0], 0.9, value),
        lambda: replays_for(0.9, value),
        lambda: replays_for(value, 0.9),
    ):
        with pytest.raises(PolError, match="probability"):
            call()


@pytest.mark.parametrize(("mean", "spread", "p"), [(71.472, 0.186, 8.65e-77), (58.056, 0.205, 5.43e-73)])
def test_p_of_table_one_follows_from_its_distances(mean: float, spread: float, p: float) -> None:
    """Of 30 distances, if ± is their standard deviation over n: over n − 1, p would be out by more than rounding."""
    by = {ddof: [log(scipy.stats.t.sf(mean / (each / sqrt(30 - 1 + ddof)), 29)) for each in rounded(spread)]
          for ddof in (0, 1)}  # fmt: skip
    assert by[0][0] <= log(p) <= by[0][1] and not by[1][0] <= log(p) <= by[1][1]


def rounded(value: float) -> tuple[float, float]:
    """Return between what a number of three decimals was, before it was rounded."""
    return value - 0.0005, value + 0.0005


def test_thresholds_do_not_wait_for_tests_of_laws_to_load() -> None:
    code = "import sys; from polarchive.measures import laws; laws.tolerance([1.0], 0.5, 0.5)"
    assert run([sys.executable, "-c", f"{code}; sys.exit('scipy.stats' in sys.modules)"], check=False).returncode == 0
