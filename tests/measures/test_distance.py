"""Measure distances between small tensors whose norms are known by hand."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from polarchive.errors import PolError
from polarchive.measures import distance as module
from polarchive.measures.distance import Distance, alpha_of, angle_of, compare, normalised, pool
from polarchive.training.arrays import DTYPES

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
NORMS = ("l1", "l2", "linf", "claimed", "replayed", "size", "inner")
ANGLES = [0.0, 1e-13, 1e-9, 1e-6, 1e-3, 0.1, 1.0, math.pi / 2, 3.0, math.pi]


def moves(claimed: list[float], replayed: list[float]) -> Distance:
    """Return the distance between updates from zero, in float64."""
    return compare(None, *(torch.tensor(each, dtype=torch.float64) for each in (claimed, replayed)))


def turned(angle: float, length: float = 1.0) -> Distance:
    """Return the distance between an update of length 1 and one turned by an angle."""
    turn = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    return compare(None, length * turn, torch.tensor([1.0, 0.0], dtype=torch.float64))


def numbers(distance: Distance) -> list[float]:
    return [getattr(distance, name) for name in NORMS]


def test_norms_are_those_computed_by_hand() -> None:
    before, replayed, claimed = torch.zeros(2), torch.tensor([3.0, 4.0]), torch.tensor([3.0, 16.0])
    distance = compare(before, claimed, replayed)
    assert (distance.l1, distance.l2, distance.linf) == (12.0, 12.0, 12.0)
    assert (distance.replayed, distance.claimed) == (5.0, math.hypot(3, 16))
    assert (distance.count, distance.equal, distance.whole) == (2, False, False)


def test_norms_differ_where_they_should() -> None:
    distance = compare(None, torch.tensor([[3.0, -4.0]]), torch.zeros(1, 2))
    assert (distance.l1, distance.l2, distance.linf) == (7.0, 5.0, 4.0)


def test_updates_are_measured_from_the_opening_state() -> None:
    before, replayed, claimed = torch.full((4,), 10.0), torch.full((4,), 11.0), torch.full((4,), 8.0)
    distance = compare(before, claimed, replayed)
    assert (distance.replayed, distance.claimed, distance.l2) == (2.0, 4.0, 6.0)


def test_missing_opening_tensor_counts_as_zeros() -> None:
    distance = compare(None, torch.tensor([3.0, 4.0]), torch.tensor([6.0, 8.0]))
    assert (distance.claimed, distance.replayed) == (5.0, 10.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_that_can_be_recorded_can_be_compared(dtype: torch.dtype) -> None:
    zeros = torch.zeros(3, dtype=torch.uint8).to(dtype)
    ones = torch.ones(3, dtype=torch.uint8).to(dtype)
    same, other = compare(zeros, ones, ones.clone()), compare(zeros, zeros, ones)
    assert same.equal and same.l1 == same.l2 == same.linf == 0.0
    assert not other.equal and (other.l1, other.linf) == (3.0, 1.0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_smallest_difference_is_seen(dtype: torch.dtype) -> None:
    one = torch.ones(2, dtype=dtype)
    next_to_it = torch.nextafter(one, 2 * one) if dtype.itemsize > 2 else one + torch.finfo(dtype).eps
    distance = compare(one, next_to_it, one)
    assert not distance.equal and distance.linf == torch.finfo(dtype).eps


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_value_that_is_no_number_is_never_near(value: float) -> None:
    distance = compare(torch.zeros(3), torch.tensor([0.0, value, 0.0]), torch.zeros(3))
    assert not distance.equal
    assert not any(norm <= 1e300 for norm in (distance.l1, distance.l2, distance.linf))


def test_nan_equals_not_even_itself() -> None:
    nan = torch.tensor([1.0, math.nan])
    distance = compare(nan, nan, nan)
    assert not distance.equal and math.isnan(distance.l2) and math.isnan(distance.linf)


def test_other_dtype_is_not_equal() -> None:
    distance = compare(None, torch.ones(2), torch.ones(2, dtype=torch.float64))
    assert not distance.equal and distance.l2 == 0.0


def test_empty_tensor_is_at_no_distance() -> None:
    distance = compare(None, torch.zeros(0), torch.zeros(0))
    assert distance.equal and (distance.count, distance.linf, distance.l2) == (0, 0.0, 0.0)


def test_integers_too_large_for_a_float_still_differ() -> None:
    large = torch.tensor([2**62], dtype=torch.int64)
    assert not compare(large, large + 1, large).equal


@pytest.mark.parametrize(
    ("replayed", "whole"),
    [
        (torch.tensor(7), True),
        (torch.tensor([1, 2]), True),
        (torch.tensor([True, False]), True),
        (torch.tensor(7.0), True),
        (torch.tensor(7.5), False),
        (torch.tensor(math.nan), False),
        (torch.tensor([7.0]), False),
        (torch.tensor(7 + 0j), False),
    ],
    ids=repr,
)
def test_integers_and_single_whole_numbers_are_counters(replayed: torch.Tensor, whole: bool) -> None:
    assert compare(None, replayed.clone(), replayed).whole is whole


@pytest.mark.parametrize(("claimed", "replayed", "cosine", "angle"), [
    ([3, 0], [5, 0], 1.0, 0.0),
    ([3, 0], [0, 5], 0.0, math.pi / 2),
    ([3, 0], [-5, 0], -1.0, math.pi),
    ([2, 0], [1, 1], math.sqrt(0.5), math.pi / 4),
    ([0, 0], [0, 0], 1.0, 0.0),
])  # fmt: skip
def test_direction_is_that_known_by_hand(claimed: Any, replayed: Any, cosine: float, angle: float) -> None:
    for one in (moves(claimed, replayed), moves(replayed, claimed)):
        assert one.cosine == pytest.approx(cosine) and one.angle == pytest.approx(angle)
        assert one.inner == pytest.approx(cosine * one.claimed * one.replayed)


def test_direction_is_that_of_the_updates_not_of_the_tensors() -> None:
    before = torch.full((2,), 100.0)
    distance = compare(before, before + torch.tensor([1.0, 0.0]), before + torch.tensor([0.0, 1.0]))
    assert (distance.inner, distance.angle, distance.relative) == (0.0, math.pi / 2, math.sqrt(2))


@pytest.mark.parametrize("angle", ANGLES)
def test_small_angles_keep_their_digits_where_an_arc_cosine_has_none(angle: float) -> None:
    assert turned(angle).angle == pytest.approx(angle, rel=1e-3 if angle < 1e-9 else 1e-6, abs=1e-300)
    if 0 < angle < 1e-9:
        assert math.acos(turned(angle).cosine) == 0.0


@given(st.floats(0, math.pi), st.floats(-12, 12))
def test_angle_does_not_depend_on_lengths(angle: float, power: float) -> None:
    assert turned(angle, 10**power).angle == pytest.approx(angle, abs=1e-7)


def test_update_that_only_one_side_makes_has_no_direction_and_no_scale() -> None:
    for one in (moves([1, 0], [0, 0]), moves([0, 0], [1, 0])):
        assert math.isnan(one.cosine) and math.isnan(one.angle) and one.relative == math.inf


@pytest.mark.parametrize(("claimed", "replayed", "relative"), [([3], [2], 0.5), ([1], [-2], 3.0), ([0], [0], 0.0)])
def test_relative_is_the_share_of_the_lesser_update(claimed: Any, replayed: Any, relative: float) -> None:
    assert moves(claimed, replayed).relative == moves(replayed, claimed).relative == relative


def test_relative_to_an_update_that_is_no_number_is_none_either() -> None:
    assert math.isnan(moves([0], [math.nan]).relative) and math.isnan(moves([math.nan], [0]).relative)


def test_cosine_of_the_reference_implementation_is_not_taken_over() -> None:
    """It divides by the square of one norm: parallel vectors have a "cosine" of 10, or of a tenth."""
    assert moves([10, 0], [1, 0]).cosine == moves([1, 0], [10, 0]).cosine == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(3))
def test_no_number_passes_as_it_does_in_the_reference_implementation(value: float, place: int) -> None:
    """It asks whether a distance is above the threshold, which NaN never is."""
    given_ = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 3.0]), torch.tensor([2.0, 4.0])]
    given_[place][0] = value
    distance = compare(*given_)
    assert math.isnan(distance.cosine) and math.isnan(distance.angle)
    assert not distance.relative <= 1e300 or place == 0  # what is compared are both ends
    pooled = pool([distance, moves([1, 0], [1, 0])])
    assert math.isnan(pooled.cosine) and math.isnan(pooled.angle)


def test_nan_in_one_tensor_shows_in_the_pool_even_beside_infinity() -> None:
    nan, far, near = moves([math.nan], [0]), moves([math.inf], [0]), moves([1], [1])
    for order in ([nan, far, near], [far, near, nan]):
        pooled = pool(order)
        assert not pooled.equal
        assert all(map(math.isnan, (pooled.l1, pooled.l2, pooled.linf, pooled.relative, pooled.cosine, pooled.angle)))


def test_infinities_that_agree_are_at_no_distance() -> None:
    mask = torch.tensor([0.0, -math.inf, 1.0])
    same = compare(mask, mask.clone(), mask.clone())
    assert same.equal and numbers(same) == [0, 0, 0, 0, 0, math.inf, 0]
    moved = compare(mask, mask + torch.tensor([3.0, 0, 0]), mask + torch.tensor([5.0, 0, 0]))
    assert not moved.equal and (moved.l2, moved.claimed, moved.replayed, moved.relative) == (2.0, 3.0, 5.0, 2 / 3)


@pytest.mark.parametrize("dtype", FLOATS[:3])
def test_no_norm_of_a_narrow_float_overflows_or_vanishes(dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    for value in (info.max, info.smallest_normal * info.eps):
        ends = torch.tensor([value, value], dtype=dtype), torch.tensor([-value, 0.0], dtype=dtype)
        distance = compare(torch.zeros(2, dtype=dtype), *ends)
        exact = float(ends[0][0])
        assert exact and distance.l2 == pytest.approx(math.sqrt(5) * exact, rel=1e-12)
        assert distance.inner == pytest.approx(-exact * exact, rel=1e-12) and not distance.equal


def test_float64_too_large_to_square_never_passes() -> None:
    distance = moves([1e200, 0], [0, 1e200])
    assert distance.l2 == math.inf and distance.linf == 1e200 and not distance.relative <= 1e300


@pytest.mark.parametrize("scale", [2.0**-1074, 1e-170])
def test_float64_too_small_to_square_is_seen_but_in_its_norms(scale: float) -> None:
    distance = moves([scale], [0])
    assert (distance.l2, distance.linf, distance.equal, distance.relative) == (0.0, scale, False, math.inf)


def test_complex_updates_are_measured_by_their_moduli_and_as_real_vectors() -> None:
    distance = compare(None, torch.tensor([3 + 4j, 1j]), torch.tensor([0j, 1 + 0j]))
    assert (distance.l1, distance.linf) == pytest.approx((5 + math.sqrt(2), 5.0))
    assert distance.l2 == pytest.approx(math.sqrt(27)) and (distance.inner, distance.size) == (0.0, 1.0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_counts_have_updates_too(dtype: torch.dtype) -> None:
    distance = compare(*(torch.tensor(each).to(dtype) for each in ([1, 0], [1, 1], [0, 1])))
    assert (distance.l1, distance.claimed, distance.inner, distance.whole) == (1.0, 1.0, 1.0, True)


@pytest.mark.parametrize("count", [0, 1, 7, 16, 17, 40])
@pytest.mark.parametrize("opened", [True, False])
def test_pieces_are_put_together_again(count: int, opened: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [torch.randn(count, 3, dtype=torch.float64) for _ in range(3)]
    start = tensors[0] if opened else None
    at_once = compare(start, tensors[1], tensors[2])
    monkeypatch.setattr(module, "_CACHED", 16)
    assert numbers(compare(start, tensors[1], tensors[2])) == pytest.approx(numbers(at_once), rel=1e-12)
    assert compare(start, tensors[1], tensors[1].clone()).equal


def test_nan_in_any_piece_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CACHED", 4)
    for place in range(10):
        claimed = torch.zeros(10)
        claimed[place] = math.nan
        distance = compare(None, claimed, torch.zeros(10))
        assert not distance.equal and all(map(math.isnan, (distance.l1, distance.l2, distance.linf)))


def test_order_in_memory_does_not_matter() -> None:
    claimed, replayed = torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5)
    laid = replayed.to(memory_format=torch.channels_last)
    assert numbers(compare(claimed, claimed, laid)) == numbers(compare(claimed, claimed, replayed))


def test_what_is_compared_stays_as_it_was() -> None:
    given_ = [torch.randn(5, dtype=torch.float64) for _ in range(3)]
    copies = [each.clone() for each in given_]
    compare(*given_)
    assert all(map(torch.equal, given_, copies))


class Fetched(TorchDispatchMode):
    """Count what a device would have to be waited for, but for the one list of numbers, which is not dispatched."""

    WAITS = ("equal", "_local_scalar_dense", "is_nonzero", "nonzero")
    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        self.count += func.overloadpacket.__name__ in self.WAITS
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("tensor", [torch.ones(9), torch.arange(9), torch.tensor(3), torch.tensor(3.0)], ids=str)
def test_no_number_is_fetched_alone(tensor: Tensor) -> None:
    with Fetched() as fetched:
        compare(tensor, tensor + 1, tensor + 1)
    assert fetched.count == 0
    with Fetched() as fetched:
        torch.equal(tensor, tensor)
        (tensor + 1).sum().item()
    assert fetched.count == 2


@given(st.lists(st.tuples(*[st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2)] * 3), min_size=1, max_size=5))
def test_pool_is_the_distance_between_all_tensors_as_one(parts: list[tuple[list[float], ...]]) -> None:
    tensors = [[torch.tensor(each, dtype=torch.float64) for each in part] for part in parts]
    pooled, whole = pool(compare(*part) for part in tensors), compare(*map(torch.cat, zip(*tensors, strict=True)))
    assert (pooled.count, pooled.equal, pooled.whole) == (whole.count, whole.equal, whole.whole)
    assert numbers(pooled) == pytest.approx(numbers(whole), rel=1e-9, abs=1e-3)


def test_pool_of_nothing_passes_nothing() -> None:
    nothing = pool([])
    assert not nothing.equal and not nothing.whole and all(map(math.isnan, numbers(nothing)))
    assert all(map(math.isnan, (nothing.cosine, nothing.angle, nothing.relative)))


def test_pool_is_whole_only_if_all_of_it_is() -> None:
    count, weight = compare(None, torch.tensor(3), torch.tensor(3)), moves([1], [1])
    assert pool([count, count]).whole and not pool([count, weight]).whole


@pytest.mark.parametrize(("d_ref", "delta"), [(71.472, 0.5718), (58.056, 0.4644)])
def test_thresholds_of_the_paper_are_shares_of_the_reference_distance(d_ref: float, delta: float) -> None:
    """Section VI fixes δ = 0.008, of the distances of Table I: 125 such steps walk all the way."""
    assert normalised(moves([0.6 * delta, 0], [0, 0.8 * delta]), d_ref) == pytest.approx(0.008, rel=1e-3)
    assert math.isnan(normalised(moves([math.nan], [0]), d_ref))


@pytest.mark.parametrize("d_ref", [0.0, -1.0, math.nan, math.inf])
def test_reference_distance_that_is_none_is_refused(d_ref: float) -> None:
    with pytest.raises(PolError, match="reference distance"):
        normalised(moves([1], [1]), d_ref)


@given(st.floats(0, math.pi))
def test_shares_and_angles_are_inverses(theta: float) -> None:
    assert angle_of(alpha_of(theta)) == pytest.approx(theta, abs=1e-7)


@given(st.floats(0, 2.5), st.floats(0, 1), st.floats(0, 2 * math.pi), st.floats(0.01, 100))
def test_no_pair_within_a_share_is_at_a_larger_angle(alpha: float, part: float, way: float, scale: float) -> None:
    """Every g' in the ball about g is a pair, in the plane of both; where g is the longer, the ball is smaller."""
    replayed = [scale * (1 + part * alpha * math.cos(way)), scale * part * alpha * math.sin(way)]
    distance = moves([scale, 0], replayed)
    if distance.relative < alpha:
        assert distance.angle <= angle_of(alpha) + 1e-7


