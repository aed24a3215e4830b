"""Test what comes of settings that the prover is free to choose."""

from pathlib import Path

import pytest

from polarchive.attacks.hyper import FarAndBack, Fitted
from polarchive.attacks.workload import Workload
from polarchive.verification import policies
from tests.attacks.scene import ADAM, SGD, distance, ends, final, judged, known, lands, reasons, spoof

BOTH = pytest.mark.parametrize("workload", [SGD, ADAM], ids=lambda workload: workload.name)


@BOTH
def test_fitted_settings_replay_and_lead_little_nearer(workload: Workload, tmp_path: Path) -> None:
    knowing = known(workload)
    spoof(Fitted(lands=False), knowing, tmp_path)
    fresh = ends(workload, 1)[0]
    assert 0.7 < distance(final(tmp_path), knowing.weights) / distance(fresh, knowing.weights) < 1
    full = judged(tmp_path, workload, policies.jia2021_full(1e-9, 1.0))
    assert full.result == "accepted", full.reasons
    verdict = judged(tmp_path, workload)
    assert verdict.result == "rejected" and reasons(verdict) == {"schedule"}


def test_rates_within_bounds_lead_next_to_nowhere_and_the_jump_shows(tmp_path: Path) -> None:
    knowing = known()
    spoof(Fitted(bounded=True), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdict = judged(tmp_path)
    assert verdict.result == "rejected" and reasons(verdict) == {"replay", "joint"}
    assert verdict.unexplained is not None and verdict.unexplained.toward > 0.9


@BOTH
def test_far_and_back_passes_a_relative_norm_and_no_bounds(workload: Workload, tmp_path: Path) -> None:
    knowing = known(workload)
    spoof(FarAndBack(), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    relative = judged(tmp_path, workload, policies.relative())
    assert relative.result == "accepted", relative.reasons
    verdict = judged(tmp_path, workload)
    assert verdict.result == "rejected" and {"schedule", "replay", "joint"} <= reasons(verdict)
