"""Test the spoofs whose states are on a line."""

from pathlib import Path

from polarchive.attacks.honest import Honest
from polarchive.attacks.infinitesimal import Infinitesimal
from polarchive.verification import policies
from tests.attacks.scene import SGD, distance, ends, judged, known, lands, reasons, spoof


def test_an_honest_run_of_the_adversarys_own_is_accepted_and_is_another_model(tmp_path: Path) -> None:
    knowing = known()
    spoof(Honest(), knowing, tmp_path)
    verdict = judged(tmp_path)
    assert verdict.result == "accepted", verdict.reasons
    assert not lands(tmp_path, knowing)


def test_infinitesimal_steps_pass_a_static_threshold_and_no_relative_one(tmp_path: Path) -> None:
    way = distance(ends(SGD, 1)[0], known().weights)
    knowing = known(delta=1.01 * way / SGD.segments)
    spoof(Infinitesimal(), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    static = judged(tmp_path, policy=policies.jia2021_full(knowing.rules.delta, 1.0))
    assert static.result == "accepted", static.reasons
    for policy in (policies.relative(), policies.strict()):
        verdict = judged(tmp_path, policy=policy)
        assert verdict.result == "rejected" and "replay" in reasons(verdict)
