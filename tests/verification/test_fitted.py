"""Hold thresholds that are fitted to noise to the rates that they promise, to forgeries, and to what they know."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest

import polarchive as pol
from polarchive.measures.distance import Distance
from polarchive.measures.laws import clopper_pearson
from polarchive.verification import showing
from polarchive.verification.calibration import Calibration, Limits, Spread
from polarchive.verification.case import Case
from polarchive.verification.checks.replay_error import ReplayError
from polarchive.verification.drift import Unexplained
from polarchive.verification.evidence import Evidence, largest_rate
from polarchive.verification.finding import Outcome
from polarchive.verification.fitted import Calibrated, JointAsCalibrated, PerStep
from polarchive.verification.numerics import Numerics
from polarchive.verification.reference import Reference
from polarchive.verification.replay import replay
from polarchive.verification.thresholds import Measured, Threshold
from tests.workloads import CONVNET, TRANSFORMER, Workload

A, B = "model/a.weight", "model/b.bias"
SURE: Final = 0.9999
SPREAD: Final = Spread("2 threads", 1e-4, 1e-3, A, (0, 3), (1e-3, 2e-3), 1e-9, 1e-5, 1.0, 1e-3, 1e-5)


def distance(error: float, count: int = 1) -> Distance:
    """Return the distance of a tensor that a replay moved by 1, in a claim that is off by so much."""
    return Distance(count, error == 0, False, error, error, error, 1.0, 1.0, 10.0, 1.0)


def evidence(claimed: Mapping[str, float], own: Sequence[Mapping[str, float]] = (), **more: object) -> Evidence:
    def distances(errors: Mapping[str, float]) -> dict[str, Distance]:
        return {name: distance(error) for name, error in errors.items()}

    return replace(Evidence(0, 0, 3, distances(claimed), own=tuple(map(distances, own)), every=3, lr=0.1), **more)


def calibration(*limits: Limits, margin: float = 3.0) -> Calibration:
    return Calibration("00", {}, 0.95, margin, {A: 1, B: 1}, limits, (SPREAD,), Reference(10.0, 0.1, 3))


def measured(threshold: Threshold, of: Evidence) -> dict[str | None, Measured]:
    return {each.tensor: each for each in threshold(of)}


def outcome(threshold: Threshold, of: Evidence) -> tuple[Outcome, ...]:
    return tuple(finding.outcome for finding in ReplayError(threshold)(of))


# PerStep


@pytest.mark.parametrize(("tau", "replays"), [(0.8, 4), (0.8, 9), (0.5, 5)])
def test_exchangeable_claims_pass_at_the_rate_that_is_required(tau: float, replays: int) -> None:
    """Noise is heavy-tailed, of other size in each tensor, and shared by the tensors of an outcome, as it is."""
    draws, trials = np.random.default_rng(0), 1500
    threshold = PerStep(tau, replays)
    passed = 0
    for _ in range(trials):
        errors = 1e-4 * np.exp(draws.normal(0, 2, (replays + 1, 1)) + draws.normal((0, 3), 1, (replays + 1, 2)))
        errors = np.minimum(errors, 0.9)
        claimed, *own = ({A: float(a), B: float(b)} for a, b in errors)
        passed += all(each.within for each in threshold(evidence(claimed, own)))
    least, most = clopper_pearson(passed, trials, SURE)
    rank = math.ceil((replays + 1) * tau)
    assert least <= rank / (replays + 1) <= most


def test_claim_as_far_off_as_the_replays_passes_and_further_fails() -> None:
    own = [{A: 1e-3, B: 1e-5}, {A: 2e-3, B: 2e-5}, {A: 4e-3, B: 4e-5}]
    assert outcome(PerStep(0.75, 3), evidence({A: 4e-3, B: 4e-5}, own)) == (Outcome.PASSED,)
    assert outcome(PerStep(0.75, 3), evidence({A: 4e-3, B: 5e-5}, own)) == (Outcome.FAILED,)
    assert outcome(PerStep(0.75, 3, margin=2), evidence({A: 4e-3, B: 5e-5}, own)) == (Outcome.PASSED,)


@pytest.mark.parametrize("forged", [1e-2, 1.0, 1e3, math.inf])
def test_one_outcome_does_not_widen_what_it_is_measured_by(forged: float) -> None:
    """Were the claim's own error part of the scale by its size, the larger lie would be the better one."""
    own = [{A: 1e-3, B: 1e-5 * (1 + place / 10)} for place in range(19)]
    found = measured(PerStep(), evidence({A: 1e-3, B: forged}, own))
    assert found[A].within and not found[B].within and found[B].allowed < 1e-4


