"""Look for planted segments among honest ones, and hold what is looked at to arithmetic."""

import math
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polarchive as pol
from polarchive.errors import DigestError
from polarchive.format.entry import Entry, Segment, StepRow
from polarchive.format.tensors import Array
from polarchive.measures.detectors import Span, order, profile, spans
from polarchive.measures.reach import Betas
from tests.forging import Forgery, at
from tests.lies import stolen, weights_of
from tests.simulator import Simulation, State
from tests.workloads import CONVNET, TRANSFORMER, Workload, threads

ADAM = {"o/0/lr": 0.1, "o/0/betas/0": 0.9, "o/0/betas/1": 0.999}
BOUND = Betas((0.9, 0.9), (0.999, 0.999)).bound


def numbers(*values: float, dtype: str = "F32") -> Array:
    return Array(dtype, (len(values),), np.array(values, "<f4" if dtype == "F32" else "<f8").tobytes())


def scored(path: Path, *states: State, hyper: dict[str, float] | None = None, **settings: Any) -> list[Span]:
    """Return the spans of a run through these states, under the same settings at every step, two steps a segment."""

    def rows(parts: list[list[StepRow]]) -> list[list[StepRow]]:
        return [[replace(row, hyper=None) for row in segment] for segment in parts]

    def entries(parts: list[Entry]) -> list[Entry]:
        return [replace(part, hyper=hyper) if hyper and isinstance(part, Segment) else part for part in parts]

    count = len(states) - 1
    simulation = Simulation(segments=count, states=lambda _: list(states), rows=rows, entries=entries, **settings)
    with pol.open(simulation.record(path / "run"), trusted=None) as archive:
        return list(spans(archive))


def test_length_is_that_of_weights_alone(tmp_path: Path) -> None:
    def state(*values: float, running: float, moment: float) -> State:
        buffers = {"m/b": numbers(running), "m/n.running_mean": numbers(running)}
        return {**buffers, "m/w": numbers(*values), "o/m/w/exp_avg": numbers(moment, moment)}

    (span,) = scored(tmp_path, state(0, 0, running=1, moment=5), state(3, 4, running=1, moment=9))
    assert (span.segments, span.length) == (range(1), 5.0)
    other = scored(tmp_path / "2", state(0, 0, running=1, moment=5), state(3, 4, running=13, moment=9))
    assert other[0].length == 13.0  # a buffer that is no statistic counts


def test_pace_is_the_length_for_its_rates() -> None:
    assert span(length=3.0, rate=1.5).pace == 2.0
    assert (span(length=3.0, rate=0.0).pace, span(length=0.0, rate=0.0).pace) == (math.inf, 0.0)


def test_rates_add_up_over_steps_and_are_means_over_groups(tmp_path: Path) -> None:
    hyper = {"o/0/lr": 0.1, "o/1/lr": 0.3, "o/0/momentum": 0.9}
    found = scored(tmp_path, *({"m/w": numbers(place)} for place in range(3)), hyper=hyper)
    assert [each.rate for each in found] == pytest.approx([0.4, 0.4])


def test_states_that_are_not_stored_make_longer_spans(tmp_path: Path) -> None:
    states = [{"m/w": numbers(place**2)} for place in range(6)]
    found = scored(tmp_path, *states, store={0, 2, 5}, hyper={"o/0/lr": 1.0})
    assert [(each.segments, each.length, each.rate) for each in found] == [(range(2), 4, 4), (range(2, 5), 21, 6)]


# Reach.


def adam(weight: float, moment: float | None = 1.0, dtype: str = "F32", name: str = "m/w") -> State:
    later = {} if moment is None else {f"o/{name}/exp_avg_sq": numbers(moment, dtype=dtype)}
    return {name: numbers(weight), **later}


def test_reach_is_the_share_of_what_adam_can_do(tmp_path: Path) -> None:
    far = 2 * 0.1 * BOUND
    first, second = scored(tmp_path, adam(0.0, None), adam(far / 2), adam(far * 5 / 2), hyper=ADAM)
    assert (first.reach, second.reach) == (pytest.approx(0.5, rel=2e-3), pytest.approx(2.0, rel=2e-3))
    assert second.tensor == "m/w"


