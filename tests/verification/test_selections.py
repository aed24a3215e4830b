"""Choose segments as the challenge says, and never so that a prover could foresee what is left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polarchive as pol
from polarchive.format.archive import Archive
from polarchive.format.tensors import Array
from polarchive.verification.selections import ByEpoch, Range, Suspicious, TopQ, epochs, odds_of
from tests.simulator import Simulation, State

SEGMENTS = 12
CHALLENGES = [bytes([number]) * 32 for number in range(64)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return opened(SEGMENTS, tmp_path_factory.mktemp("run"))


def opened(segments: int, folder: Path) -> Archive:
    return pol.open(Simulation(segments=segments).record(folder / "run"), trusted=None)


def test_every_is_all(archive: Archive) -> None:
    assert pol.every(archive, CHALLENGES[0]) == list(range(SEGMENTS))


def test_sample_draws_first_and_last_and_so_many_between(archive: Archive) -> None:
    for challenge in CHALLENGES:
        chosen = pol.Sample(3)(archive, challenge)
        assert chosen == sorted(set(chosen)) and len(chosen) == 5
        assert (chosen[0], chosen[-1]) == (0, SEGMENTS - 1)


def test_sample_is_determined_by_the_challenge(archive: Archive) -> None:
    first, other = (pol.Sample(3)(archive, challenge) for challenge in CHALLENGES[:2])
    assert first == pol.Sample(3)(archive, CHALLENGES[0]) != other


def test_sample_leaves_no_segment_out_for_good(archive: Archive) -> None:
    drawn = {index for challenge in CHALLENGES for index in pol.Sample(1)(archive, challenge)}
    assert drawn == set(range(SEGMENTS))


@pytest.mark.parametrize(
    ("count", "size"), [(0, 2), (SEGMENTS - 3, SEGMENTS - 1), (SEGMENTS - 2, SEGMENTS), (999, SEGMENTS)]
)
def test_sample_of_few_or_more_than_there_are(count: int, size: int, archive: Archive) -> None:
    assert len(pol.Sample(count)(archive, CHALLENGES[0])) == size


@pytest.mark.parametrize(("segments", "chosen"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2])])
def test_sample_of_a_short_run_is_all_of_it(segments: int, chosen: list[int], tmp_path: Path) -> None:
    assert pol.Sample(5)(opened(segments, tmp_path), CHALLENGES[0]) == chosen


@pytest.mark.parametrize(
    ("start", "stop", "chosen"),
    [(0, 2, [0, 1]), (None, None, list(range(SEGMENTS))), (10, None, [10, 11]), (10, 99, [10, 11]), (5, 5, [])],
)
def test_range_is_what_the_judge_names(
    start: int | None, stop: int | None, chosen: list[int], archive: Archive
) -> None:
    assert Range(start, stop)(archive, CHALLENGES[0]) == chosen


# By displacement, and by epoch. Every segment has 6 records, so an epoch of 18 has three of them.

MOVES = [1.0, 9.0, 2.0, 8.0, 1.0, 1.0, 3.0, 1.0, 7.0, 1.0, 1.0, 6.0]


def walked(folder: Path, store: set[int] | None = None, moves: list[float] = MOVES) -> Archive:
    """Open a run whose segments move the model so far, at rates that change little."""
    places = [sum(moves[:index]) for index in range(SEGMENTS + 1)]
    states: list[State] = [{"w": Array("F64", (), np.array(place, "<f8").tobytes())} for place in places]
    simulation = Simulation(segments=SEGMENTS, every=2, records=3, store=store, states=lambda _: states)
    return pol.open(simulation.record(folder / "run"), trusted=None)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return walked(tmp_path_factory.mktemp("walk"))


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (TopQ(2), [1, 3]),
        (TopQ(1, epoch=18), [1, 3, 8, 11]),
        (TopQ(0), []),
        (TopQ(99), list(range(SEGMENTS))),
    ],
    ids=["of_the_run", "of_each_epoch", "none", "all"],
)
def test_top_q_takes_the_largest_updates(selection: TopQ, chosen: list[int], walk: Archive) -> None:
    assert selection(walk, CHALLENGES[0]) == chosen == selection(walk, CHALLENGES[1])


def test_top_q_and_some_drawn_leave_none_out_for_good(walk: Archive) -> None:
    found = [TopQ(2, drawn=2)(walk, challenge) for challenge in CHALLENGES]
    assert all(len(chosen) == 4 and {1, 3} <= set(chosen) for chosen in found)
    assert {index for chosen in found for index in chosen} == set(range(SEGMENTS))


def test_what_cannot_be_measured_counts_as_the_largest(tmp_path: Path) -> None:
    archive = walked(tmp_path, store=set(range(SEGMENTS + 1)) - {6})
    assert TopQ(2)(archive, CHALLENGES[0]) == [5, 6]


@pytest.mark.parametrize(
    ("count", "taken"), [(0, [0, 11]), (1, [0, 6, 11]), (99, list(range(SEGMENTS)))], ids=["none", "one", "all"]
)
def test_suspicious_takes_the_ends_and_what_is_least_like_training(
    count: int, taken: list[int], tmp_path: Path
) -> None:
    archive = walked(tmp_path, moves=[1.0] * 6 + [50.0] + [1.0] * 5)
    assert Suspicious(count, drawn=0)(archive, CHALLENGES[0]) == taken


def test_suspicious_counts_no_segment_twice(tmp_path: Path) -> None:
    """Where the first segment is the most suspicious one, the next is taken as well."""
    archive = walked(tmp_path, moves=[50.0] + [1.0] * 5 + [9.0] + [1.0] * 5)
    assert Suspicious(1, drawn=0)(archive, CHALLENGES[0]) == [0, 6, 11]


def test_suspicious_and_some_drawn_leave_none_out_for_good(walk: Archive) -> None:
    always = set(Suspicious(2, drawn=0)(walk, CHALLENGES[0]))
    found = [Suspicious(2, drawn=2)(walk, challenge) for challenge in CHALLENGES]
    assert all(len(chosen) == 6 and always <= set(chosen) for chosen in found)
    assert {index for chosen in found for index in chosen} == set(range(SEGMENTS))


def test_suspicious_of_a_short_run_is_all_of_it(tmp_path: Path) -> None:
    assert Suspicious(3, drawn=3)(opened(2, tmp_path), CHALLENGES[0]) == [0, 1]


def test_by_epoch_draws_in_each(walk: Archive) -> None:
    assert epochs(walk, 18) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert epochs(walk, None) == [list(range(SEGMENTS))]
    found = [ByEpoch(1, epoch=18)(walk, challenge) for challenge in CHALLENGES]
    assert all([index // 3 for index in chosen] == [0, 1, 2, 3] for chosen in found)
    assert {index for chosen in found for index in chosen} == set(range(SEGMENTS))
    assert len({index % 3 for index in found[0]} | {index % 3 for index in found[1]}) > 1


@pytest.mark.parametrize(
    ("selection", "one"),
    [
        (pol.Sample(5), 0.5),
        (pol.Sample(99), 1.0),
        (TopQ(4), 0.0),
        (TopQ(2, drawn=5), 0.5),
        (ByEpoch(1, epoch=18), 1 / 3),
        (TopQ(99), 1.0),
        (Suspicious(2, drawn=4), 0.5),
        (Suspicious(2, drawn=0), 0.0),
        (Suspicious(2, drawn=99), 1.0),
        (Suspicious(99, drawn=1), 1.0),
    ],
    ids=repr,
)
def test_odds_are_those_of_the_draw_alone(selection: Any, one: float, walk: Archive) -> None:
    odds = odds_of(selection, walk, selection(walk, CHALLENGES[0]))
    assert odds is not None and odds.one == pytest.approx(one) and odds.one <= odds.tenth <= 1


def test_what_draws_nothing_has_no_odds(walk: Archive) -> None:
    assert odds_of(pol.every, walk, []) is odds_of(Range(0, 1), walk, [0]) is None
