"""Hold Adam to its bound, on gradients that anybody could think of and on the worst ones."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polarchive.format.entry import Hyper
from polarchive.format.tensors import Array
from polarchive.measures.reach import Betas, Way, since, ways
from polarchive.training.arrays import to_array

USUAL = Betas((0.9, 0.9), (0.999, 0.999))
Adams = type[torch.optim.Adam]


def hyper(lr: float = 0.1, decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.999), group: int = 0) -> Hyper:
    found = {"lr": lr, "betas/0": betas[0], "betas/1": betas[1], "weight_decay": decay}
    return {f"optimizer/{group}/{name}": value for name, value in found.items()}


def ratio(gradients: list[float], first: list[float], second: float) -> float:
    """Return m̂ / √v̂ after gradients, as torch's Adam takes it, under a first beta per step."""
    m = v = 0.0
    for gradient, beta in zip(gradients, first, strict=True):
        m, v = beta * m + (1 - beta) * gradient, second * v + (1 - second) * gradient**2
    steps = len(gradients)
    return abs(m) / (1 - first[-1] ** steps) / math.sqrt(v / (1 - second**steps))


def worst(steps: int, first: float, second: float) -> list[float]:
    """Return the gradients for which Cauchy and Schwarz have equality."""
    return [(first / second) ** (steps - 1 - step) for step in range(steps)]


def test_usual_betas_allow_seven_times_the_rate() -> None:
    assert USUAL.bound == pytest.approx(0.1 / math.sqrt(0.001 * (1 - 0.81 / 0.999)))
    assert 7.27 < USUAL.bound < 7.28


@pytest.mark.parametrize("steps", [1, 2, 10, 300])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.9), (0.0, 0.999), (0.5, 0.3), (0.99, 0.999), (0.9, 0.82)])
def test_no_gradients_lead_beyond_the_bound(betas: tuple[float, float], steps: int) -> None:
    reached = ratio(worst(steps, *betas), [betas[0]] * steps, betas[1])
    bound = Betas((betas[0],) * 2, (betas[1],) * 2).bound
    assert reached <= bound * (1 + 1e-9)
    if steps == 300:
        assert reached == pytest.approx(bound, rel=0.7), "the bound is far from what gradients reach"


@given(st.lists(st.floats(-1e3, 1e3).filter(lambda value: abs(value) > 1e-6), min_size=1, max_size=30), st.randoms())
def test_betas_that_change_lead_no_further_than_their_range(gradients: list[float], random: object) -> None:
    first = [random.uniform(0.85, 0.95) for _ in gradients]  # type: ignore[attr-defined]
    assert ratio(gradients, first, 0.999) <= Betas((0.85, 0.95), (0.999, 0.999)).bound


@pytest.mark.parametrize("betas", [((0.9, 0.9), (0.5, 0.5)), ((0.9, 1.0), (0.999, 0.999)), ((0.0, 0.0), (1.0, 1.0))])
def test_where_nothing_bounds_it_nothing_is_beyond(betas: tuple[tuple[float, float], tuple[float, float]]) -> None:
    assert Betas(*betas).bound == math.inf
    assert Way(math.inf, 1.0, 1).used(array(0.0), array(1e9)) == 0.0


def array(*numbers: float, dtype: torch.dtype = torch.float32) -> Array:
    return to_array(torch.tensor(numbers, dtype=dtype), "w")


# Against torch.


def trained(adam: Adams, steps: list[Hyper], gradient: Callable[[int], Tensor], **settings: object) -> list[Tensor]:
    """Return a weight as it is before and after each step."""
    weight = torch.nn.Parameter(torch.linspace(-3, 3, 50, dtype=torch.float64))
    optimizer = adam([weight], **settings)  # type: ignore[arg-type]
    found = [weight.detach().clone()]
    for number, step in enumerate(steps):
        group = optimizer.param_groups[0]
        group["lr"], group["weight_decay"] = step["optimizer/0/lr"], step["optimizer/0/weight_decay"]
        weight.grad = gradient(number)
        optimizer.step()
        found.append(weight.detach().clone())
    return found


