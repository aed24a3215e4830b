"""Test going to combinations of honest updates that are nearest to the stolen weights."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import polarchive as pol
from polarchive.attacks.rna import Rna, combined
from polarchive.attacks.workload import Workload
from tests.attacks.panel import objections, panel, results
from tests.attacks.scene import ADAM, SGD, distance, ends, final, known, lands, opened, spoof

WORKLOADS = [pytest.param(replace(each, steps=12), id=each.name) for each in (SGD, ADAM)]
SHORT = replace(SGD, steps=16)


def test_the_nearest_point_is_found_among_all_combinations() -> None:
    draws = torch.Generator().manual_seed(0)
    states = torch.randn(4, 9, dtype=torch.float64, generator=draws)
    target = states[0] + torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64) @ states.diff(dim=0)
    assert torch.allclose(combined(states, states[0], target), target)
    aside = torch.randn(9, dtype=torch.float64, generator=draws)
    found = combined(states, states[0], target + aside)
    left = target + aside - found
    assert torch.allclose(states.diff(dim=0) @ left, torch.zeros(3, dtype=torch.float64), atol=1e-9)


def test_updates_that_say_the_same_are_combined_too() -> None:
    states = torch.arange(3, dtype=torch.float64)[:, None] * torch.ones(5, dtype=torch.float64)
    assert torch.allclose(combined(states, states[0], torch.full((5,), 7.0).double()), torch.full((5,), 7.0).double())


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_round_comes_nearer_and_none_arrives(tmp_path: Path, workload: Workload) -> None:
    knowing = known(workload)
    spoof(Rna(rounds=workload.segments), knowing, tmp_path)  # so a round is a segment
    with opened(tmp_path) as archive:
        states = [pol.to_tensors(archive.state(index)) for index in range(workload.segments + 1)]
    way = [distance(knowing.weights, state) for state in states]
    assert all(later <= earlier for earlier, later in pairwise(way))
    assert way[-1] > 0.9 * way[0]


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("attack", [Rna(), Rna(rounds=4), Rna(literal=True)], ids=str)
def test_replay_by_the_rule_that_was_claimed_is_off(tmp_path: Path, attack: Rna, workload: Workload) -> None:
    knowing = known(workload)
    spoof(attack, knowing, tmp_path)
    verdicts = panel(tmp_path, knowing)
    assert results(verdicts, "rejected") == verdicts.keys()
    assert objections(verdicts, "strict") == {"replay", "joint"}
    assert not lands(tmp_path, knowing)


def test_without_the_origin_a_combination_forgets_where_it_was(tmp_path: Path) -> None:
    knowing = known(SHORT)
    for literal in (False, True):
        spoof(Rna(literal=literal), knowing, tmp_path / str(literal))
    kept, forgotten = (distance(final(tmp_path / str(each)), knowing.weights) for each in (False, True))
    assert kept < distance(ends(SHORT, 1)[0], knowing.weights) < forgotten


def test_with_a_jump_it_lands_and_is_rejected_by_all(tmp_path: Path) -> None:
    knowing = known(SHORT)
    spoof(Rna(jump=True), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdicts = panel(tmp_path, knowing)
    assert results(verdicts, "rejected") == verdicts.keys()
