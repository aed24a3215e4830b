"""Test that data which are not shown count against the prover."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from polarchive.attacks.honest import Honest
from polarchive.attacks.known import Leak
from polarchive.attacks.splice import Splice
from polarchive.attacks.withheld import Withheld
from polarchive.verification import policies
from polarchive.verification.finding import Outcome
from tests.attacks.scene import judged, known, lands, reasons, spoof
from tests.attacks.victim import SGD, leaking, published
from tests.workloads import threads


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leak]:
    with threads(1):
        yield published(tmp_path_factory.mktemp("victim"))


@pytest.fixture(scope="module")
def dark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("dark")
    with threads(1):
        spoof(Withheld(), known(SGD), folder)
        yield folder


@pytest.mark.parametrize("name", sorted(policies.NAMED))
def test_who_goes_dark_is_rejected_by_every_policy(name: str, dark: Path) -> None:
    assert lands(dark, known(SGD))
    verdict = judged(dark, SGD, policies.NAMED[name]())
    assert verdict.result == "rejected" and reasons(verdict) == {"openings"}
    failed = {finding.segment for finding in verdict.reasons if finding.outcome is Outcome.FAILED}
    assert failed == {each.index for each in verdict.judged}


def test_a_bad_segment_whose_data_are_lost_is_rejected_for_that(victim: Leak, tmp_path: Path) -> None:
    knowing = leaking(victim)
    bad = Splice().bad(knowing)
    spoof(Withheld(Splice(), bad, bad + 1), knowing, tmp_path)
    verdict = judged(tmp_path, SGD)
    assert verdict.result == "rejected"
    assert {(finding.check, finding.segment) for finding in verdict.reasons} == {("openings", bad)}


def test_an_honest_prover_who_loses_data_is_rejected_too(tmp_path: Path) -> None:
    spoof(Withheld(Honest(), 5, 6), known(SGD), tmp_path)
    verdict = judged(tmp_path, SGD)
    assert verdict.result == "rejected"
    assert {(finding.check, finding.segment) for finding in verdict.reasons} == {("openings", 5)}
