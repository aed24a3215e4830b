"""Test what spending every segment's tolerance on a direction comes to."""

from pathlib import Path

from polarchive.attacks.steering import Steering
from polarchive.verification import policies
from tests.attacks.scene import SGD, VICTIM, distance, ends, final, judged, known, lands, reasons, spoof


def nearer(folder: Path) -> float:
    """Return how much nearer to the victim a spoof ends than an honest run of the same seed."""
    victim = ends(SGD, VICTIM)[1]
    return 1 - distance(final(folder), victim) / distance(ends(SGD, 1)[1], victim)


def test_steering_by_a_pooled_norm_passes_it_and_shows_in_sum(tmp_path: Path) -> None:
    spoof(Steering(by_tensor=False), known(), tmp_path)
    assert 0.02 < nearer(tmp_path) < 0.15  # it takes hundreds of segments to arrive
    relative = judged(tmp_path, policy=policies.relative())
    assert relative.result == "accepted", relative.reasons
    verdict = judged(tmp_path)
    assert verdict.result == "rejected" and "joint" in reasons(verdict)


def test_steering_by_tensor_passes_the_replay_of_single_segments_and_shows_in_sum(tmp_path: Path) -> None:
    spoof(Steering(share=0.8), known(), tmp_path)
    assert 0.02 < nearer(tmp_path) < 0.15
    verdict = judged(tmp_path)
    assert verdict.result == "rejected" and "joint" in reasons(verdict)
    wrong = [finding.tensor for finding in verdict.reasons if finding.segment is not None]
    assert not any(name is None or name.endswith("momentum_buffer") for name in wrong)


def test_a_last_jump_lands_and_shows(tmp_path: Path) -> None:
    knowing = known()
    spoof(Steering(by_tensor=False, lands=True), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    for policy in (policies.relative(), policies.sampled(), policies.strict()):
        verdict = judged(tmp_path, policy=policy)
        assert verdict.result == "rejected" and "replay" in reasons(verdict)
