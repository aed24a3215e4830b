"""Test jumps: a single one that only a full replay is sure to find, and pieces that hide from the largest updates."""

from dataclasses import replace
from pathlib import Path

import pytest

from polarchive.attacks.attack import Attack
from polarchive.attacks.jump import Jump, Pieces
from polarchive.attacks.ordering import Ordering
from polarchive.attacks.synthesis import Synthesis
from polarchive.attacks.workload import Workload
from polarchive.verification import policies
from polarchive.verification.finding import Outcome
from tests.attacks.panel import objections, panel, results
from tests.attacks.scene import ADAM, SGD, judged, known, lands, reasons, spoof


@pytest.mark.parametrize("workload", [SGD, ADAM], ids=lambda workload: workload.name)
def test_a_single_jump_leaves_one_segment_wrong(workload: Workload, tmp_path: Path) -> None:
    knowing = known(workload)
    spoof(Jump(place=0.75), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdict = judged(tmp_path, workload)
    wrong = [each for each in verdict.judged if any(it.outcome is Outcome.FAILED for it in each.findings)]
    assert [each.index for each in wrong] == [8]
    assert verdict.result == "rejected" and {"replay", "joint"} <= reasons(verdict)


@pytest.mark.parametrize("workload", [SGD, ADAM], ids=lambda workload: workload.name)
def test_pieces_hide_from_a_judge_of_the_largest_updates(workload: Workload, tmp_path: Path) -> None:
    knowing = known(workload)
    spoof(Pieces(), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    rules = knowing.rules
    largest = judged(tmp_path, workload, policies.jia2021_topq(rules.top, 256, rules.delta, 1.0))
    assert largest.result == "accepted", largest.reasons
    assert all(each.residual == 0 for each in largest.judged)
    for policy in (policies.jia2021_full(rules.delta, 1.0), policies.relative(), policies.strict()):
        verdict = judged(tmp_path, workload, policy)
        assert verdict.result == "rejected" and "replay" in reasons(verdict)


@pytest.mark.parametrize(
    "attack",
    [Ordering(pool=2, jump=True), Synthesis(iterations=1, jump=True)],
    ids=lambda attack: type(attack).__name__,
)
def test_attacks_that_end_in_a_jump_land_and_are_rejected_by_all(attack: Attack, tmp_path: Path) -> None:
    knowing = known(replace(SGD, steps=8))
    spoof(attack, knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdicts = panel(tmp_path, knowing)
    assert results(verdicts, "rejected") == verdicts.keys()
    assert objections(verdicts, "strict") == {"replay", "joint"}
