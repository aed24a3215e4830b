"""Test the spoofs whose states are on a way to the victim's, and which claim that nothing is learnt there."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from polarchive.attacks.attack import Attack
from polarchive.attacks.honest import Honest
from polarchive.attacks.infinitesimal import Infinitesimal
from polarchive.attacks.intermittent import Intermittent
from polarchive.attacks.paths import Arc, Wander, Way, straight
from polarchive.attacks.ranked import RankedInfinitesimal, ranked
from polarchive.attacks.workload import Workload
from polarchive.measures.laws import correlation
from polarchive.verification import policies
from tests.attacks.scene import ADAM, ADVERSARY, SGD, distance, ends, judged, known, lands, opened, reasons, spoof

WAYS = (straight, Arc(), Wander())
STILL = {
    "line": (Infinitesimal(), 1.01),
    "arc": (Infinitesimal(path=Arc()), 1.5),
    "walk": (Infinitesimal(path=Wander()), 2.0),
    "ranked start": (RankedInfinitesimal(), 0.5),
    "pauses": (Intermittent(), 3.0),
}


def piece(workload: Workload = SGD) -> float:
    """Return how far a segment leads on the line from the adversary's own start."""
    return distance(ends(workload, ADVERSARY)[0], known(workload).weights) / workload.segments


def test_an_honest_run_of_the_adversarys_own_is_accepted_and_is_another_model(tmp_path: Path) -> None:
    knowing = known()
    spoof(Honest(), knowing, tmp_path)
    verdict = judged(tmp_path)
    assert verdict.result == "accepted", verdict.reasons
    assert not lands(tmp_path, knowing)


@pytest.mark.parametrize(("attack", "longer"), STILL.values(), ids=STILL.keys())
def test_standing_still_passes_a_static_threshold_and_no_relative_one(
    tmp_path: Path, attack: Attack, longer: float
) -> None:
    knowing = known(delta=longer * piece())
    spoof(attack, knowing, tmp_path)
    assert lands(tmp_path, knowing)
    static = judged(tmp_path, policy=policies.jia2021_full(knowing.rules.delta, 1.0))
    assert static.result == "accepted", static.reasons
    for policy in (policies.relative(), policies.strict()):
        verdict = judged(tmp_path, policy=policy)
        assert verdict.result == "rejected" and "replay" in reasons(verdict)


@pytest.mark.parametrize("workload", [SGD, ADAM], ids=["SGD", "AdamW"])
def test_a_threshold_below_the_pieces_of_a_line_finds_each_of_them(tmp_path: Path, workload: Workload) -> None:
    knowing = known(workload)
    spoof(Infinitesimal(), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdict = judged(tmp_path, workload, policies.jia2021_full(0.99 * piece(workload), 1.0))
    found = {each.segment for each in verdict.reasons}
    assert verdict.result == "rejected" and found == set(range(workload.segments))
    assert "replay" in reasons(judged(tmp_path, workload))


def test_pauses_are_found_where_they_are(tmp_path: Path) -> None:
    knowing = known()
    spoof(Intermittent(period=3), knowing, tmp_path)
    verdict = judged(tmp_path, policy=policies.relative())
    assert [each.segment for each in verdict.reasons] == [2, 5, 8, 11]


def test_a_ranked_start_has_fresh_numbers_and_another_order(tmp_path: Path) -> None:
    knowing = known()
    fresh = ends(SGD, ADVERSARY)[0]
    start = ranked(fresh, knowing.weights)
    for name, tensor in start.items():
        assert tensor.flatten().sort().values.equal(fresh[name].flatten().sort().values)
    name = "model/conv2.weight"
    assert correlation(start[name], knowing.weights[name]).statistic > 0.999
    assert distance(start, knowing.weights) < 0.25 * distance(fresh, knowing.weights)


def test_a_ranked_start_is_not_explained_by_a_seed(tmp_path: Path) -> None:
    spoof(RankedInfinitesimal(), known(), tmp_path)
    with opened(tmp_path) as archive:
        assert archive.header.initial.kind == "unexplained"
    assert "initial" in reasons(judged(tmp_path))


@pytest.mark.parametrize("way", WAYS, ids=["line", "arc", "walk"])
@pytest.mark.parametrize("pieces", [1, 2, 12, 100])
def test_ways_lead_from_end_to_end_in_short_steps(way: Way, pieces: int) -> None:
    start, end = ends(SGD, ADVERSARY)[0], known().weights
    states = list(way(start, end, pieces))
    assert len(states) == pieces + 1
    assert all(states[0][name].equal(start[name]) and states[-1][name].equal(end[name]) for name in end)
    steps = [distance(one, other) for one, other in pairwise(states)]
    assert max(steps) < 2.2 * distance(start, end) / pieces


@pytest.mark.parametrize("way", WAYS[1:], ids=["arc", "walk"])
def test_ways_that_are_no_line_leave_it_by_weights_only(way: Way) -> None:
    start, end = ends(SGD, ADVERSARY)[0], known().weights
    middle, other = (list(each(start, end, 12))[6] for each in (straight, way))
    assert distance(middle, other) > 0.1 * distance(start, end)
    assert bool((other["model/bn1.running_var"] > 0).all())


@pytest.mark.parametrize("order", [[0.3, 0.1, 0.2], [[0.5, 0.5], [0.1, 0.9]]])
def test_ranks_are_those_of_the_stolen_tensor(order: list[float]) -> None:
    stolen = torch.tensor(order)
    fresh = torch.arange(float(stolen.numel())).flip(0).reshape(stolen.shape)
    found: Tensor = ranked({"w": fresh}, {"w": stolen})["w"]
    assert found.flatten().argsort().equal(stolen.flatten().argsort(stable=True))
