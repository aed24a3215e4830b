"""Judge residuals together: what is allowed in each segment must not add up to a way."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import polarchive as pol
from polarchive.verification import report
from polarchive.verification.checks.joint import Joint
from polarchive.verification.drift import Drift, Unexplained
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.residual import Way
from tests.forging import Forgery
from tests.lies import Steered, stolen, weights_toward_stolen
from tests.workloads import CONVNET, threads

State = dict[str, Tensor]
SIZE, SEGMENTS = 400, 100
HONEST = Unexplained(projection=0.05, length=0.5, walk=0.4, distance=10.0, segments=4)


def outcomes(found: Unexplained, joint: Joint = Joint()) -> list[Outcome]:  # noqa: B008
    return [finding.outcome for finding in joint(found)]


# The check, on numbers.


def test_what_stays_below_both_limits_passes() -> None:
    (finding,) = Joint(0.01, 0.1)(HONEST)
    assert finding.outcome is Outcome.PASSED and "0.005" in finding.message and "0.05" in finding.message


@pytest.mark.parametrize(
    ("fields", "what", "error"),
    [
        ({"projection": 0.2}, "toward the end", 0.02),
        ({"projection": -0.2}, "toward the end", -0.02),
        ({"length": 2.0}, "in all", 0.2),
        ({"projection": math.nan}, "toward the end", math.nan),
        ({"length": math.nan}, "in all", math.nan),
        ({"length": math.inf}, "in all", math.inf),
    ],
    ids=["toward", "away", "aside", "no_number_toward", "no_number_in_all", "infinite"],
)
def test_either_limit_refuses(fields: dict[str, float], what: str, error: float) -> None:
    (finding,) = Joint(0.01, 0.1)(replace(HONEST, **fields))
    assert finding.outcome is Outcome.FAILED and what in finding.message
    assert finding.error == pytest.approx(error, nan_ok=True)


def test_both_limits_are_reported() -> None:
    found: list[Finding] = list(Joint(0.001, 0.01)(HONEST))
    assert [(each.outcome, each.allowed) for each in found] == [(Outcome.FAILED, 0.001), (Outcome.FAILED, 0.01)]


@pytest.mark.parametrize(("length", "outcome"), [(1.0, Outcome.PASSED), (1.001, Outcome.FAILED)])
def test_at_the_limit_passes_and_above_it_fails(length: float, outcome: Outcome) -> None:
    assert outcomes(replace(HONEST, length=length)) == [outcome]


def test_exact_replay_passes_where_nothing_is_allowed() -> None:
    exact = Unexplained(0.0, 0.0, 0.0, 10.0, 4)
    assert outcomes(exact, Joint(0.0, 0.0)) == outcomes(replace(exact, distance=0.0), Joint(0.0, 0.0))
    assert outcomes(exact, Joint(0.0, 0.0)) == [Outcome.PASSED]
    assert outcomes(replace(exact, length=1e-300), Joint(0.0, 0.0)) == [Outcome.FAILED]


def test_run_that_goes_nowhere_has_nothing_to_be_a_fraction_of() -> None:
    assert outcomes(replace(HONEST, distance=0.0)) == [Outcome.FAILED, Outcome.FAILED]


def test_nothing_compared_is_nothing_said() -> None:
    assert outcomes(replace(HONEST, segments=0)) == []


def test_other_random_numbers_are_no_theft() -> None:
    assert outcomes(replace(HONEST, length=9.0, same_randomness=False)) == [Outcome.UNKNOWN]
    assert outcomes(replace(HONEST, same_randomness=False)) == [Outcome.PASSED]


# The sum, by hand.


def added(*segments: tuple[State, State, State], first: State, final: State) -> Unexplained:
    drift = Drift(Way(first, final))
    for segment in segments:
        drift.add(*segment)
    return drift.found


def at(*values: float) -> State:
    return {"model/w": torch.tensor(values, dtype=torch.float32)}


def test_sums_are_those_of_vectors() -> None:
    """Residuals (3, 4) and (3, -4), on the way to (30, 0) from (0, 0) and then from (10, 0)."""
    segments = (at(0, 0), at(13, 4), at(10, 0)), (at(10, 0), at(23, -4), at(20, 0))
    found = added(*segments, first=at(0, 0), final=at(30, 0))
    assert (found.projection, found.length, found.distance, found.segments) == (6.0, 6.0, 30.0, 2)
    assert found.walk == pytest.approx(math.sqrt(50))
    assert (found.toward, found.total) == (pytest.approx(0.2), pytest.approx(0.2))
    assert found.coherence == pytest.approx(6 / math.sqrt(50))


def test_weights_are_summed_and_nothing_else() -> None:
    """Batch statistics follow from the weights, counters have no tolerance, and momentum came later."""
    others = {"model/n.running_mean": torch.zeros(2), "model/n.num_batches_tracked": torch.zeros((), dtype=torch.int64)}
    first, later = {**at(0, 0), **others}, {"optimizer/model/w/momentum_buffer": torch.ones(2)}
    claimed = {**at(1, 0), **{name: tensor + 1 for name, tensor in others.items()}, **later}
    found = added((first, claimed, {**at(0, 0), **others, **later}), first=first, final={**at(2, 0), **others, **later})
    assert (found.length, found.distance) == (1.0, 2.0)


def test_complex_weights_are_summed_as_pairs() -> None:
    zero = {"model/w": torch.zeros(1, dtype=torch.complex64)}
    found = added(
        (zero, {"model/w": torch.tensor([3 + 4j])}, zero), first=zero, final={"model/w": torch.tensor([6 + 8j])}
    )
    assert (found.length, found.projection, found.distance) == (5.0, 5.0, 10.0)


def test_sums_lose_no_digits_of_narrow_floats() -> None:
    """Ten thousand residuals of 2^-14 beside weights of one, which float16 would not add up."""
    one = {"model/w": torch.ones(1, dtype=torch.float16)}
    off = {"model/w": torch.ones(1, dtype=torch.float16) + 2**-10}
    found = added(*[(one, off, one)] * 10_000, first=one, final={"model/w": torch.full((1,), 2.0, dtype=torch.float16)})
    assert found.length == found.projection == 10_000 * 2**-10


def test_run_without_a_last_state_has_no_sum() -> None:
    found = added((at(0), at(1), at(0)), first=at(0), final={})
    assert found.segments == 0 and outcomes(found) == []


# Noise and theft, of one size in every segment.


def walked(residual: Callable[[Tensor], Tensor]) -> Unexplained:
    """Walk at random; each claimed state is off by a twentieth of the update, in the direction given."""
    torch.manual_seed(0)
    places = [torch.zeros(SIZE)]
    residuals = []
    for _ in range(SEGMENTS):
        update, off = torch.randn(SIZE), residual(places[-1])
        residuals.append(0.05 * update.norm() * off / off.norm())
        places.append(places[-1] + update + residuals[-1])
    states = [{"model/w": place} for place in places]
    drift = Drift(Way(states[0], states[-1]))
    for before, claimed, off in zip(states, states[1:], residuals, strict=False):
        drift.add(before, claimed, {"model/w": claimed["model/w"] - off})
    return drift.found


GOAL = 100 * torch.randn(SIZE, generator=torch.Generator().manual_seed(1))


def test_noise_has_no_direction() -> None:
    found = walked(torch.randn_like)
    assert found.coherence == pytest.approx(1.0, abs=0.15)
    assert abs(found.toward) < 0.1 and found.total < 0.1


def test_theft_has_one() -> None:
    found = walked(lambda place: GOAL - place)
    assert found.coherence == pytest.approx(math.sqrt(SEGMENTS), rel=0.01)
    assert found.toward > 0.1 and found.total > 0.4
    assert outcomes(found) == [Outcome.FAILED, Outcome.FAILED]


# On real runs.


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> pol.Verdict:
    """Judge an honest run whose sums were taken in another order."""
    with threads(2):
        folder = replace(CONVNET, every=6).record(tmp_path_factory.mktemp("noisy") / "run")
    with threads(1):
        return replace(CONVNET, every=6).judge(folder)


def test_verdict_carries_what_honest_noise_leaves(noisy: pol.Verdict) -> None:
    found = noisy.unexplained
    assert noisy.result == "accepted" and found is not None and found.segments == 6
    assert 0 < found.total < 1e-4 and abs(found.toward) < 1e-4
    assert found.coherence < 3
    assert any(line.startswith("unexplained displacement") for line in report.text(noisy))
    assert report.as_json(noisy)["unexplained"]["total"] == found.total


def steered(share: float, folder: Path, **policy: Any) -> pol.Verdict:
    forgery = Forgery(check="joint", of=replace(CONVNET, every=3), state=Steered(share, weights_toward_stolen))
    return forgery.verdict(forgery.record(folder / "run"), replace(pol.Policy(in_a_row=0), **policy))


def test_steering_shows_in_the_sum_alone(tmp_path: Path) -> None:
    verdict = steered(0.09, tmp_path)
    assert {finding.check for finding in verdict.reasons} == {"joint"}
    assert all(judged.accepted and max(judged.errors.values()) < 0.1 for judged in verdict.judged)
    assert verdict.unexplained is not None and verdict.unexplained.coherence > 2


def test_steering_that_stays_below_the_limit_goes_no_further_than_that(tmp_path: Path) -> None:
    """What is accepted is bounded: a hundredth of the way is not the stolen model."""
    verdict = steered(0.005, tmp_path)
    assert verdict.result == "accepted" and verdict.unexplained is not None
    assert 0 < verdict.unexplained.total < 0.1
    with pol.open(tmp_path / "run", trusted=None) as archive:
        final = pol.to_tensors(archive.state(-1))
    goal = stolen()
    assert math.dist(*(state["model/conv2.weight"].flatten().tolist() for state in (final, goal))) > 1


def test_steering_shows_in_a_sample(tmp_path: Path) -> None:
    """A third of the way is stolen, and ten segments of a hundred show a tenth of that."""
    of = replace(CONVNET, every=1, steps=100)
    forgery = Forgery(check="joint", of=of, state=Steered(0.06, weights_toward_stolen))
    folder = forgery.record(tmp_path / "run")
    assert forgery.verdict(folder, pol.Policy(in_a_row=0)).result == "rejected"
    assert forgery.verdict(folder, pol.Policy(in_a_row=0, selection=pol.Sample(8))).result == "rejected"


def test_what_a_sample_shows_is_scaled_to_the_whole_run() -> None:
    """Ten of a hundred segments that each go a hundredth of the way show the whole of it."""
    coherent = Unexplained(0.1, 0.1, math.sqrt(10) * 0.01, 1.0, 10, of=100)
    assert (coherent.toward, coherent.total) == (pytest.approx(1.0), pytest.approx(1.0, rel=0.01))
    noise = Unexplained(0.001, math.sqrt(10) * 0.01, math.sqrt(10) * 0.01, 1.0, 10, spread=0.01, of=100)
    assert (noise.toward, noise.total) == (0.0, pytest.approx(0.1))


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_no_sample_makes_numbers_of_what_is_none(odd: float) -> None:
    for found in (Unexplained(odd, odd, odd, 1.0, 5, of=50, spread=odd), Unexplained(odd, odd, odd, 1.0, 5, of=5)):
        assert {finding.outcome for finding in Joint()(found)} == {Outcome.FAILED}