@pytest.mark.parametrize(
    ("first", "then", "hyper"),
    [
        (adam(0.0), adam(9.0), ADAM),
        (adam(0.0, None), {**adam(9.0, None), "o/m/w/momentum_buffer": numbers(1)}, ADAM),
        (adam(0.0, None), adam(9.0), {"o/0/lr": 0.1}),
        (adam(0.0, None), adam(9.0), {name.replace("o/", "p/"): value for name, value in ADAM.items()}),
        (adam(0.0, None), {"m/w": numbers(9), "o/m/w/exp_avg_sq": Array("BF16", (1,), b"\0\0")}, ADAM),
        (adam(0.0, None), {"m/w": numbers(9), "o/m/w/exp_avg_sq": numbers(1, 1)}, ADAM),
    ],
    ids=[
        "moments before state 0",
        "momentum",
        "no betas",
        "another optimizer's",
        "coarse moments",
        "moments of another",
    ],
)
def test_where_the_bound_does_not_hold_there_is_none(
    first: State, then: State, hyper: dict[str, float], tmp_path: Path
) -> None:
    (found,) = scored(tmp_path, first, then, hyper=hyper)
    assert found.reach is None and found.tensor is None


def test_parameter_is_held_to_the_group_that_it_fits_best(tmp_path: Path) -> None:
    both = {**ADAM, **{name.replace("/0/", "/1/", 1): value for name, value in ADAM.items()}, "o/1/lr": 10.0}
    (found,) = scored(tmp_path, adam(0.0, None), adam(2 * 10 * BOUND), hyper=both)
    assert found.reach == pytest.approx(1.0, rel=2e-3)


# Cosine.


@pytest.mark.parametrize(
    ("momentum", "cosine"), [((-3, -4), 1.0), ((3, 4), -1.0), ((-4, 3), 0.0), ((0, 0), None)], ids=str
)
def test_cosine_is_between_momentum_and_the_way_it_points(
    momentum: tuple[float, float], cosine: float | None, tmp_path: Path
) -> None:
    after = {"m/w": numbers(3, 4), "o/m/w/momentum_buffer": numbers(*momentum)}
    (found,) = scored(tmp_path, {"m/w": numbers(0, 0)}, after)
    assert found.cosine == (None if cosine is None else pytest.approx(cosine))


def test_adams_momentum_points_as_it_scales_it(tmp_path: Path) -> None:
    moments = {"o/m/w/exp_avg": numbers(-1, -10), "o/m/w/exp_avg_sq": numbers(1, 100)}
    (found,) = scored(tmp_path, {"m/w": numbers(0, 0)}, {"m/w": numbers(2, 2), **moments})
    assert found.cosine == pytest.approx(1.0)


def test_what_did_not_move_has_no_cosine(tmp_path: Path) -> None:
    after = {"m/w": numbers(1, 1), "o/m/w/momentum_buffer": numbers(1, 1)}
    assert scored(tmp_path, {"m/w": numbers(1, 1)}, after)[0].cosine is None


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_no_number_comes_first(odd: float, tmp_path: Path) -> None:
    states = [{"m/w": numbers(place), "o/m/w/momentum_buffer": numbers(-1)} for place in range(6)]
    states[4]["m/w"] = numbers(odd)
    found = scored(tmp_path, *states)
    assert [each.length for each in found[3:5]] == [math.inf, math.inf]
    assert set(order(found)[:2]) == {3, 4}


# Order.


def span(place: int = 0, **fields: Any) -> Span:
    usual = {"segments": range(place, place + 1), "length": 1.0, "rate": 1.0, "reach": None, "tensor": None}
    return Span(**{**usual, "cosine": None, **fields})


def planted(place: int, **fields: Any) -> list[Span]:
    return [span(each, **(fields if each == place else {})) for each in range(10)]


@pytest.mark.parametrize("fields", [{"length": 3.0}, {"length": 0.3}, {"rate": 0.01}, {"length": 0.0}, {"rate": 0.0}])
def test_what_goes_at_another_pace_comes_first(fields: dict[str, float]) -> None:
    found = planted(6, **fields)
    assert order(found)[0] == 6 and sorted(order(found)) == list(range(10))
    scores = profile(found)
    assert scores[6] == max(score for score in scores if score is not None) and scores[0] == 0.0


def test_profile_is_the_logarithm_of_a_ratio() -> None:
    assert profile([span(), span(length=math.e), span()]) == pytest.approx([0.0, 1.0, 0.0])
    assert profile([span(), span(length=1 / math.e)]) == pytest.approx([1.0, 1.0])
    assert profile([span()]) == [None] and profile([]) == []


