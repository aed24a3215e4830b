"""Hold thresholds to cases computed by hand, and to values that are no numbers."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import polarchive as pol
from polarchive.measures.distance import compare
from polarchive.verification.checks.counters import counters
from polarchive.verification.checks.replay_error import ReplayError
from polarchive.verification.evidence import Evidence, kind
from polarchive.verification.finding import Outcome
from polarchive.verification.fitted import PerStep
from polarchive.verification.thresholds import Measured, PooledRelative, Threshold, replays_of, shares

VAST = 1e300
THRESHOLDS: list[Threshold] = [
    pol.Fixed(0.0), pol.Fixed(VAST), pol.Relative(), pol.Relative(VAST), pol.Relative(VAST, VAST),
    pol.Lp(1, VAST), pol.Lp(2, VAST), pol.Lp(math.inf, VAST), PooledRelative(), PooledRelative(VAST),
]  # fmt: skip


def evidence(**tensors: tuple[Tensor, Tensor, Tensor]) -> Evidence:
    """Return the evidence on tensors of the model, each as opened, claimed and replayed."""
    distances = {f"model/{name.replace('_', '.')}": compare(*each) for name, each in tensors.items()}
    return Evidence(0, 0, 1, distances)


def moved(replayed: float, claimed: float, count: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Return a tensor of ones, as claimed and as replayed after every element moved by so much."""
    return torch.ones(count), torch.ones(count) + claimed, torch.ones(count) + replayed


def errors(threshold: Threshold, of: Evidence) -> dict[str | None, float]:
    return {each.tensor: each.error for each in threshold(of)}


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("allowed", [0.0, 0.1, 1e300])
def test_error_that_is_no_number_is_never_within(value: float, allowed: float) -> None:
    assert not Measured("model/w", value, allowed).within


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=repr)
def test_nan_never_passes(threshold: Threshold) -> None:
    nan, ones = torch.tensor([math.nan, 1.0]), torch.ones(2)
    for claimed, replayed in ((nan, ones), (ones, nan), (nan, nan)):
        of = evidence(u=moved(1.0, 1.0), w=(torch.zeros(2), claimed, replayed), x=moved(1.0, 1.0))
        assert not all(each.within for each in threshold(of))
        assert {finding.outcome for finding in ReplayError(threshold)(of)} == {Outcome.FAILED}


def test_fixed_is_the_largest_error_of_each_tensor() -> None:
    of = evidence(a=(torch.zeros(2), torch.tensor([1.0, 3.0]), torch.tensor([1.5, 3.25])), b=moved(1.0, 1.0))
    assert errors(pol.Fixed(0.5), of) == {"model/a": 0.5, "model/b": 0.0}


def test_fixed_at_its_limit_passes_and_above_it_fails() -> None:
    (measured,) = pol.Fixed(0.5)(evidence(w=moved(1.0, 1.5)))
    assert measured.within
    (measured,) = pol.Fixed(0.5)(evidence(w=moved(1.0, 1.501)))
    assert not measured.within


@pytest.mark.parametrize(("p", "norm"), [(1, 7.0), (2, 5.0), (math.inf, 4.0)])
def test_lp_pools_the_tensors_of_one_part(p: float, norm: float) -> None:
    zero = torch.zeros(1)
    of = evidence(a=(zero, zero + 3, zero), b=(zero, zero - 4, zero))
    other = Evidence(0, 0, 1, {**of.distances, "optimizer/a/momentum": compare(None, torch.ones(9), torch.zeros(9))})
    assert errors(pol.Lp(p, 4.5), other) == {None: norm}
    assert [each.within for each in pol.Lp(p, 4.5)(other)] == [norm <= 4.5]


def test_lp_of_a_part_that_is_not_there_never_passes() -> None:
    assert not any(each.within for each in pol.Lp(2, math.inf, part="net")(evidence(w=moved(1, 1))))


def test_lp_in_units_of_d_ref() -> None:
    of = evidence(w=moved(1.0, 1.5))
    (plain,), (normalised,) = pol.Lp(2, 0.5)(of), pol.Lp(2, 0.5, d_ref=4.0)(of)
    assert (plain.error, plain.unit) == (1.0, "") and (normalised.error, normalised.unit) == (0.25, " of d_ref")
    assert not plain.within and normalised.within


