"""Test finding genuine batches that are to explain a transition."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from polarchive.attacks.forging import Forging, nearest
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.workload import Workload
from tests.attacks.panel import objections, panel, results
from tests.attacks.scene import ADAM, SGD, distance, known, lands, spoof

SHORT = replace(SGD, steps=8)
WORKLOADS = [pytest.param(replace(each, steps=8), id=each.name) for each in (SGD, ADAM)]


def test_the_batch_of_an_honest_transition_is_found_and_no_other_explains_it() -> None:
    torch.manual_seed(1)
    trainer = Puppet(SHORT)
    batches = [SHORT.take(SHORT.rows(1, step)) for step in range(8)]
    before = trainer.save()
    trainer.step([batches[5]])
    after = trainer.save()
    trainer.load(before)
    found = nearest(trainer, after, batches)
    assert (found.place, found.error) == (5, 0.0)
    assert all(tensor.equal(before[name]) for name, tensor in trainer.save().items())
    others = nearest(trainer, after, batches[:5])
    assert others.error > 0.1 * distance(before, after)


def test_more_attempts_are_no_worse_and_never_good() -> None:
    torch.manual_seed(1)
    trainer = Puppet(SHORT)
    batches = [SHORT.take(SHORT.rows(1, step)) for step in range(16)]
    before, end = trainer.save(), known(SHORT).weights
    ahead = {name: torch.lerp(before[name], end[name], 0.02) for name in trainer.parameters}
    few, many = (nearest(trainer, ahead, batches[:count]).error for count in (2, 16))
    assert many <= few
    assert many > 0.9 * distance(before, {**before, **ahead})


@pytest.mark.parametrize("workload", WORKLOADS)
def test_no_genuine_batches_lead_along_a_line(tmp_path: Path, workload: Workload) -> None:
    knowing = known(workload)
    spoof(Forging(attempts=3), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdicts = panel(tmp_path, knowing)
    assert results(verdicts, "rejected") == verdicts.keys()
    assert objections(verdicts, "strict") == {"replay", "joint"}
    assert all(max(each.errors.values()) > 0.9 for each in verdicts["relative"].judged)


def test_a_known_challenge_saves_the_search_elsewhere(tmp_path: Path) -> None:
    knowing = known(replace(SGD, steps=12))
    full, cheap = (
        spoof(Forging(), knowing, tmp_path / name, challenge) for name, challenge in (("all", None), ("one", [1]))
    )
    assert lands(tmp_path / "one", knowing)
    assert 2 * cheap.flops < full.flops
