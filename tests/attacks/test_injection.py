"""Test that injected optimizer state passes a full replay of weights, and never one of all state."""

from pathlib import Path

import pytest

import polarchive as pol
from polarchive.attacks.adam_injection import AdamInjection
from polarchive.attacks.attack import Attack
from polarchive.attacks.injection import Injection
from polarchive.attacks.workload import Workload
from polarchive.verification import policies
from polarchive.verification.finding import Outcome
from tests.attacks.scene import ADAM, SGD, judged, known, lands, spoof

KEPT = {"momentum_buffer", "exp_avg", "exp_avg_sq"}
STATISTICS = {"running_mean", "running_var"}
ATTACKS = [(Injection, SGD), (AdamInjection, ADAM)]


def failed(verdict: pol.Verdict) -> dict[int, set[str]]:
    """Return the last words of the names of the tensors that are wrong, by segment."""
    found: dict[int, set[str]] = {}
    for each in verdict.judged:
        wrong = [finding for finding in each.findings if finding.outcome is Outcome.FAILED]
        if wrong:
            found[each.index] = {str(finding.tensor).replace("/", ".").rpartition(".")[2] for finding in wrong}
    return found


@pytest.mark.parametrize(("attack", "workload"), ATTACKS)
def test_a_chain_of_injections_passes_every_judge_of_weights(
    attack: type[Attack], workload: Workload, tmp_path: Path
) -> None:
    knowing = known(workload)
    spoof(attack(), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    for policy in (policies.jia2021_full(1e-5, 1.0), policies.jia2021_topq(1, 256, 1e-5, 1.0), policies.relative(1e-5)):
        verdict = judged(tmp_path, workload, policy)
        assert verdict.result == "accepted", verdict.reasons
    verdict = judged(tmp_path, workload)
    assert verdict.result == "rejected"
    wrong = failed(verdict)
    assert wrong.keys() == set(range(workload.segments - 1))
    assert all(names <= KEPT | (STATISTICS if index == 10 else set()) for index, names in wrong.items())
    assert verdict.unexplained is not None and abs(verdict.unexplained.toward) < 1e-6  # the joint test sees nothing


@pytest.mark.parametrize(("attack", "workload"), ATTACKS)
def test_a_single_injection_leaves_one_segment_wrong(attack: type[Attack], workload: Workload, tmp_path: Path) -> None:
    knowing = known(workload)
    spoof(attack(pieces=1), knowing, tmp_path)  # type: ignore[call-arg]
    assert lands(tmp_path, knowing)
    static = judged(tmp_path, workload, policies.jia2021_full(1e-4, 1.0))
    assert static.result == "accepted", static.reasons
    verdict = judged(tmp_path, workload, policies.sampled(workload.segments))
    assert verdict.result == "rejected"
    assert failed(verdict).keys() == {workload.segments - 2}
