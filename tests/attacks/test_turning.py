"""Test spoofs that spend the tolerance where it adds up to nothing: in momentum, and in weights made tiny."""

from dataclasses import replace
from pathlib import Path

import pytest

from polarchive.attacks.attack import Attack
from polarchive.attacks.shrinking import Shrinking
from polarchive.attacks.turning import Turning
from polarchive.attacks.workload import Workload
from polarchive.verification import policies
from polarchive.verification.checks.initial import initial
from polarchive.verification.checks.schedule import Schedule
from tests.attacks.scene import SGD, distance, final, judged, known, reasons, spoof

LONG = pytest.mark.parametrize(
    ("attack", "workload"),
    [
        pytest.param(Turning(), replace(SGD, every=1, steps=80), id="turning"),
        pytest.param(Shrinking(trained=16), replace(SGD, every=2, steps=160), id="shrinking"),
    ],
)


@pytest.mark.slow
@LONG
def test_a_bound_on_the_rate_or_its_changes_finds_it(attack: Attack, workload: Workload, tmp_path: Path) -> None:
    knowing = known(workload)
    spoof(attack, knowing, tmp_path)
    assert distance(final(tmp_path), knowing.weights) == 0  # parameters; batch statistics are its own
    relative = judged(tmp_path, workload, policies.relative())
    assert relative.result == "accepted", relative.reasons
    bounded = replace(policies.strict(), of_case=(initial, Schedule(change=100.0)))
    assert "schedule" in reasons(judged(tmp_path, workload, bounded))


@pytest.mark.slow
@LONG
def test_strict_rejects_it(attack: Attack, workload: Workload, tmp_path: Path) -> None:
    """What momentum keeps is added up at the rate that spends it, and decay is held to the largest rate."""
    spoof(attack, known(workload), tmp_path)
    verdict = judged(tmp_path, workload)
    assert verdict.result == "rejected"
    assert ("joint" if isinstance(attack, Turning) else "schedule") in reasons(verdict)


def test_too_few_segments_to_turn_in_show(tmp_path: Path) -> None:
    spoof(Turning(), known(), tmp_path)
    verdict = judged(tmp_path)
    assert verdict.result == "rejected" and {"replay", "joint"} <= reasons(verdict)
