"""Test that padded steps replay, and that the jump at their end does not."""

from dataclasses import replace
from pathlib import Path

import pytest

from polarchive.attacks.padding import Padding
from polarchive.attacks.workload import Workload
from polarchive.verification import policies
from polarchive.verification.checks.initial import initial
from polarchive.verification.checks.schedule import Schedule
from polarchive.verification.finding import Outcome
from tests.attacks.scene import ADAM, SGD, judged, known, lands, reasons, spoof


@pytest.mark.parametrize("workload", [SGD, ADAM], ids=lambda workload: workload.name)
def test_padding_replays_up_to_the_jump(workload: Workload, tmp_path: Path) -> None:
    knowing = known(workload)
    spoof(Padding(), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    for policy in (policies.jia2021_full(knowing.rules.delta, 1.0), policies.relative(), policies.strict()):
        verdict = judged(tmp_path, workload, policy)
        wrong = [each for each in verdict.judged if any(it.outcome is Outcome.FAILED for it in each.findings)]
        assert [each.index for each in wrong] == [workload.segments - 1]
    assert reasons(verdict) == {"replay", "joint"}


def test_padding_is_found_where_records_and_changes_of_rate_are_bounded(tmp_path: Path) -> None:
    spoof(Padding(), known(), tmp_path)
    bounded = replace(policies.strict(), of_case=(initial, Schedule(records=16, change=10.0)))
    messages = [each.message for each in judged(tmp_path, policy=bounded).reasons if each.check == "schedule"]
    assert any("records" in message for message in messages) and any("lr" in message for message in messages)
