"""Measure distances between small tensors whose norms are known by hand."""

import math

import pytest
import torch

from polarchive.measures.distance import compare
from polarchive.training.arrays import DTYPES

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


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
