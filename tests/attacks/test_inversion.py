"""Test training backwards from the stolen weights."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import ClassVar

import pytest
import torch

from polarchive.attacks.inversion import Inverse, Inversion, closing, invert
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.workload import Workload
from polarchive.verification import policies
from tests.attacks.panel import WEIGHTS_ONLY, objections, panel, results
from tests.attacks.scene import ADAM, SGD, distance, judged, known, lands, reasons, spoof

MOMENTUM = replace(SGD, steps=12)
SHORT = replace(SGD, steps=8)
PLAIN = replace(SGD, steps=8, optimizer=partial(torch.optim.SGD, lr=0.001))
STEEP = replace(PLAIN, optimizer=partial(torch.optim.SGD, lr=0.2))
NESTEROV = replace(PLAIN, optimizer=partial(torch.optim.SGD, lr=0.001, momentum=0.9, nesterov=True))
MOMENTS = replace(ADAM, steps=8)


@dataclass(frozen=True, slots=True)
class FreshlyInverted(Inversion):
    """Claims that the adversary's seed explains state 0, which it does not."""

    seeded: ClassVar[bool] = True


def inverses(workload: Workload) -> list[Inverse]:
    """Invert a whole run, from its last step to its first."""
    knowing = known(workload)
    trainer = Puppet(workload)
    return [found for _, found in Inversion().backwards(knowing, trainer, closing(knowing, trainer))]


@pytest.mark.parametrize(
    ("workload", "least", "most"),
    [(MOMENTUM, 2, 2), (PLAIN, 3, 10), (NESTEROV, 3, 15)],
    ids=["momentum", "plain", "nesterov"],
)
def test_an_honest_step_is_inverted_and_costs_more_than_it_did(workload: Workload, least: int, most: int) -> None:
    knowing, trainer = known(workload), Puppet(workload)
    trainer.step([knowing.batch(0)])
    before = trainer.save()
    trainer.step([knowing.batch(1)])
    after = trainer.save()
    found = invert(trainer, after, knowing.batch(1))
    assert found.residual <= 1e-4
    assert least <= found.evaluations <= most
    assert distance(found.state, before) < 0.01 * distance(after, before)
    counted = "model/bn1.num_batches_tracked"
    assert found.state[counted].equal(before[counted])


def test_where_the_loss_is_steep_for_the_rate_no_inverse_is_found() -> None:
    found = inverses(STEEP)
    assert max(each.residual for each in found) > 0.1
    assert max(each.evaluations for each in found) == Inversion().iterations


def test_adam_cannot_be_inverted_far_for_its_second_moments_run_out() -> None:
    found = inverses(MOMENTS)
    assert median(each.residual for each in found[-4:]) > 2 * median(each.residual for each in found[:4])
    squares = [tensor for name, tensor in found[-1].state.items() if name.endswith("exp_avg_sq")]
    assert any((tensor == 0).any() for tensor in squares)


def test_momentum_leads_ever_faster_away_from_the_stolen_weights() -> None:
    found, end = inverses(MOMENTUM), known(MOMENTUM).weights
    way = [distance(end, end), *(distance(each.state, end) for each in found)]
    strides = [after - before for before, after in pairwise(way)]
    assert sum(strides[-4:]) > 1.3 * sum(strides[:4])
    assert max(each.residual for each in found) <= 1e-4
    assert all(each.evaluations == 2 for each in found)


def test_with_momentum_every_segment_replays_and_only_the_start_is_left_to_ask_about(tmp_path: Path) -> None:
    knowing = known(SHORT)
    spoof(Inversion(), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdicts = panel(tmp_path, knowing)
    assert results(verdicts, "accepted") == WEIGHTS_ONLY
    assert results(verdicts, "inconclusive") == {"sampled", "strict"}
    assert objections(verdicts, "sampled", "strict") == {"initial"}
    assert verdicts["strict"].unexplained.total < 0.01


def test_an_inverted_start_is_not_what_any_seed_leads_to(tmp_path: Path) -> None:
    spoof(FreshlyInverted(), known(SHORT), tmp_path)
    verdict = judged(tmp_path, SHORT, policies.strict())
    assert verdict.result == "rejected" and reasons(verdict) == {"initial"}


def test_an_inverted_run_that_did_not_converge_is_rejected_by_every_policy(tmp_path: Path) -> None:
    knowing = known(STEEP)
    spoof(Inversion(iterations=5), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdicts = panel(tmp_path, knowing)
    assert results(verdicts, "accepted") <= {"jia2021_topq"}
    assert {"initial", "replay"} <= objections(verdicts, "strict")