def test_pooled_relative_is_the_rule_of_lemma_2() -> None:
    """Of updates of length 3 and 4 the claim makes 3 and 2: it is off by 2 of the lesser length, √13."""
    of = evidence(a=moved(1.5, 1.5), b=moved(2.0, 1.0))
    (measured,) = PooledRelative(0.56)(of)
    assert (measured.tensor, measured.error) == (None, pytest.approx(2 / math.sqrt(13))) and measured.within
    assert not next(PooledRelative(0.55)(of)).within


@pytest.mark.parametrize("name", ["bn.running_mean", "bn.running_var"])
def test_pooled_relative_takes_no_room_from_batch_statistics(name: str) -> None:
    alone = evidence(w=moved(1.0, 1.5))
    other = Evidence(0, 0, 1, {**alone.distances, f"model/{name}": compare(*moved(1e6, 1e6))})
    counted = Evidence(0, 0, 1, {**alone.distances, "model/count": compare(*map(torch.tensor, (0, 10**6, 10**6)))})
    momentum = Evidence(0, 0, 1, {**alone.distances, "optimizer/w/momentum": compare(*moved(1e6, 1e6))})
    for of in (alone, other, counted, momentum):
        assert errors(PooledRelative(), of) == {None: pytest.approx(0.5)}


def test_pooled_relative_of_a_part_that_is_not_there_never_passes() -> None:
    assert not any(each.within for each in PooledRelative(math.inf, part="net")(evidence(w=moved(1, 1))))


def test_relative_is_the_share_of_the_lesser_update() -> None:
    found = errors(pol.Relative(0.1, floor=0.0), evidence(a=moved(2.0, 1.0), b=moved(1.0, 2.0), c=moved(1.0, -1.0)))
    assert found == {"model/a": 1.0, "model/b": 1.0, "model/c": 2.0}


def test_relative_at_its_share_passes_and_above_it_fails() -> None:
    for claimed, within in ((1.125, True), (1.126, False), (0.875, False)):
        (measured,) = pol.Relative(0.125, floor=0.0)(evidence(w=moved(1.0, claimed)))
        assert measured.within is within


def test_large_claim_widens_nothing() -> None:
    (measured,) = pol.Relative(0.1)(evidence(w=moved(1.0, 1000.0)))
    assert measured.error == pytest.approx(999.0)


def test_shares_are_of_what_was_replayed_whatever_was_claimed() -> None:
    of = evidence(a=moved(1.0, 0.5), b=moved(1.0, 1000.0), c=moved(0.0, 1.0), d=moved(0.0, 0.0))
    assert shares(of.distances) == {"model/a": 0.5, "model/b": 999.0, "model/c": math.inf, "model/d": 0.0}
    assert errors(pol.Relative(floor=0.0), of)["model/a"] == 1.0


def test_floor_is_a_share_of_the_pooled_update_of_a_kind() -> None:
    """Of four elements that move by 1 and four by nothing much, the pooled root mean square is the root of a half."""
    of = evidence(q_bias=moved(1.0, 1.0), k_bias=moved(2**-20, 2**-10))
    pooled = math.sqrt((4 * 1.0 + 4 * 2**-40) / 8)
    assert errors(pol.Relative(0.1, 0.5), of)["model/k.bias"] == pytest.approx((2**-10 - 2**-20) / (0.5 * pooled))


def test_floor_is_taken_per_element_whatever_the_sizes() -> None:
    small = evidence(q_bias=moved(1.0, 1.0, count=1), k_bias=moved(0.25, 0.5, count=1))
    large = evidence(q_bias=moved(1.0, 1.0, count=100), k_bias=moved(0.25, 0.5, count=100))
    assert errors(pol.Relative(), small) == pytest.approx(errors(pol.Relative(), large))


def test_other_kinds_lend_no_floor() -> None:
    of = evidence(q_weight=moved(1000.0, 1000.0), k_bias=moved(2**-20, 2**-10))
    assert errors(pol.Relative(), of)["model/k.bias"] == pytest.approx(1023.0)


def test_what_the_replay_leaves_alone_must_be_equal() -> None:
    of = evidence(a_bias=moved(1.0, 1.0), frozen_bias=moved(0.0, 2**-20), still_bias=moved(0.0, 0.0))
    found = errors(pol.Relative(), of)
    assert (found["model/frozen.bias"], found["model/still.bias"]) == (math.inf, 0.0)


