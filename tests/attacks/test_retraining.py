"""Test training that is directed at the stolen weights: honest training with a jump, and training with a pull."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from polarchive.attacks.concatenation import Concatenation
from polarchive.attacks.pull import Pull, pulled
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.workload import Workload
from tests.attacks.panel import objections, panel, results
from tests.attacks.scene import ADAM, SGD, distance, ends, final, judged, known, lands, reasons, spoof

WORKLOADS = [pytest.param(replace(each, steps=12), id=each.name) for each in (SGD, ADAM)]
SHORT = replace(SGD, steps=12)


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_jump_at_the_end_is_the_largest_update_and_everyone_sees_it(
    tmp_path: Path, workload: Workload, share: float
) -> None:
    knowing = known(workload)
    spoof(Concatenation(share), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdicts = panel(tmp_path, knowing)
    assert results(verdicts, "rejected") == verdicts.keys()
    assert {"replay", "joint"} <= objections(verdicts, "strict")
    assert verdicts["strict"].segments == max(1, round(share * workload.segments))
    assert 0.9 < verdicts["strict"].unexplained.toward < 1.1
    assert [judged.index for judged in verdicts["relative"].judged if not judged.accepted] == [
        verdicts["relative"].segments - 1
    ]


def test_the_pull_is_the_gradient_of_the_distance_and_ends_with_the_block() -> None:
    knowing, trainer = known(SHORT), Puppet(SHORT)
    own, batch, weight = trainer.model.get_parameter("linear.weight"), knowing.batch(0), 0.25
    plain = trainer.gradient(batch)["model/linear.weight"]
    target = knowing.weights["model/linear.weight"]
    with pulled(trainer, knowing.weights, weight):
        trainer.claim(lr=0.0)
        trainer.step([batch])
        assert own.grad is not None
        assert torch.allclose(own.grad, plain + 2 * weight * (own.detach() - target), atol=1e-5)
    trainer.step([batch])
    assert torch.allclose(own.grad, plain, atol=1e-5)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_more_it_pulls_the_nearer_it_comes_and_the_worse_it_replays(tmp_path: Path, workload: Workload) -> None:
    knowing = known(workload)
    left, residuals = [], []
    for weight in (0.0, 0.01, 0.1, 1.0):
        folder = tmp_path / f"{weight}"
        spoof(Pull(weight, jump=False), knowing, folder)
        left.append(distance(final(folder), knowing.weights))
        verdict = judged(folder, workload)
        residuals.append(max(each.residual for each in verdict.judged))
        assert verdict.result == ("rejected" if weight else "accepted")
    assert all(later < earlier for earlier, later in pairwise(left))
    assert all(later > earlier for earlier, later in pairwise(residuals))
    assert left[-1] > 0


def test_a_pull_too_weak_for_a_pooled_threshold_brings_it_hardly_nearer(tmp_path: Path) -> None:
    knowing = known(SHORT)
    spoof(Pull(0.003, jump=False), knowing, tmp_path)
    verdicts = panel(tmp_path, knowing)
    assert "relative" in results(verdicts, "accepted")
    assert "strict" in results(verdicts, "rejected")
    assert distance(final(tmp_path), knowing.weights) > 0.9 * distance(ends(SHORT, 1)[1], knowing.weights)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_pull_that_jumps_at_the_end_lands_and_is_rejected_by_all(tmp_path: Path, workload: Workload) -> None:
    knowing = known(workload)
    spoof(Pull(), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdicts = panel(tmp_path, knowing)
    assert results(verdicts, "rejected") == verdicts.keys()
    assert reasons(verdicts["strict"]) == {"replay", "joint"}