def test_too_few_replays_are_unknown_and_say_how_many_it_takes() -> None:
    own = [{A: 1e-3, B: 1e-3}] * 18
    (finding,) = ReplayError(PerStep())(evidence({A: 1e-9, B: 0.0}, own))
    assert finding.outcome is Outcome.UNKNOWN
    assert finding.message == "τ = 0.95 needs 19 replays of the judge's own, and there are 18"
    assert outcome(PerStep(), evidence({A: 1e-9, B: 0.0}, [*own, own[0]])) == (Outcome.PASSED,)


@pytest.mark.parametrize("threshold", [PerStep(), Calibrated(calibration())], ids=["per step", "calibrated"])
def test_exact_replay_needs_no_noise_to_pass(threshold: Threshold) -> None:
    assert outcome(threshold, evidence({A: 0.0, B: 0.0})) == (Outcome.PASSED,)


@pytest.mark.parametrize("threshold", [PerStep(0.5, 1), Calibrated(calibration(Limits(3, 1.0, 9, {A: 1e3, B: 1e3})))])
def test_nothing_compared_and_nan_do_not_pass(threshold: Threshold) -> None:
    assert Outcome.PASSED not in outcome(threshold, Evidence(0, 0, 3))
    assert Outcome.PASSED not in outcome(threshold, evidence({A: math.nan, B: 0.0}, [{A: 0.1, B: 0.1}] * 3))


def test_replays_that_lie_apart_without_bound_allow_nothing() -> None:
    own = [{A: math.inf, B: 1e-3}, {A: math.nan, B: 1e-3}]
    assert outcome(PerStep(0.5, 2), evidence({A: 1e-3, B: 1e-3}, own)) == (Outcome.UNKNOWN,)


def test_noise_as_large_as_the_update_is_no_excuse() -> None:
    own = [{A: 5.0, B: 1e-3}, {A: 6.0, B: 1e-3}]
    (finding,) = ReplayError(PerStep(0.5, 2))(evidence({A: 2.0, B: 1e-3}, own))
    assert finding.outcome is Outcome.UNKNOWN and "noise in model/a.weight may be as large" in finding.message
    assert outcome(PerStep(0.5, 2), evidence({A: 0.9, B: 1e-3}, own)) == (Outcome.PASSED,)
    assert outcome(PerStep(0.5, 2), evidence({A: 7.0, B: 1e-3}, own)) == (Outcome.FAILED,)


def test_tensor_that_a_replay_lacks_counts_against_the_replay() -> None:
    assert outcome(PerStep(0.5, 1), evidence({A: 1e-3, B: 1e-3}, [{A: 1e-3}])) == (Outcome.UNKNOWN,)


def test_segments_in_a_row_without_other_replays_are_held_to_a_tenth() -> None:
    assert outcome(PerStep(), evidence({A: 0.09, B: 0.0}, in_a_row=2)) == (Outcome.PASSED,)
    assert outcome(PerStep(), evidence({A: 0.11, B: 0.0}, in_a_row=2)) == (Outcome.UNKNOWN,)
    assert outcome(PerStep(0.5, 1), evidence({A: 0.11, B: 0.0}, [{A: 0.2, B: 0.0}], in_a_row=2)) == (Outcome.PASSED,)


