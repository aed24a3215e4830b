"""Hold calibrations to the rate that they promise, to real runs, and their file to what it may say."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import polarchive as pol
from polarchive.errors import PolError
from polarchive.measures.laws import clopper_pearson
from polarchive.verification import calibrationfile, calibrationreport, plots
from polarchive.verification.calibrate import calibrate
from polarchive.verification.calibration import LEAST, Calibration, Limits, Spread, fit, score, spreads
from polarchive.verification.drift import Unexplained
from polarchive.verification.fitted import Calibrated, JointAsCalibrated
from polarchive.verification.noise import Measurement, Noise, drawn
from polarchive.verification.numerics import Numerics
from polarchive.verification.reference import Reference
from tests.simulator import PROVER, Simulation
from tests.workloads import CONVNET, RESNET, TRANSFORMER, Workload, threads

A, B, C = "model/a.weight", "model/b.bias", "model/c.running_mean"
SURE: Final = 0.9999


def noise(segment: int, errors: dict[str, float], source: str = "2 threads", steps: int = 3, lr: float = 0.1) -> Noise:
    return Noise(source, segment, 3 * segment, steps, lr, errors, dict.fromkeys(errors, 4), 1e-3, 1e-5)


def simulated(segments: int, draws: np.random.Generator) -> list[Noise]:
    """Draw noise with heavy tails that the tensors of a segment share, from two sources of other size."""
    found = []
    for segment in range(segments):
        shared = draws.normal(0, 1)
        for source, size in (("2 threads", 1e-4), ("float64", 1e-5)):
            a, b = size * np.exp(shared + draws.normal((0, 4), 1))
            found.append(noise(segment, {A: float(a), B: float(b)}, source))
    return found


# Fitting


@pytest.mark.parametrize("tau", [0.5, 0.8])
def test_limits_let_the_required_share_of_segments_pass(tau: float) -> None:
    """Of 2n segments half widen, so that the next passes with probability ⌈(n + 1)τ⌉ / (n + 1), not just about τ."""
    draws, trials, segments = np.random.default_rng(0), 400, 20
    passed = 0
    for _ in range(trials):
        (limits,) = fit(simulated(segments, draws), tau, 1.0)
        fresh = simulated(1, draws)
        passed += all(each.errors[name] <= limits.errors[name] for each in fresh for name in (A, B))
    least, most = clopper_pearson(passed, trials, SURE)
    rank = math.ceil((segments // 2 + 1) * tau)
    assert least <= rank / (segments // 2 + 1) <= most


def test_limits_keep_the_proportions_of_tensors_and_a_margin_widens_them() -> None:
    noises = simulated(40, np.random.default_rng(1))
    (one,), (three,) = fit(noises, 0.9, 1.0), fit(noises, 0.9, 3.0)
    assert three.errors == pytest.approx({name: 3 * error for name, error in one.errors.items()})
    assert one.errors[B] > 10 * one.errors[A] and (one.steps, one.lr, one.segments) == (3, 0.1, 40)


def test_tensors_without_noise_are_still_allowed_some_rounding() -> None:
    (limits,) = fit([noise(segment, {A: 1e-3, B: 0.0, C: 0.0}) for segment in range(4)], 0.5, 2.0)
    assert limits.errors == {A: pytest.approx(2e-3), B: pytest.approx(2 * LEAST), C: pytest.approx(2 * LEAST)}


def test_quiet_tensors_are_allowed_a_tenth_of_the_median_ones_noise() -> None:
    """Their own is small most of the time only: honest runs were rejected for a bias off by 3e-4 of its update."""
    (limits,) = fit([noise(segment, {A: 2e-3, B: 1e-3, C: 1e-6}) for segment in range(4)], 0.5, 2.0)
    assert limits.errors == {A: pytest.approx(4e-3), B: pytest.approx(2e-3), C: pytest.approx(2e-4)}


def test_too_few_segments_say_how_many_it_takes() -> None:
    with pytest.raises(PolError, match="needs 38 segments of 3 steps, and there are 37; lower --tau, raise"):
        fit(simulated(37, np.random.default_rng(0)), 0.95, 3.0)
    fit(simulated(38, np.random.default_rng(0)), 0.95, 3.0)


def test_single_segments_and_pairs_are_fitted_apart() -> None:
    pairs = [noise(segment, {A: 2e-3}, steps=6) for segment in range(4)]
    found = fit([*pairs, *(noise(segment, {A: 1e-3}) for segment in range(4))], 0.5, 1.0)
    assert {limits.steps: limits.errors[A] for limits in found} == {3: pytest.approx(1e-3), 6: pytest.approx(2e-3)}


def test_learning_rates_far_apart_are_fitted_apart_if_there_is_enough_of_each() -> None:
    rates = [1.0] * 3 + [0.7] * 3 + [0.1] * 4 + [0.01]
    found = fit([noise(place, {A: rate / 100}, lr=rate) for place, rate in enumerate(rates)], 0.5, 1.0)
    assert [(limits.lr, limits.segments) for limits in found] == [(1.0, 6), (0.1, 5)]
    (one,) = fit([noise(place, {A: rate / 100}, lr=rate) for place, rate in enumerate(rates)], 0.8, 1.0)
    assert (one.lr, one.segments) == (1.0, 11)


def test_noise_without_bound_is_refused() -> None:
    with pytest.raises(PolError, match="without bound"):
        fit([noise(segment, {A: math.inf}) for segment in range(4)], 0.5, 1.0)


NOTHING: Final = Unexplained(0.0, 0.0, 0.0, 1.0, 4)


def test_source_that_does_as_much_as_training_is_no_noise() -> None:
    other = tuple(noise(segment, {A: 1.5, B: 1.2}, "on cuda") for segment in range(4))
    with pytest.raises(PolError, match="on cuda: replays come out as far apart as their updates are long"):
        spreads(Measurement(other, {"on cuda": NOTHING}))


def test_spread_is_of_single_segments_and_of_their_worst_tensors() -> None:
    noises = [noise(0, {A: 1e-3, B: 1e-4}), noise(1, {A: 1e-4, B: 5e-3}), noise(0, {A: 9.0, B: 9.0}, steps=6)]
    (found,) = spreads(Measurement(tuple(noises), {"2 threads": NOTHING}))
    assert (found.median, found.largest, found.worst) == (pytest.approx(3e-3), 5e-3, B)
    assert (found.steps, found.gaps, found.gap, found.push) == ((0, 3), (1e-3, 1e-3), 1e-3, 1e-5)


# The file


def numbers(least: float = 0.0) -> st.SearchStrategy[float]:
    return st.floats(least, 1e300, allow_nan=False)


COUNTS: Final = st.integers(0, 1 << 40)
NAMES: Final = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@st.composite
def a_spread(draw: st.DrawFn) -> Spread:
    points = draw(st.lists(st.tuples(COUNTS, numbers()), max_size=3))
    rest = [draw(numbers()) for _ in range(4)]
    steps, gaps = tuple(step for step, _ in points), tuple(gap for _, gap in points)
    return Spread(draw(NAMES), rest[0], rest[1], draw(NAMES), steps, gaps, draw(numbers(-1e300)), *rest)


LIMITS: Final = st.builds(Limits, COUNTS, numbers(), COUNTS, st.dictionaries(NAMES, numbers(), max_size=3))
CALIBRATIONS: Final = st.builds(
    Calibration,
    NAMES,
    st.dictionaries(NAMES, NAMES, max_size=2),
    st.floats(0.01, 0.99),
    numbers(),
    st.dictionaries(NAMES, COUNTS, max_size=3),
    st.lists(LIMITS, min_size=1, max_size=2).map(tuple),
    st.lists(a_spread(), min_size=1, max_size=2).map(tuple),
    st.builds(Reference, numbers(), numbers(), COUNTS),
)


@given(CALIBRATIONS)
def test_file_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, found: Calibration) -> None:
    path = tmp_path_factory.getbasetemp() / "round.json"
    path.write_bytes(calibrationfile.spell(found))  # without the fsync of `save`
    assert calibrationfile.load(path) == found
    assert path.read_bytes() == calibrationfile.spell(calibrationfile.load(path))


SPREAD: Final = Spread("2 threads", 1e-4, 1e-3, A, (0, 3), (1e-3, 2e-3), 1e-9, 1e-5, 1.0, 1e-3, 1e-5)
SMALL: Final = Calibration(
    "00", {"torch": "2"}, 0.95, 3.0, {A: 4}, (Limits(3, 0.1, 40, {A: 1e-3}),), (SPREAD,), Reference(10.0, 0.1, 3)
)


def broken(**changes: Any) -> bytes:
    value = {**json.loads(calibrationfile.spell(SMALL)), **changes}
    return json.dumps({name: each for name, each in value.items() if each is not ...}).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b"\xff", "codec can't decode"),
        (b"[]", "version: expected polarchive-calibration/v1"),
        (b"[" * 100_000, "recursion"),
        (broken(version="polarchive-calibration/v2"), "version"),
        (broken(extra=1), "exactly the fields"),
        (broken(tau=...), "exactly the fields"),
        (broken(tau=1.0), "tau: expected a number between 0 and 1"),
        (broken(tau="0.95"), "tau: expected a finite number"),
        (broken(tau=True), "tau: expected a finite number"),
        (broken(margin=-1), "margin: expected a number from 0 on"),
        (broken(margin=10**400), "margin"),
        (broken(limits=[]), "limits: expected some"),
        (broken(tensors={A: 1.5}), "tensors: expected a whole number"),
        (broken(tensors=[A]), "tensors: expected an object"),
        (broken(spreads=[{**json.loads(broken())["spreads"][0], "gaps": [1.0]}]), "not one gap for each step"),
        (broken(run="a\nb"), "run: expected a printable ASCII string"),
        (broken().replace(b'"margin": 3.0', b'"margin": NaN'), "NaN is no number here"),
        (broken().replace(b'"margin": 3.0', b'"margin": 1e999'), "margin: expected a finite number"),
        (broken().replace(b'"margin": 3.0', b'"margin": 3.0, "margin": 9.0'), "a name that is there twice"),
    ],
)
def test_what_is_no_calibration_is_refused_in_one_line(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(data)
    with pytest.raises(PolError) as caught:
        calibrationfile.load(tmp_path / "c.json")
    assert reason in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_file_of_any_size_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrationfile, "_MOST", 100)
    calibrationfile.save(SMALL, tmp_path / "c.json")
    with pytest.raises(PolError, match="more than 100 bytes"):
        calibrationfile.load(tmp_path / "c.json")


# What it says


def test_report_names_sources_limits_and_what_replay_does_not_show() -> None:
    wide = replace(SMALL, limits=(Limits(3, 0.1, 40, {A: 2.0}),))
    text = "\n".join(calibrationreport.text(wide))
    for part in ("2 threads", A, "k = 3, lr up to 0.1, 40 segments", "noise in 1 tensors", "10 ± 0.1 over 3 pairs"):
        assert part in text
    facts = calibrationreport.as_json(SMALL)
    assert facts == json.loads(json.dumps(facts)) and facts["limits"][0]["widest"] == {A: 1e-3}


def test_picture_is_the_same_for_the_same_numbers(tmp_path: Path) -> None:
    exact = replace(SPREAD, name="the same again", gaps=(0.0, 0.0))
    for name, found in (("one", replace(SMALL, spreads=(exact, SPREAD))), ("exact", replace(SMALL, spreads=(exact,)))):
        for copy in ("a", "b"):
            plots.noise(found, tmp_path / f"{name}{copy}.svg")
        drawing = (tmp_path / f"{name}a.svg").read_text()
        assert drawing == (tmp_path / f"{name}b.svg").read_text() and "the same again: exact" in drawing
        assert ("2 threads" in drawing) == (name == "one")


# On real runs

CASES: Final = {
    "convnet": replace(CONVNET, every=3, steps=9),
    "transformer": replace(TRANSFORMER, every=1, steps=3),
}
OTHERS: Final = [Numerics(threads=2), Numerics(onednn=False)]
KINDS: Final = ("threads", "onednn")


def recorded(workload: Workload, folder: Path, numerics: Numerics, forged: float = 0.0, **settings: Any) -> Path:
    """Record a run; a forger makes the largest tensor of the model larger by a small part, once."""
    trainer = workload.trainer()
    with numerics.within(), workload.writer(folder, trainer, **settings) as log:
        for step in range(workload.steps):
            log.record(workload.batches(step))
            trainer.step([workload.batches(step)])
            if forged and step == workload.steps // 2:
                state = trainer.save()
                name = max((each for each in state if each.startswith("model/")), key=lambda each: state[each].numel())
                trainer.load({**state, name: state[name] * (1 + forged)})
    return folder


def calibrated_on(workload: Workload, folder: Path, **settings: Any) -> Calibration:
    """Calibrate on an honest run, which draws other dropout masks than those that are judged."""
    with threads(1):
        recorded(workload, folder, Numerics(), run=bytes(16))
        secret = pol.read_secret(folder / "secret")
        with pol.open(folder, trusted=[PROVER.key]) as archive:
            return calibrate(archive, workload.build, workload.batches, secret=secret, kinds=KINDS, **settings)


@pytest.fixture(scope="module", params=CASES)
def calibrated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workload, Calibration]:
    """Calibrate with a margin that makes the few segments of a quick test do."""
    workload: Workload = CASES[request.param]
    folder = tmp_path_factory.mktemp("own") / "run"
    return workload, calibrated_on(workload, folder, sample=2, tau=0.5, margin=20.0)


def policy(found: Calibration) -> pol.Policy:
    return pol.Policy(threshold=Calibrated(found), of_whole=(JointAsCalibrated(found),))


@pytest.mark.parametrize("numerics", OTHERS, ids=str)
def test_honest_run_is_accepted(calibrated: tuple[Workload, Calibration], numerics: Numerics, tmp_path: Path) -> None:
    workload, found = calibrated
    verdict = workload.judge(recorded(workload, tmp_path / "run", numerics), policy=policy(found))
    assert verdict.result == "accepted", verdict.reasons
    assert any(error > 0 for judged in verdict.judged for error in judged.errors.values()), "there was no noise"
    assert verdict.pairs and "Calibrated(calibration" in verdict.policy and "Joint" not in verdict.unchecked


@pytest.mark.slow
@pytest.mark.parametrize(
    "workload",
    [replace(RESNET, every=1, steps=21), replace(TRANSFORMER, every=4, steps=84)],
    ids=["resnet20", "transformer"],
)
def test_honest_runs_are_accepted_with_the_usual_margin(workload: Workload, tmp_path: Path) -> None:
    found = calibrated_on(workload, tmp_path / "own", sample=20, tau=0.9)
    for place, numerics in enumerate(OTHERS):
        verdict = workload.judge(recorded(workload, tmp_path / str(place), numerics), policy=policy(found))
        assert verdict.result == "accepted", (str(numerics), verdict.reasons)


def test_what_a_tenth_of_the_update_lets_pass_is_rejected(
    calibrated: tuple[Workload, Calibration], tmp_path: Path
) -> None:
    workload, found = calibrated
    folder = recorded(workload, tmp_path / "run", Numerics(threads=2), forged=3e-4)
    assert workload.judge(folder).result == "accepted"
    verdict = workload.judge(folder, policy=pol.Policy(threshold=Calibrated(found), in_a_row=0))
    assert verdict.result == "rejected"
    assert {finding.segment for finding in verdict.reasons} == {workload.steps // 2 // workload.every}


def test_run_with_other_segments_is_inconclusive(calibrated: tuple[Workload, Calibration], tmp_path: Path) -> None:
    workload, found = calibrated
    other = replace(workload, every=workload.every + 2, steps=2 * workload.every + 4)
    verdict = other.judge(recorded(other, tmp_path / "run", OTHERS[1]), policy=policy(found))
    assert verdict.result == "inconclusive"
    assert any(f"not calibrated for k = {other.every}" in finding.message for finding in verdict.reasons)


def test_measured_are_single_segments_and_pairs_under_every_kind(calibrated: tuple[Workload, Calibration]) -> None:
    workload, found = calibrated
    assert [(limits.steps, limits.segments) for limits in found.limits] == [
        (workload.every, 2), (2 * workload.every, 2),
    ]  # fmt: skip
    names = [spread.name for spread in found.spreads]
    assert names[0] == "the same again" and {"2 threads", "without oneDNN"} < set(names)
    assert found.spreads[0].largest == 0, "the same again is exact"
    assert all(spread.largest > 0 for spread in found.spreads[1:])
    assert set(found.tensors) == set(found.limits[0].errors) and found.d_ref.runs == 1
    assert found.stack["threads"] == "1"


def test_calibration_lasts(calibrated: tuple[Workload, Calibration], tmp_path: Path) -> None:
    calibrationfile.save(calibrated[1], tmp_path / "c.json")
    assert calibrationfile.load(tmp_path / "c.json") == calibrated[1]


def test_other_device_is_a_source(tmp_path: Path) -> None:
    """To torch, cpu:0 is a device by another name: what it computes is the same."""
    workload = CASES["convnet"]
    folder = recorded(workload, tmp_path / "run", Numerics())
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        found = calibrate(
            archive,
            workload.build,
            workload.batches,
            secret=pol.read_secret(folder / "secret"),
            elsewhere=["cpu:0"],
            kinds=["deterministic"],
            sample=2,
            tau=0.5,
        )
    assert [spread.name for spread in found.spreads] == ["the same again", "deterministic", "on cpu:0"]
    assert not any(spread.largest for spread in found.spreads)


def test_run_of_one_segment_measures_nothing(tmp_path: Path) -> None:
    workload = replace(CASES["convnet"], steps=3)
    folder = recorded(workload, tmp_path / "run", Numerics())
    with pol.open(folder, trusted=[PROVER.key]) as archive, pytest.raises(PolError, match="and there are 0"):
        calibrate(archive, workload.build, workload.batches, secret=pol.read_secret(folder / "secret"))


def test_only_whole_segments_are_drawn_that_another_follows(tmp_path: Path) -> None:
    workload = replace(CASES["convnet"], steps=10)
    with pol.open(recorded(workload, tmp_path / "run", Numerics()), trusted=[PROVER.key]) as archive:
        assert len(archive.segments) == 4 and drawn(archive, 99) == [0, 1] and len(drawn(archive, 1)) == 1


# d_ref


def ends(tmp_path: Path, seeds: tuple[int, ...]) -> list[pol.Archive]:
    found = []
    for place, seed in enumerate(seeds):
        torch.manual_seed(seed)
        trainer = CONVNET.build(None, "cpu")
        with CONVNET.writer(tmp_path / str(place), trainer, seed=seed, run=bytes([place] * 16)) as log:
            log.record(CONVNET.batches(0))
            trainer.step([CONVNET.batches(0)])
        found.append(pol.open(tmp_path / str(place), trusted=[PROVER.key]))
    return found


def test_d_ref_is_the_mean_distance_over_pairs(tmp_path: Path) -> None:
    archives = ends(tmp_path, (0, 1, 2))
    states = [pol.to_tensors(archive.state(1)) for archive in archives]
    weights = [nn.utils.parameters_to_vector(weights_of(state)) for state in states]
    gaps = [float((weights[i] - weights[j]).norm()) for i, j in ((0, 1), (0, 2), (1, 2))]
    found = Reference.of(archives)
    assert (found.mean, found.sd) == (pytest.approx(np.mean(gaps), rel=1e-5), pytest.approx(np.std(gaps), rel=1e-3))
    assert str(found).endswith("over 3 pairs of 3 runs")


def weights_of(state: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return [each for name, each in state.items() if name.startswith("model/") and not name.endswith(statistics)]


def test_d_ref_of_one_run_is_an_estimate_near_it(tmp_path: Path) -> None:
    archives = ends(tmp_path, (0, 1))
    one, both = Reference.of(archives[:1]), Reference.of(archives)
    assert one.mean == pytest.approx(both.mean, rel=0.2) and "estimated from one run" in str(one)


def test_runs_from_one_state_are_not_independent(tmp_path: Path) -> None:
    with pytest.raises(PolError, match="start from one state"):
        Reference.of(ends(tmp_path, (5, 5)))


def test_runs_of_other_models_have_no_distance(tmp_path: Path) -> None:
    Simulation().seal(tmp_path / "other.pol")
    with pytest.raises(PolError, match="other names or shapes"):
        Reference.of([*ends(tmp_path, (0,)), pol.open(tmp_path / "other.pol", trusted=None)])


def test_score_is_the_largest_multiple() -> None:
    assert score({A: 2.0, B: 0.3}, {A: 1.0, B: 0.1}) == pytest.approx(3.0)
