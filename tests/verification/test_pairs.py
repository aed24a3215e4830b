"""Replay segments in a row: what a claimed state carries unseen, the next segment shows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import polarchive as pol
from polarchive.format.challenge import derive
from polarchive.verification import report
from polarchive.verification.case import Case
from polarchive.verification.checks.joint import Joint
from polarchive.verification.drift import Drift
from polarchive.verification.plan import Plan
from polarchive.verification.replay import replay
from polarchive.verification.residual import Way
from polarchive.verification.selections import Range
from polarchive.verification.showing import Own
from tests.forging import STRICT, Forgery, at
from tests.lies import Steered, momentum_toward_stolen, small_second_moments_zeroed
from tests.simulator import PROVER
from tests.workloads import CONVNET, TRANSFORMER, Workload, threads

EXACT = pol.Policy(threshold=pol.Fixed(0.0))
OF_WEIGHTS = replace(STRICT, of_whole=(Joint(kept=1e300),))  # which would show what momentum keeps, too
LONG = replace(CONVNET, every=3)  # twelve segments
NONCES = [bytes([number]) * 32 for number in range(40)]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with threads(1):
        return LONG.record(tmp_path_factory.mktemp("pairs") / "run")


# Which are replayed.


def planned(folder: Path, policy: pol.Policy, nonce: bytes) -> Plan:
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        return Plan.of(archive, policy, nonce)


def test_pairs_are_drawn_by_the_challenge_out_of_all(honest: Path) -> None:
    plans = [planned(honest, pol.Policy(), nonce) for nonce in NONCES]
    assert all(len(plan.pairs) == 2 and plan.pairs == sorted(set(plan.pairs)) for plan in plans)
    assert {index for plan in plans for index in plan.pairs} == set(range(11))
    assert plans[0] == planned(honest, pol.Policy(), NONCES[0])


def test_pairs_are_of_segments_that_are_asked_for_anyway(honest: Path) -> None:
    for nonce in NONCES:
        plan = planned(honest, pol.Policy(selection=pol.Sample(6), in_a_row=99), nonce)
        assert plan.pairs == [index for index in plan.segments if index + 1 in plan.segments]


def test_draws_of_segments_and_of_pairs_are_independent(honest: Path) -> None:
    """Else who is drawn for the one would tell who is for the other: both are two places out of ten here."""
    policy = pol.Policy(selection=Range(0, 11))
    with pol.open(honest, trusted=[PROVER.key]) as archive:
        challenges = [derive(archive.heads[-1].text, nonce) for nonce in NONCES]
        segments = [[index - 1 for index in pol.Sample(2)(archive, each)[1:-1]] for each in challenges]
    pairs = [planned(honest, policy, nonce).pairs for nonce in NONCES]
    assert all(len(drawn) == 2 and max(drawn) < 10 for drawn in [*segments, *pairs])
    assert segments != pairs


@pytest.mark.parametrize(("count", "pairs"), [(0, 0), (1, 1), (11, 11), (99, 11)])
def test_as_many_as_asked_for_and_there_are(count: int, pairs: int, honest: Path) -> None:
    assert len(planned(honest, pol.Policy(in_a_row=count), NONCES[0]).pairs) == pairs


# What comes of it.


def test_honest_run_replays_in_a_row_bit_for_bit(honest: Path) -> None:
    verdict = LONG.judge(honest, policy=replace(EXACT, in_a_row=99))
    assert verdict.result == "accepted", verdict.reasons
    assert [(each.index, each.in_a_row, each.steps) for each in verdict.pairs] == [(index, 2, 6) for index in range(11)]
    assert not any(error for each in verdict.pairs for error in each.errors.values())
    assert "segments 3 to 4 in a row, steps 9 to 14: every error 0" in "\n".join(report.text(verdict))
    assert len(report.as_json(verdict)["pairs"]) == 11


@pytest.mark.parametrize("workload", [LONG, TRANSFORMER], ids=["SGD", "AdamW"])
def test_honest_noise_stays_within_the_tolerance_in_a_row(workload: Workload, tmp_path: Path) -> None:
    with threads(2):
        workload.record(tmp_path / "run")
    with threads(1):
        verdict = workload.judge(tmp_path / "run", policy=pol.Policy(in_a_row=99))
    assert verdict.result == "accepted", verdict.reasons
    assert verdict.pairs and all(max(each.errors.values()) > 0 for each in verdict.pairs)


@pytest.mark.parametrize(
    ("of", "state"),
    [(LONG, Steered(0.09, momentum_toward_stolen)), (TRANSFORMER, at(1, small_second_moments_zeroed))],
    ids=["momentum", "second moments"],
)
def test_only_segments_in_a_row_show_what_the_optimizer_carries(of: Workload, state: Any, tmp_path: Path) -> None:
    """Nothing is off by more than a tenth in any segment, and the weights are not off at all."""
    forgery = Forgery(check="pairs", of=of, state=state)
    folder = forgery.record(tmp_path / "run")
    verdict = forgery.verdict(folder, OF_WEIGHTS)
    assert verdict.result == "rejected" and {finding.check for finding in verdict.reasons} == {"replay"}
    assert all(judged.accepted and judged.residual == 0 for judged in verdict.judged)
    assert verdict.unexplained is not None and verdict.unexplained.total == 0
    assert not any(pair.accepted for pair in verdict.pairs)
    assert forgery.verdict(folder, replace(OF_WEIGHTS, in_a_row=0)).result == "accepted"


def test_lie_in_one_state_is_met_by_the_pair_that_passes_through_it(tmp_path: Path) -> None:
    """Two pairs out of eleven miss it with probability 9/11; to be sure, a judge replays all of them."""
    lie = Steered(0.05, momentum_toward_stolen)
    forgery = Forgery(check="pairs", of=LONG, state=lambda index, truth: lie(index, truth) if index == 6 else truth)
    verdict = forgery.verdict(forgery.record(tmp_path / "run"), replace(STRICT, in_a_row=99))
    assert {judged.index for judged in verdict.judged if judged.residual} == set()
    assert {pair.index for pair in verdict.pairs if pair.residual} == {5}


def test_a_fifth_of_the_tolerance_steers_unseen_and_shows_in_the_residuals_of_pairs(tmp_path: Path) -> None:
    """Momentum within a fifth of the tolerance passes in a row too, with nothing unexplained; yet it has a direction.

    So a judge should add up the residuals of pairs, as those of segments: honest ones come to nothing.
    """
    forgery = Forgery(check="none", of=LONG, state=Steered(0.02, momentum_toward_stolen))
    folder = forgery.record(tmp_path / "run")
    verdict = forgery.verdict(folder, replace(STRICT, in_a_row=99))
    assert verdict.result == "accepted" and verdict.unexplained is not None and verdict.unexplained.total == 0
    found = drift_of_pairs(folder)
    assert found.total > 0.01 and found.coherence > 2


def drift_of_pairs(folder: Path) -> Any:
    """Return what the residuals of all pairs of a run come to."""
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        own = Own(LONG.batches, pol.read_secret(folder / "secret"))
        case = Case.of(archive, LONG.build, own, "cpu")
        drift = Drift(Way(*(pol.to_tensors(archive.state(index)) for index in (0, -1))))
        for index in range(len(archive.segments) - 1):
            replay(case, index, 2, drift=drift)
        return drift.found


def test_honest_residuals_of_pairs_have_no_direction(tmp_path: Path) -> None:
    with threads(2):
        folder = LONG.record(tmp_path / "run")
    found = drift_of_pairs(folder)
    assert 0 < found.total < 1e-4 and found.coherence < 3
