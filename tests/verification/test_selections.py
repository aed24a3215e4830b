"""Choose segments as the challenge says, and never so that a prover could foresee what is left out."""

from pathlib import Path

import pytest

import polarchive as pol
from polarchive.format.archive import Archive
from polarchive.verification.selections import Range
from tests.simulator import Simulation

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
