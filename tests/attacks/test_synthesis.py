"""Test making up data whose gradients lead to the stolen weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from polarchive.attacks.puppet import Puppet
from polarchive.attacks.synthesis import Synthesis, synthesise
from polarchive.attacks.vector import vector
from polarchive.attacks.workload import Workload
from tests.attacks.panel import panel, results
from tests.attacks.scene import ADAM, SGD, distance, ends, final, known, spoof

SHORT = replace(SGD, steps=8)
WORKLOADS = [pytest.param(replace(each, steps=8), id=each.name) for each in (SGD, ADAM)]


def fresh() -> Puppet:
    torch.manual_seed(1)
    return Puppet(SHORT)


def test_data_that_leads_nearer_is_data_of_a_greater_loss() -> None:
    trainer, knowing = fresh(), known(SHORT)
    made = synthesise(trainer, knowing.batch(0), knowing.weights, iterations=20, rate=0.05)
    assert made.distances[-1] < made.distances[0]
    assert made.losses[-1] > 1.1 * made.losses[0]
    assert made.distances[-1] > 0.9 * made.distances[0]


def test_the_distance_is_that_after_a_plain_step_on_what_was_made() -> None:
    trainer, knowing = fresh(), known(SHORT)
    made = synthesise(trainer, knowing.batch(0), knowing.weights, iterations=2, rate=0.05)
    names = trainer.parameters
    ahead = vector(trainer.weights(), names) - trainer.rate * vector(trainer.gradient(made.batch), names)
    assert made.distances[-1] == pytest.approx(float((vector(knowing.weights, names) - ahead).norm()), rel=1e-5)
    assert made.losses[-1] == pytest.approx(trainer.loss(made.batch).item(), rel=1e-6)


def test_only_inputs_change_and_they_stay_in_range() -> None:
    trainer, knowing = fresh(), known(SHORT)
    genuine = knowing.batch(0)
    made = synthesise(trainer, genuine, knowing.weights, iterations=3, rate=5.0).batch
    assert made[0].aminmax() == genuine[0].aminmax()
    assert made[1].equal(genuine[1]) and not made[0].equal(genuine[0])


@pytest.mark.parametrize("workload", WORKLOADS)
def test_training_on_made_up_data_is_valid_and_ends_elsewhere(tmp_path: Path, workload: Workload) -> None:
    knowing = known(workload)
    spoof(Synthesis(iterations=2), knowing, tmp_path)
    verdicts = panel(tmp_path, knowing)
    assert results(verdicts, "accepted") == verdicts.keys()
    assert distance(final(tmp_path), knowing.weights) > 0.9 * distance(ends(workload, 1)[0], knowing.weights)