def test_slow_changes_of_the_rate_raise_no_suspicion() -> None:
    found = [span(place, length=0.9**place, rate=0.9**place) for place in range(20)]
    assert profile(found) == pytest.approx([0.0] * 20)


def test_scores_take_turns() -> None:
    found = [
        replace(each, reach=0.9 if place == 3 else 0.1, cosine=0.0 if place == 5 else 0.7)
        for place, each in enumerate(planted(8, length=9.0))
    ]
    assert order(found)[:3] == [3, 8, 5]


def test_scores_that_are_not_there_take_no_turn() -> None:
    assert order([replace(each, reach=0.1 * (each.segments[0] == 8)) for each in planted(0)])[:2] == [8, 0]
    assert order([replace(each, cosine=-each.segments[0] / 10) for each in planted(0)])[:2] == [0, 9]
    assert order([]) == []


def test_every_segment_of_a_span_is_as_suspicious() -> None:
    assert order([span(), replace(span(), segments=range(1, 4), length=5.0), span(4)])[:3] == [1, 2, 3]


# On real runs.


def found_in(folder: Path) -> list[Span]:
    with pol.open(folder, trusted=None) as archive:
        return list(spans(archive))


@pytest.mark.parametrize("workload", [CONVNET, TRANSFORMER], ids=["SGD", "AdamW"])
def test_honest_segments_go_where_their_momentum_points(workload: Workload, tmp_path: Path) -> None:
    with threads(1):
        found = found_in(replace(workload, every=3).record(tmp_path / "run"))
    assert min(each.cosine or 0.0 for each in found) > 0.3
    reached = [each.reach for each in found]
    assert (
        all(each is not None and 0.05 < each <= 1 for each in reached)
        if workload is TRANSFORMER
        else set(reached) == {None}
    )


def doubled(state: Any) -> Any:
    return weights_of(state, {name: tensor * 1.5 for name, tensor in state.items() if tensor.is_floating_point()})


@pytest.mark.parametrize("workload", [CONVNET, TRANSFORMER], ids=["SGD", "AdamW"])
def test_jump_comes_first(workload: Workload, tmp_path: Path) -> None:
    forgery = Forgery(check="none", of=replace(workload, every=2), state=at(8, doubled))
    with threads(1):
        found = found_in(forgery.record(tmp_path / "run"))
    assert order(found)[0] == 7
    assert (found[7].reach or 0.0) > 1 or workload is CONVNET


class Line:
    """Walk from state 5 to state 9 on a straight line to the stolen model, and train honestly before and after."""

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}

    def __call__(self, index: int, truth: dict[str, Any]) -> dict[str, Any]:
        if index == 5:
            self.start = truth
        if not 5 < index < 10:
            return truth
        goal = stolen()
        floating = [name for name in goal if goal[name].is_floating_point()]
        line = {name: self.start[name].lerp(goal[name], 0.02 * (index - 5)) for name in floating}
        return weights_of(truth, line)


def test_straight_line_does_not_go_where_momentum_points(tmp_path: Path) -> None:
    forgery = Forgery(check="none", of=replace(CONVNET, every=3), state=Line())
    with threads(1):
        found = found_in(forgery.record(tmp_path / "run"))
    cosines = [each.cosine or 0.0 for each in found]
    assert set(np.argsort(cosines)[:4]) == {5, 6, 7, 8} and max(map(abs, cosines[5:9])) < 0.2
    assert len({5, 6, 7, 8} & set(order(found)[:6])) >= 3


# Cost and trust.


def test_memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    peaks = []
    for count in (4, 24):
        states = [{"m/w": Array("F32", (1 << 18,), np.full(1 << 18, place, "<f4").tobytes())} for place in range(count)]
        folder = Simulation(segments=count - 1, states=lambda _, own=states: own).record(tmp_path / str(count))
        with pol.open(folder, trusted=None) as archive:
            tracemalloc.start()
            for _ in spans(archive):
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.25 * peaks[0]


def test_state_that_is_not_the_committed_one_is_not_scored(tmp_path: Path) -> None:
    folder = Simulation(segments=2).record(tmp_path / "run")
    for path in (folder / "states").iterdir():
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    with pol.open(folder, trusted=None) as archive, pytest.raises(DigestError):
        list(spans(archive))
