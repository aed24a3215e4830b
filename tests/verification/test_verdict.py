"""Hold verdicts to their rule: one failure rejects, and what was not shown is not accepted."""

from pathlib import Path

import pytest

import polarchive as pol
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.verdict import Judged
from tests.verification.conftest import Verdicts
from tests.workloads import CONVNET

PASSED, FAILED, UNKNOWN, ADVICE = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.ADVICE


@pytest.mark.parametrize(
    ("outcomes", "outcome"),
    [
        ((), UNKNOWN),
        ((PASSED,), PASSED),
        ((PASSED, PASSED), PASSED),
        ((PASSED, UNKNOWN), UNKNOWN),
        ((PASSED, FAILED), FAILED),
        ((UNKNOWN, FAILED, PASSED), FAILED),
        ((ADVICE, PASSED), PASSED),
        ((ADVICE, FAILED), FAILED),
        ((ADVICE,), UNKNOWN),
    ],
)
def test_segment_is_what_its_findings_come_to(outcomes: tuple[Outcome, ...], outcome: Outcome) -> None:
    judged = Judged(0, 0, 1, tuple(Finding("check", each, "") for each in outcomes), {})
    assert judged.outcome is outcome and judged.accepted is (outcome is PASSED)


@pytest.mark.parametrize(
    ("archive", "segments", "result"),
    [
        ((PASSED,), ((PASSED,), (PASSED,)), "accepted"),
        ((PASSED,), ((PASSED,), (FAILED,)), "rejected"),
        ((FAILED,), ((PASSED,),), "rejected"),
        ((PASSED,), ((PASSED,), (UNKNOWN,)), "inconclusive"),
        ((UNKNOWN,), ((PASSED,),), "inconclusive"),
        ((UNKNOWN,), ((FAILED,),), "rejected"),
        ((FAILED,), (), "rejected"),
        ((PASSED,), ((PASSED,), ()), "inconclusive"),
        ((PASSED,), (), "inconclusive"),
        ((), (), "inconclusive"),
        ((), ((),), "inconclusive"),
        ((ADVICE,), ((PASSED, ADVICE),), "accepted"),
        ((ADVICE,), ((PASSED,), (ADVICE,)), "inconclusive"),
        ((ADVICE, UNKNOWN), ((PASSED,),), "inconclusive"),
        ((ADVICE, FAILED), ((PASSED,),), "rejected"),
    ],
)
def test_result(
    archive: tuple[Outcome, ...], segments: tuple[tuple[Outcome, ...], ...], result: str, verdicts: Verdicts
) -> None:
    assert verdicts(archive, segments).result == result


def test_reasons_are_all_that_did_not_pass_but_advice(verdicts: Verdicts) -> None:
    verdict = verdicts((PASSED, UNKNOWN, ADVICE), ((PASSED,), (FAILED, PASSED)))
    assert [finding.outcome for finding in verdict.reasons] == [UNKNOWN, FAILED]
    assert len(verdict.all_findings) == 6


def test_run_without_a_segment_is_inconclusive(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), CONVNET.writer(tmp_path / "run", CONVNET.trainer()) as log:
        log.record(CONVNET.batches(0))
        raise KeyboardInterrupt
    verdict = CONVNET.judge(tmp_path / "run", policy=pol.Policy(of_archive=(), of_case=()))
    assert (verdict.result, verdict.segments, verdict.all_findings) == ("inconclusive", 0, ())


def test_policy_without_checks_still_replays(tmp_path: Path) -> None:
    policy = pol.Policy(of_archive=(), of_case=(), of_segment=(), of_whole=())
    verdict = CONVNET.judge(CONVNET.record(tmp_path / "run"), policy=policy)
    assert verdict.result == "accepted"
    assert {finding.check for finding in verdict.all_findings} == {"replay"}


def test_threshold_that_measures_nothing_accepts_nothing(tmp_path: Path) -> None:
    CONVNET.record(tmp_path / "run")
    for threshold in (lambda evidence: iter(()), pol.Lp(2, 1e9, part="net")):
        assert CONVNET.judge(tmp_path / "run", policy=pol.Policy(threshold=threshold)).result != "accepted"


def test_verdict_names_what_was_judged_and_how(tmp_path: Path) -> None:
    CONVNET.record(tmp_path / "run")
    verdict = CONVNET.judge(tmp_path / "run", nonce=bytes(32), policy=pol.Policy(threshold=pol.Relative(0.25)))
    with pol.open(tmp_path / "run.pol", trusted=None) as archive:
        assert verdict.archive == archive.digest
    assert "Relative(alpha=0.25" in verdict.policy and "every" in verdict.policy and "schedule(" in verdict.policy
    assert verdict.challenge == CONVNET.judge(tmp_path / "run", nonce=bytes(32)).challenge
    assert verdict.challenge != CONVNET.judge(tmp_path / "run", nonce=bytes(31) + b"\1").challenge
    assert verdict.challenge != CONVNET.judge(tmp_path / "run").challenge