# Calibrated

THREE, SIX = Limits(3, 0.1, 40, {A: 1e-3, B: 1e-4}), Limits(6, 0.1, 40, {A: 1e-2, B: 1e-3})


def test_each_tensor_has_its_own_limit() -> None:
    threshold = Calibrated(calibration(THREE))
    assert outcome(threshold, evidence({A: 1e-3, B: 1e-4})) == (Outcome.PASSED,)
    assert outcome(threshold, evidence({A: 1e-4, B: 1.1e-4})) == (Outcome.FAILED,)


def test_a_pair_has_the_limits_of_twice_the_steps() -> None:
    pair = evidence({A: 1e-2, B: 0.0}, in_a_row=2, steps=6, every=6)
    assert outcome(Calibrated(calibration(THREE, SIX)), pair) == (Outcome.PASSED,)
    assert outcome(Calibrated(calibration(THREE)), pair) == (Outcome.UNKNOWN,)


def test_the_short_last_segment_has_the_limits_of_the_run() -> None:
    assert outcome(Calibrated(calibration(THREE)), evidence({A: 1e-3, B: 0.0}, steps=1)) == (Outcome.PASSED,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 5, "every": 5}, "not calibrated for k = 5, lr = 0.1"),
        ({"lr": 0.2}, "not calibrated for k = 3, lr = 0.2"),
        ({"distances": {"model/c": distance(1e-9)}}, "not calibrated for model/c of 1 elements"),
        ({"distances": {A: distance(1e-9, count=7)}}, "not calibrated for model/a.weight of 7 elements"),
    ],
)
def test_what_is_not_covered_is_unknown_and_named(changes: dict[str, object], message: str) -> None:
    (finding,) = ReplayError(Calibrated(calibration(THREE)))(evidence({A: 1e-9, B: 0.0}, **changes))
    assert (finding.outcome, finding.message) == (Outcome.UNKNOWN, message)


def test_the_next_larger_rate_is_taken() -> None:
    limits = [Limits(3, lr, 40, {A: lr, B: lr}) for lr in (0.01, 0.1, 0.5)]
    threshold = Calibrated(calibration(*limits))
    for lr, allowed in ((0.1, 0.1), (0.1 * (1 + 1e-12), 0.1), (0.011, 0.1), (0.11, 0.5), (0.001, 0.01), (None, 0.01)):
        assert measured(threshold, evidence({A: 1e-9, B: 0.0}, lr=lr))[A].allowed == allowed


def test_limits_end_where_noise_is_as_large_as_the_update() -> None:
    threshold = Calibrated(calibration(Limits(3, 0.1, 40, {A: 5.0, B: 1e-3})))
    assert outcome(threshold, evidence({A: 1.0, B: 0.0})) == (Outcome.PASSED,)
    assert outcome(threshold, evidence({A: 1.1, B: 0.0})) == (Outcome.UNKNOWN,)
    assert outcome(threshold, evidence({A: 5.1, B: 0.0})) == (Outcome.FAILED,)


def test_a_report_names_the_calibration_and_does_not_spell_it_out() -> None:
    one, other = Calibrated(calibration(THREE)), Calibrated(calibration(SIX))
    assert repr(one) != repr(other) and repr(one) == repr(Calibrated(calibration(THREE)))
    assert repr(one).startswith("Calibrated(calibration ") and repr(one).endswith(", tau=0.95, margin=3)")
    assert len(repr(one)) < 80 and repr(JointAsCalibrated(calibration(THREE))).startswith("Joint(")


def test_displacement_grows_as_a_random_walk_and_is_never_worth_a_theft() -> None:
    """One segment's residual is 1e-3 long, and 1e-5 of that along the way."""
    found = calibration(THREE)
    assert found.displacement(100, 1.0) == pytest.approx((3 * 4 * 1e-5 * 10, 3 * 2 * 1e-3 * 10))
    assert found.displacement(400, 1.0) == pytest.approx(tuple(2 * each for each in found.displacement(100, 1.0)))
    assert found.displacement(1, 1e9) == (1e-4, 1e-4) == found.displacement(1, 0.0)