@pytest.mark.parametrize("value", [math.inf, 1e200])
def test_overflow_in_one_tensor_excuses_no_other(value: float) -> None:
    """A tensor may overflow honestly; pooled with it, any error of its kind would be small."""
    overflown = torch.full((4,), value, dtype=torch.float64)
    of = evidence(a_weight=(torch.zeros(4), overflown, overflown), b_weight=moved(1.0, 1000.0))
    (_, other) = pol.Relative(0.1, floor=0.0 if value < math.inf else 0.1)(of)
    assert other.tensor == "model/b.weight" and not other.within


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("model/layers.0.attention.k.bias", "model/bias"),
        ("optimizer/model/layers.0.attention.k.bias/exp_avg", "optimizer/bias/exp_avg"),
        ("optimizer/#0/last", "optimizer/#0/last"),
        ("temperature", "temperature"),
        ("optimizer/temperature/exp_avg", "optimizer/temperature/exp_avg"),
    ],
)
def test_kind_is_part_last_word_and_key(name: str, pool: str) -> None:
    assert kind(name) == pool


@pytest.mark.parametrize("error", [1e-9, 1.0, math.inf, math.nan])
def test_error_of_which_nobody_knows_is_unknown_and_no_error_is_none(error: float) -> None:
    unsure = Measured("model/w", error, math.inf, unknown="not calibrated")

    def threshold(of: Evidence) -> Iterator[Measured]:
        yield from (Measured("model/v", 0.0, math.nan, unknown="not calibrated"), unsure, unsure)

    (finding,) = ReplayError(threshold)(Evidence(0, 0, 1))
    assert (finding.outcome, finding.message) == (Outcome.UNKNOWN, "not calibrated")


def test_replays_are_asked_for_by_thresholds_that_need_them() -> None:
    assert [replays_of(each) for each in (pol.Fixed(), PerStep(), PerStep(0.9, 9))] == [0, 19, 9]


def test_nothing_compared_is_nothing_passed() -> None:
    for threshold in THRESHOLDS:
        found = list(ReplayError(threshold)(Evidence(0, 0, 1)))
        assert found and Outcome.PASSED not in {finding.outcome for finding in found}


def test_tensor_of_one_state_only_fails_under_any_threshold() -> None:
    of = Evidence(0, 0, 1, evidence(w=moved(1.0, 1.0)).distances, misfits=("model/backdoor",))
    (finding,) = ReplayError(pol.Fixed(math.inf))(of)
    assert (finding.outcome, finding.tensor, finding.segment) == (Outcome.FAILED, "model/backdoor", 0)


@pytest.mark.parametrize(
    ("opened", "claimed", "replayed"),
    [
        (torch.tensor(1000), torch.tensor(1101), torch.tensor(1100)),
        (torch.tensor([0, 2**62]), torch.tensor([5, 2**62 + 1]), torch.tensor([5, 2**62])),
        (torch.tensor(1000.0), torch.tensor(1101.0), torch.tensor(1100.0)),
        (torch.tensor([True]), torch.tensor([True]), torch.tensor([False])),
    ],
    ids=["counter", "integers", "counter in a float", "mask"],
)
def test_no_tolerance_applies_to_counters(opened: Tensor, claimed: Tensor, replayed: Tensor) -> None:
    (finding,) = counters(evidence(count=(opened, claimed, replayed)))
    assert (finding.outcome, finding.tensor) == (Outcome.FAILED, "model/count")
    (finding,) = counters(evidence(count=(opened, replayed, replayed)))
    assert finding.outcome is Outcome.PASSED


KEPT = "optimizer/model/{}/exp_avg_sq"


@pytest.mark.parametrize(
    ("second", "claimed", "outcome"),
    [
        pytest.param(1e-12, -1.0, "unknown", id="no gradient"),
        pytest.param(1e-9, -1.0, "false", id="a small gradient"),
        pytest.param(1e-12, -9.0, "false", id="further than rounding goes"),
        pytest.param(1e-12, 1.0, "true", id="equal"),
    ],
)
def test_what_adam_makes_of_a_gradient_that_is_rounding_is_unknown(second: float, claimed: float, outcome: str) -> None:
    """By the second moments that the replay ended with, whatever is claimed of them."""
    tensors = {
        "model/w": moved(1.0, 1.0),
        "model/b": moved(1.0, claimed),
        KEPT.format("w"): (torch.zeros(4), torch.ones(4), torch.ones(4)),
        KEPT.format("b"): (torch.zeros(4), torch.full((4,), 1e-2), torch.full((4,), second)),
    }
    found = pol.Relative()(Evidence(0, 0, 1, {name: compare(*each) for name, each in tensors.items()}))
    (bias,) = (each for each in found if each.tensor == "model/b")
    assert ("true" if bias.within else "false" if bias.unknown is None else "unknown") == outcome
