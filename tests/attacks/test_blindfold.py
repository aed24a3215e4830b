"""Test the spoof that shows a judge of the largest updates nothing but true ones (Fang et al., Fig. 5)."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from polarchive.attacks.blindfold import Blindfold
from polarchive.attacks.workload import Workload
from polarchive.format.challenge import NONCE_SIZE
from polarchive.verification import policies
from polarchive.verification.policy import Policy
from tests.attacks.scene import ADAM, SGD, judged, known, lands, opened, reasons, spoof

Q = 2
RATE = 0.002
SLOW = partial(torch.optim.SGD, lr=RATE, momentum=0.9, weight_decay=1e-4)
LONG = replace(SGD, every=2, optimizer=SLOW)  # eight segments an epoch
ADAM_LONG = replace(ADAM, every=2)
EPOCHS = LONG.steps // LONG.epoch


def topq(top: int, workload: Workload = LONG) -> Policy:
    knowing = known(workload, top=Q)
    return policies.jia2021_topq(top, epoch=workload.epoch * workload.batch, delta=knowing.rules.delta, d_ref=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("blindfold")
    spoof(Blindfold(), known(LONG, top=Q), made)
    return made


def test_it_ends_in_the_victims_weights(folder: Path) -> None:
    assert lands(folder, known(LONG))


@pytest.mark.parametrize("top", [1, 2, 3, 4, 8])
def test_no_invalid_update_is_found_by_a_judge_of_as_many_as_the_adversary_knows_of(folder: Path, top: int) -> None:
    verdict = judged(folder, LONG, topq(top))
    wrong = [each.segment for each in verdict.reasons if each.check == "replay"]
    assert len(verdict.judged) == top * EPOCHS
    assert len(wrong) == max(top - Q, 0) * EPOCHS
    assert verdict.result == ("accepted" if top <= Q else "rejected"), verdict.reasons


def test_the_largest_updates_are_the_true_ones(folder: Path) -> None:
    with opened(folder) as archive:
        taken = topq(Q).selection(archive, bytes(NONCE_SIZE))
    epoch = LONG.epoch // LONG.every
    assert taken == [epoch * number + place for number in range(EPOCHS) for place in range(Q)]


def test_the_rate_of_true_updates_is_recorded_and_large(folder: Path) -> None:
    second = LONG.epoch // LONG.every
    with opened(folder) as archive:
        rates = [step.hyper["optimizer/0/lr"] for index in (second, second + Q) for step in archive.steps(index)]
    assert rates[-1] == RATE and (rates[0] or 0.0) > 2 * RATE


def test_every_update_replayed_finds_the_interpolated_ones(folder: Path) -> None:
    full = judged(folder, LONG, policies.jia2021_full(known(LONG).rules.delta, 1.0))
    assert len({each.segment for each in full.reasons}) == LONG.segments - Q * EPOCHS
    strict = judged(folder, LONG)
    assert strict.result == "rejected" and "replay" in reasons(strict)


def test_adam_can_be_made_to_take_large_updates_too(tmp_path: Path) -> None:
    spoof(Blindfold(), known(ADAM_LONG, top=Q), tmp_path)
    assert lands(tmp_path, known(ADAM_LONG))
    assert judged(tmp_path, ADAM_LONG, topq(Q, ADAM_LONG)).result == "accepted"
    assert judged(tmp_path, ADAM_LONG, topq(Q + 1, ADAM_LONG)).result == "rejected"


def test_an_epoch_with_hardly_more_segments_than_are_replayed_hides_nothing(tmp_path: Path) -> None:
    spoof(Blindfold(trials=3), known(LONG, top=7), tmp_path)
    assert judged(tmp_path, LONG, topq(7)).result == "rejected"