@pytest.mark.parametrize("alpha", [1e-6, 0.01, 0.1, 0.5, 1.0, 1.5, 1.99])
def test_worst_pair_within_a_share_is_of_one_length(alpha: float) -> None:
    """Search on the rim, for each ratio of lengths: the angle never exceeds the bound, and at ratio 1 reaches it."""
    found = {}
    for ratio in [1 + step / 200 * alpha for step in range(200)]:
        angle = 2 * math.asin(math.sqrt((alpha**2 - (ratio - 1) ** 2) / ratio) / 2)  # the law of cosines
        found[ratio] = turned(angle, ratio).angle
        assert turned(angle, ratio).relative == pytest.approx(alpha, rel=1e-3)
    assert max(found, key=found.__getitem__) == 1.0
    assert found[1.0] == pytest.approx(angle_of(alpha), rel=1e-3) and max(found.values()) <= angle_of(alpha) * 1.001


@pytest.mark.parametrize("theta", [0.1, 0.5, 1.0, 1.5])
def test_share_is_larger_than_the_ball_of_the_papers_proof(theta: float) -> None:
    assert alpha_of(theta) > math.sin(theta)


@pytest.mark.parametrize("call", [
    lambda: angle_of(-0.1), lambda: angle_of(math.nan), lambda: alpha_of(-0.1), lambda: alpha_of(3.2),
    lambda: alpha_of(math.nan),
])  # fmt: skip
def test_shares_and_angles_that_are_none_are_refused(call: Any) -> None:
    with pytest.raises(PolError):
        call()


def test_share_of_twice_an_update_bounds_nothing() -> None:
    assert angle_of(2.0) == angle_of(math.inf) == math.pi and alpha_of(math.pi) == 2.0
