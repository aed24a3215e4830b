"""Hold what an optimizer keeps to what it then does to the weights."""

import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from polarchive.verification.checks.joint import Joint
from polarchive.verification.drift import Drift
from polarchive.verification.finding import Outcome
from polarchive.verification.residual import Way
from polarchive.verification.spending import Spending
from tests.forging import STRICT, Forgery, at
from tests.workloads import TRANSFORMER

KEY, FIRST, SECOND = (f"optimizer/model/w/{key}" for key in ("momentum_buffer", "exp_avg", "exp_avg_sq"))
SETTINGS = [(0.1, 0.9), (0.0, 0.9), (0.3, 0.5), (0.2, 0.99), (0.0, 0.9), (0.1, 0.0)]  # rates and momenta of six steps


def sgd(settings: list[tuple[float, float]]) -> Spending:
    return Spending.of({"optimizer/0/lr": lr, "optimizer/0/momentum": momentum} for lr, momentum in settings)


def adam(rates: list[float], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Spending:
    first, second = ({f"optimizer/0/betas/{place}": beta} for place, beta in enumerate(betas))
    return Spending.of({"optimizer/0/lr": rate, "optimizer/0/eps": eps, **first, **second} for rate in rates)


def coasted(optimizer: Optimizer, weight: Tensor, settings: list[dict[str, float]]) -> Tensor:
    """Return how far a weight goes without gradients."""
    before = weight.detach().clone()
    for each in settings:
        optimizer.param_groups[0].update(each)
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
    return weight.detach() - before


@pytest.mark.parametrize("step", range(len(SETTINGS)))
def test_momentum_carries_weights_as_far_as_it_does(step: int) -> None:
    weight, residual = torch.zeros(3, dtype=torch.float64), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    optimizer = SGD([weight.requires_grad_()], lr=0.1, momentum=0.9)
    optimizer.state[weight]["momentum_buffer"] = residual.clone()
    gone = coasted(optimizer, weight, [{"lr": lr, "momentum": kept} for lr, kept in SETTINGS[step:]])
    ((_, found),) = sgd(SETTINGS).displacements(step, {KEY: residual}, {KEY: torch.zeros(3, dtype=torch.float64)})
    torch.testing.assert_close(-found, gone)


def test_what_is_never_spent_counts_for_nothing() -> None:
    settings = [(0.1, 0.9), (0.0, 0.9), (0.0, 0.9)]
    ((_, found),) = sgd(settings).displacements(1, {KEY: torch.ones(2)}, {KEY: torch.zeros(2)})
    assert found.norm() == 0


def test_a_first_moment_carries_weights_no_farther_than_it_is_said_to() -> None:
    weight, moment = torch.zeros(2, dtype=torch.float64), torch.tensor([1e-3, -2e-3], dtype=torch.float64)
    second, rates = torch.tensor([1e-6, 4e-6], dtype=torch.float64), [1e-3] * 40
    optimizer = Adam([weight.requires_grad_()], lr=1e-3)
    own = {"step": torch.tensor(20.0), "exp_avg": moment.clone(), "exp_avg_sq": second.clone()}
    optimizer.state[weight].update(own)
    gone = coasted(optimizer, weight, [{}] * 20)
    seconds = {SECOND: second}
    ((_, found),) = adam(rates).displacements(20, {FIRST: moment, **seconds}, {FIRST: moment * 0, **seconds})
    assert (gone.abs() <= found.abs()).all() and (found.abs() < 20 * gone.abs()).all()


def test_a_second_moment_that_is_too_small_stretches_steps() -> None:
    usual, small = torch.full((4,), 1e-4), torch.tensor([1e-4, 1e-4, 1e-12, 1e-4])
    spending = adam([1e-3, 2e-3, 1e-4])
    assert spending.stretched(0, {SECOND: usual}, {SECOND: usual.clone()}) == 0
    found = math.sqrt(spending.stretched(0, {SECOND: small}, {SECOND: usual}))
    assert 25 < found / 2e-3 < 33, "some 31 times as long, which its own gradient then bounds"
    assert spending.stretched(3, {SECOND: small}, {SECOND: usual}) == 0, "no step follows"


@pytest.mark.parametrize(
    "claimed",
    [
        {FIRST: torch.ones(2), SECOND: torch.ones(3), "optimizer/model/w/step": torch.zeros(2)},
        {FIRST: torch.ones(3), SECOND: torch.ones(2), "optimizer/model/w/step": torch.tensor(-1e30)},
        {FIRST: torch.ones(2).long(), SECOND: torch.ones(2)},
        {FIRST: torch.ones(2)},
    ],
)
def test_tensors_that_do_not_fit_are_left_to_be_misfits(claimed: dict[str, Tensor]) -> None:
    replayed = {FIRST: torch.zeros(2), SECOND: torch.ones(2), "optimizer/model/w/step": torch.tensor(3.0)}
    spending = adam([1e-3] * 5)
    assert len(list(spending.displacements(2, claimed, replayed))) <= 1
    assert spending.stretched(2, claimed, replayed) == 0


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_no_number_fails(odd: float) -> None:
    ends = {"model/w": torch.zeros(2)}, {"model/w": torch.ones(2)}
    drift = Drift(Way(*ends, adam([1e-3] * 5)))
    kept = {FIRST: torch.zeros(2), SECOND: torch.ones(2)}
    drift.add({**ends[0], **kept}, {**ends[1], **kept, FIRST: torch.full((2,), odd)}, {**ends[1], **kept}, 2)
    assert {finding.outcome for finding in Joint()(drift.found)} == {Outcome.FAILED}


def test_cancelling_what_is_spent_with_what_is_not_hides_nothing() -> None:
    ends = {"model/w": torch.zeros(2)}, {"model/w": torch.ones(2)}
    settings = [(0.0, 0.9), (1.0, 0.9), (0.0, 0.9), (0.0, 0.9)]
    drift = Drift(Way(*ends, sgd(settings)))
    for step, sign in ((1, 1.0), (3, -1.0)):
        drift.add(ends[0], {**ends[0], KEY: torch.full((2,), sign)}, {**ends[0], KEY: torch.zeros(2)}, step)
    assert drift.found.kept == pytest.approx(0.9) and drift.found.total == 0


def test_a_sample_is_taken_for_the_whole(tmp_path: Path) -> None:
    ends = {"model/w": torch.zeros(2)}, {"model/w": torch.ones(2)}
    drift = Drift(Way(*ends, sgd([(0.1, 0.9)] * 20)), of=10)
    drift.add(ends[0], {**ends[0], KEY: torch.ones(2)}, {**ends[0], KEY: torch.zeros(2)}, 2)
    assert drift.found.kept == pytest.approx(10 * drift.found.stored / drift.found.distance)


@pytest.mark.parametrize("counter", [0.0, -1e30, math.nan])
def test_a_hostile_counter_of_adam_is_refused(counter: float, tmp_path: Path) -> None:
    """Torch divides by what it makes of the counter: that is the prover's fault, and no error of the judge's code."""
    step = "optimizer/model/head.weight/step"
    change = at(1, lambda state: {**state, step: torch.full_like(state[step], -1.0 if counter == 0 else counter)})
    forgery = Forgery(check="replay", of=replace(TRANSFORMER, every=3, steps=6), state=change)
    with suppress(ArithmeticError):  # the forger's own training stumbles over it too
        forgery.record(tmp_path / "run")
    if not (tmp_path / "run" / "secret").exists():
        pytest.fail("nothing was recorded")
    verdict = forgery.verdict(tmp_path / "run", STRICT)
    assert verdict.result == "rejected", verdict.reasons
