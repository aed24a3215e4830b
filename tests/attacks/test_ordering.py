"""Test choosing genuine records whose updates lead to the stolen weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from polarchive.attacks.ordering import Ordering, changes
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.vector import vector
from polarchive.training.kept import kept
from tests.attacks.panel import panel, results
from tests.attacks.scene import SGD, distance, ends, final, known, spoof

SHORT = replace(SGD, steps=8)


@pytest.mark.parametrize("members", [1, 4])
def test_changes_are_differences_of_distances_after_plain_steps(members: int) -> None:
    knowing = known(SHORT)
    torch.manual_seed(1)
    trainer = Puppet(SHORT)
    before, names = trainer.save(), trainer.parameters
    groups = torch.arange(3 * members).split(members)
    target, start = vector(knowing.weights, names), vector(before, names)
    expected = []
    for rows in groups:
        gradient = vector(trainer.gradient(SHORT.take(rows)), names)
        expected.append((target - start).norm() - (target - (start - trainer.rate * gradient)).norm())
    assert torch.allclose(changes(knowing, trainer, groups), torch.stack(expected), rtol=1e-4)
    assert all(tensor.equal(before[name]) for name, tensor in trainer.save().items())


def test_of_a_step_that_was_taken_the_change_is_positive() -> None:
    torch.manual_seed(1)
    trainer = Puppet(SHORT)
    own = trainer.weights()
    rows = torch.arange(4)
    gradient = trainer.gradient(SHORT.take(rows))
    ahead = {name: own[name] - 3 * trainer.rate * step for name, step in gradient.items()}
    (change,) = changes(replace(known(SHORT), weights={**own, **ahead}), trainer, [rows])
    step = trainer.rate * vector(gradient, trainer.parameters).norm()
    assert torch.isclose(change, step.double(), rtol=1e-3)


def test_single_records_lead_next_to_nowhere_from_another_start() -> None:
    knowing = known(SHORT)
    torch.manual_seed(1)
    trainer = Puppet(SHORT)
    found = changes(knowing, trainer, torch.arange(24).split(1))
    assert found.max() < 0.01 * distance(trainer.weights(), knowing.weights)


def test_chosen_order_is_valid_training_that_ends_elsewhere(tmp_path: Path) -> None:
    knowing = known(SHORT)
    spoof(Ordering(), knowing, tmp_path)
    assert results(panel(tmp_path, knowing), "accepted") == {
        "jia2021_full", "jia2021_topq", "relative", "sampled", "strict", "exact",
    }  # fmt: skip
    left = distance(final(tmp_path), knowing.weights)
    assert 0.9 * distance(ends(SHORT, 1)[0], knowing.weights) < left
    assert left < distance(ends(SHORT, 1)[1], knowing.weights)


def test_records_are_genuine_and_as_many_as_a_step_takes(tmp_path: Path) -> None:
    spoof(Ordering(pool=2), known(SHORT), tmp_path)
    for step in range(SHORT.steps):
        images, labels = kept(tmp_path / "batches", step)
        assert len(images) == len(labels) == SHORT.batch
        assert all((SHORT.records[0] == image).flatten(1).all(dim=1).any() for image in images)