@pytest.mark.parametrize("settings", [{}, {"amsgrad": True}, {"eps": 1e-2}, {"maximize": True}], ids=str)
@pytest.mark.parametrize("adam", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_stays_within_its_reach(adam: Adams, settings: dict[str, object]) -> None:
    steps = [hyper(lr=0.1 / (1 + step), decay=0.3) for step in range(40)]
    torch.manual_seed(0)
    growing = trained(adam, steps, lambda step: torch.full((50,), 1.12**step, dtype=torch.float64), **settings)
    noisy = trained(adam, steps, lambda step: torch.randn(50, dtype=torch.float64), **settings)
    history = since({}, steps)
    for states in (growing, noisy):
        for start, end in ((0, 40), (0, 1), (10, 20), (39, 40)):
            (way,) = ways(history, steps[start:end]).values()
            assert way.used(to_array(states[start], "w"), to_array(states[end], "w")) <= 1


def test_reach_is_what_the_rates_add_up_to() -> None:
    (way,) = ways({"optimizer/0": USUAL}, [hyper(lr=0.1), hyper(lr=0.02)]).values()
    assert way.reach == pytest.approx(0.12 * USUAL.bound) and way.kept == 1 and way.steps == 2
    assert way.used(array(0.0), array(0.24 * USUAL.bound)) == pytest.approx(2 / 1.001, rel=1e-3)


def test_decay_moves_large_weights_further() -> None:
    (way,) = ways({"optimizer/0": USUAL}, [hyper(lr=1e-6, decay=0.5e6)]).values()
    assert way.kept == pytest.approx(0.5)
    assert way.used(array(100.0), array(50.0)) < 1 < way.used(array(100.0), array(70.0))
    assert way.used(array(100.0), array(100.0)) == 0.0


def test_what_a_rate_of_zero_moves_is_beyond_any_bound() -> None:
    (way,) = ways({"optimizer/0": Betas((0.9, 0.9), (0.5, 0.5))}, [hyper(lr=0.0)]).values()
    assert way.used(array(0.0, 1.0), array(0.0, 1.0)) == 0.0
    assert way.used(array(0.0), array(1e-3)) > 1e6


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_no_number_is_beyond_any_bound(odd: float) -> None:
    assert Way(1.0, 1.0, 1).used(array(0.0, 0.0), array(0.0, odd)) == math.inf


@pytest.mark.parametrize(("dtype", "used"), [(torch.float32, True), (torch.bfloat16, False)])
def test_rounding_is_allowed_as_the_dtype_rounds(dtype: torch.dtype, used: bool) -> None:
    """A weight of 256 in bfloat16 goes in steps of 2."""
    way = Way(0.1, 1.0, 1)
    assert (way.used(array(256.0, dtype=dtype), array(258.0, dtype=dtype)) > 1) is used


def test_history_joins_the_betas_of_all_steps_by_group() -> None:
    steps = [hyper(betas=(0.9, 0.999)), hyper(betas=(0.85, 0.99)), hyper(betas=(0.95, 0.995))]
    found = since({}, [{**step, **hyper(group=1)} for step in steps])
    assert found == {"optimizer/0": Betas((0.85, 0.95), (0.99, 0.999)), "optimizer/1": USUAL}
    assert since(since({}, steps[:1]), steps[1:]) == since({}, steps)
    assert since({}, [{"optimizer/0/lr": 0.1, "optimizer/0/momentum": 0.9}]) == {}


def test_early_steps_are_bounded_too() -> None:
    """A first beta that falls makes early steps larger than any later one."""
    bounds = [Betas((low, 0.95), (0.999, 0.999)).bound for low in (0.95, 0.5, 0.0)]
    assert all(one < other for one, other in pairwise(bounds))
    assert bounds[-1] >= 1 / (1 - 0.95)
    assert np.isfinite(bounds).all()