def test_displacement_beyond_honest_noise_fails() -> None:
    check = JointAsCalibrated(calibration(THREE))
    (honest,) = check(Unexplained(1e-3, 0.05, 0.05, 1.0, 100))
    assert honest.outcome is Outcome.PASSED
    assert [each.outcome for each in check(Unexplained(2e-3, 0.07, 0.05, 1.0, 100))] == [Outcome.FAILED] * 2


# Both, on real runs


def recorded(workload: Workload, folder: Path, numerics: Numerics, forged: float = 0.0) -> Path:
    """Record a run; a forger makes one tensor larger by a small part in its middle."""
    trainer = workload.trainer()
    with numerics.within(), workload.writer(folder, trainer) as log:
        for step in range(workload.steps):
            log.record(workload.batches(step))
            trainer.step([workload.batches(step)])
            if forged and step == workload.steps // 2:
                state = trainer.save()
                name = next(name for name, each in state.items() if name.startswith("model/") and each.ndim > 1)
                trainer.load({**state, name: state[name] * (1 + forged)})
    return folder


PER_STEP: Final = pol.Policy(threshold=PerStep(0.75, 3), in_a_row=0)
SMALL: Final = [replace(CONVNET, every=3, steps=6), replace(TRANSFORMER, every=2, steps=4)]


@pytest.mark.parametrize("numerics", [Numerics(threads=2), Numerics(onednn=False)], ids=str)
@pytest.mark.parametrize("workload", SMALL, ids=["convnet", "transformer"])
def test_per_step_accepts_other_numerics(workload: Workload, numerics: Numerics, tmp_path: Path) -> None:
    verdict = workload.judge(
        recorded(workload, tmp_path / "run", numerics), policy=replace(PER_STEP, threshold=PerStep(0.75, 3, margin=3))
    )
    assert verdict.result == "accepted", verdict.reasons
    assert any(error > 0 for judged in verdict.judged for error in judged.errors.values()), "there was no noise"


@pytest.mark.parametrize("workload", SMALL, ids=["convnet", "transformer"])
def test_per_step_rejects_what_a_tenth_of_the_update_lets_pass(workload: Workload, tmp_path: Path) -> None:
    folder = recorded(workload, tmp_path / "run", Numerics(threads=2), forged=1e-4)
    assert workload.judge(folder).result == "accepted"
    verdict = workload.judge(folder, policy=replace(PER_STEP, threshold=PerStep(0.75, 3, margin=3)))
    assert verdict.result == "rejected"
    assert {finding.segment for finding in verdict.reasons} == {workload.steps // 2 // workload.every}


def test_segments_in_a_row_are_replayed_as_often_as_asked(tmp_path: Path) -> None:
    workload = SMALL[0]
    folder = recorded(workload, tmp_path / "run", Numerics(onednn=False))
    with pol.open(folder, trusted=None) as archive:
        shown = showing.of(archive, workload.batches, pol.read_secret(folder / "secret"))
        case = Case.of(archive, workload.build, shown, "cpu")
        found = replay(case, 0, 2, numerics=[Numerics(onednn=False), Numerics(threads=2)])
    assert (found.lr, found.every, found.steps, len(found.own)) == (0.05, 6, 6, 2)
    assert all(found.own[0][name].l2 == each.l2 for name, each in found.distances.items()), "the claim's own numerics"


def test_evidence_has_no_rate_where_none_is_stated() -> None:
    assert largest_rate([]) is None and largest_rate([{"o/0/momentum": 0.9, "o/0/lr": None}]) is None
    assert largest_rate([{"o/0/lr": 0.1, "o/1/lr": 0.3}, {"p/0/lr": 1}]) == 1.0
