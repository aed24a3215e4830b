"""Hold hyper-parameters to bounds, and to a schedule of the judge's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import polarchive as pol
from polarchive.format.entry import Hyper, Segment, StepRow
from polarchive.format.schema import Field, Schema
from polarchive.verification.case import Case
from polarchive.verification.checks.schedule import Schedule, schedule
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.showing import Own
from tests.cases import FAILED, PASSED, outcomes
from tests.simulator import Simulation, changed
from tests.workloads import CONVNET


@dataclass
class Bare:
    """Stand for a trainer with a schedule, or none."""

    schedule: Callable[[int], Hyper] | None = None


def scheduled(
    folder: Path, steps: list[dict[str, Any]], check: Schedule = schedule, own: Callable[[int], Hyper] | None = None
) -> list[Finding]:
    """Return the findings on a run with these hyper-parameters, step by step, two steps a segment."""
    usual = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
    told: list[Hyper] = [{f"sgd/0/{name}": value for name, value in {**usual, **step}.items()} for step in steps]

    def rows(parts: list[list[StepRow]]) -> list[list[StepRow]]:
        return [[replace(row, hyper=told[row.step] if row.step % 2 else None) for row in part] for part in parts]

    def entries(parts: list[Any]) -> list[Any]:
        return [replace(part, hyper=told[part.first]) if isinstance(part, Segment) else part for part in parts]

    simulation = Simulation(segments=len(steps) // 2, rows=rows, entries=entries)
    with pol.open(simulation.record(folder / "run"), trusted=None) as archive:
        case = Case(archive, Own(CONVNET.batches, None), "cpu", True, Bare(own), Bare)  # type: ignore[arg-type]
        return list(check(case))


@pytest.mark.parametrize(
    ("odd", "check"),
    [
        ({"lr": -0.1}, Schedule()),
        ({"momentum": 1.0}, Schedule()),
        ({"momentum": -0.1}, Schedule()),
        ({"betas/1": 1.0}, Schedule()),
        ({"eps": -1e-8}, Schedule()),
        ({"weight_decay": -1e-4}, Schedule()),
        ({"dampening": 1.5}, Schedule()),
        ({"dampening": -0.5}, Schedule()),
        ({"lr": 10.0, "weight_decay": 0.2}, Schedule()),
        ({"weight_decay": 0.2}, Schedule()),
        ({"lr": 0.11}, Schedule(lr=0.1)),
        ({"lr": 0.21}, Schedule(change=2.0)),
        ({"lr": 0.04}, Schedule(change=2.0)),
        ({"lr": 0.0}, Schedule(change=1e9)),
    ],
    ids=str,
)
def test_setting_out_of_bounds_is_refused(odd: dict[str, float], check: Schedule, tmp_path: Path) -> None:
    found = scheduled(tmp_path, [{}, {}, odd, odd, {}, {}], check)
    assert {finding.outcome for finding in found} == {FAILED}
    assert (found[0].segment, found[0].step) == (1, 2)


@pytest.mark.parametrize(
    "odd", [{"betas/1": 0.9}, {"eps": 1e-30}, {"dampening": 0.5}, {"nesterov": True}, {"maximize": True}], ids=str
)
def test_what_no_schedule_changes_stays(odd: dict[str, float], tmp_path: Path) -> None:
    start = {"betas/0": 0.9, "betas/1": 0.999, "eps": 1e-8, "dampening": 0.0, "nesterov": False, "maximize": False}
    assert outcomes(scheduled(tmp_path / "same", [start] * 4)) == [PASSED]
    (finding,) = scheduled(tmp_path / "other", [start, start, {**start, **odd}, start])
    assert (finding.outcome, finding.step) == (FAILED, 2) and "no schedule of the judge's changes it" in finding.message


def test_decay_that_fills_momentum_at_one_rate_and_is_spent_at_another_is_refused(tmp_path: Path) -> None:
    """In no step is the rate times the decay more than a ten-thousandth."""
    filled, spent = {"lr": 1e-32, "weight_decay": 1e28}, {"lr": 1e-4, "weight_decay": 0.0}
    (finding,) = scheduled(tmp_path, [{}, filled, spent, spent])
    assert finding.outcome is FAILED and "such steps forget the weights" in finding.message


@pytest.mark.parametrize(
    ("settings", "check"),
    [
        ({"lr": 0.0}, Schedule()),
        ({"lr": 0.1}, Schedule(lr=0.1)),
        ({"lr": 0.2}, Schedule(change=2.0)),
        ({"lr": 0.05}, Schedule(change=2.0)),
        ({"momentum": 0.0, "weight_decay": 0.04}, Schedule()),
        ({"weight_decay": 0.2}, Schedule(decay=2.1)),
        ({"momentum": 0.99, "dampening": 1.0}, Schedule()),
        ({"momentum": 0.0, "dampening": 0.0}, Schedule()),
        ({"betas/0": 0.0, "nesterov": True, "maximize": None}, Schedule()),
    ],
    ids=str,
)
def test_setting_at_its_bound_passes(settings: dict[str, float], check: Schedule, tmp_path: Path) -> None:
    assert outcomes(scheduled(tmp_path, [{}, {}, settings, settings], check)) == [PASSED]


def test_what_is_wrong_at_many_steps_is_said_once(tmp_path: Path) -> None:
    (finding,) = scheduled(tmp_path, [{}, *[{"lr": -0.1}] * 7])
    assert (finding.segment, finding.step) == (0, 1) and "and so at 6 more" in finding.message


def test_schedule_of_the_judge_is_held_to_twelve_digits(tmp_path: Path) -> None:
    def own(step: int) -> Hyper:
        return {"sgd/0/lr": 0.1 * (1 + 1e-13), "sgd/0/momentum": 0.9, "sgd/0/weight_decay": 1e-4}

    (finding,) = scheduled(tmp_path, [{}] * 2, own=own)
    assert finding.outcome is PASSED and "as the judge's schedule has them" in finding.message
    found = scheduled(tmp_path / "off", [{}, {"lr": 0.1 * (1 + 1e-11)}], own=own)
    assert [(each.outcome, each.step) for each in found] == [(FAILED, 1)]


@pytest.mark.parametrize(
    ("odd", "said"), [({"maximize": None}, "None"), ({"momentum": None}, "None"), ({"nesterov": True}, "True")], ids=str
)
def test_setting_that_only_one_has_is_a_difference(odd: dict[str, Any], said: str, tmp_path: Path) -> None:
    expected = {"sgd/0/lr": 0.1, "sgd/0/momentum": 0.9, "sgd/0/weight_decay": 1e-4}
    found = scheduled(tmp_path, [odd, odd], own=lambda step: expected)
    assert outcomes(found) == [FAILED] and said in found[0].message


def test_nothing_is_not_zero(tmp_path: Path) -> None:
    own = {"sgd/0/lr": 0.1, "sgd/0/momentum": 0.9, "sgd/0/weight_decay": 0.0}
    found = scheduled(tmp_path, [{"weight_decay": None}] * 2, own=lambda step: own)
    assert outcomes(found) == [FAILED]


@pytest.mark.parametrize(("least", "outcome"), [(3, PASSED), (4, FAILED)])
def test_step_has_the_fewest_records_or_more(least: int, outcome: Outcome, tmp_path: Path) -> None:
    found = scheduled(tmp_path, [{}] * 2, Schedule(records=least))
    assert outcomes(found) == [outcome]


@pytest.mark.parametrize(("most", "outcome"), [(2, PASSED), (1, FAILED)])
def test_segment_has_the_most_steps_or_fewer(most: int, outcome: Outcome, tmp_path: Path) -> None:
    found = scheduled(tmp_path, [{}] * 2, Schedule(steps=most))
    assert outcomes(found) == [outcome]


def test_batches_without_records_have_none_to_count(tmp_path: Path) -> None:
    temperature = Schema((Field("temperature", "F32", "batch", (1,)),))
    simulation = Simulation(segments=1, records=0, header=changed(schema=temperature))
    with pol.open(simulation.record(tmp_path / "run"), trusted=None) as archive:
        case = Case(archive, Own(CONVNET.batches, None), "cpu", True, Bare(), Bare)  # type: ignore[arg-type]
        assert outcomes(schedule(case)) == [PASSED]


def test_bounds_show_in_the_report() -> None:
    assert repr(Schedule(lr=0.1, steps=100)) == "schedule(decay=0.5, records=1, steps=100, lr=0.1)"
