"""Test proofs that are put together out of the victim's and one's own, cut, or edited."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import polarchive as pol
from polarchive.attacks.cut import Cut
from polarchive.attacks.edit import Edit
from polarchive.attacks.known import Leak
from polarchive.attacks.splice import Splice
from polarchive.attacks.workload import Workload
from polarchive.verification import policies
from polarchive.verification.dispute.decision import Outcome
from tests.attacks.scene import judged, lands, opened, reasons, spoof
from tests.attacks.victim import ADAM, EARLY, LATE, SGD, Court, leaking, published
from tests.workloads import threads


@pytest.fixture(scope="module")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Leak]]:
    with threads(1):
        yield {each.name: published(tmp_path_factory.mktemp("victim"), each) for each in (SGD, ADAM)}


def refused(verdict: pol.Verdict) -> set[int]:
    """Return the segments that are not accepted by themselves."""
    return {judged.index for judged in verdict.judged if not judged.accepted}


@pytest.mark.parametrize(
    ("workload", "share"), [(SGD, 0.0), (SGD, 0.5), (SGD, 1.0), (ADAM, 0.5)], ids=["none", "half", "all", "AdamW"]
)
def test_a_splice_has_one_bad_segment(
    workload: Workload, share: float, victims: dict[str, Leak], tmp_path: Path
) -> None:
    knowing = leaking(victims[workload.name], workload)
    attack = Splice(share)
    spoof(attack, knowing, tmp_path)
    assert lands(tmp_path, knowing)
    for policy in (policies.strict(), policies.jia2021_full(knowing.rules.delta, 1.0)):
        verdict = judged(tmp_path, workload, policy)
        assert verdict.result == "rejected" and "replay" in reasons(verdict)
        assert refused(verdict) == {attack.bad(knowing)}


def test_the_junction_is_the_largest_update_of_its_epoch(victims: dict[str, Leak], tmp_path: Path) -> None:
    knowing = leaking(victims[SGD.name])
    spoof(Splice(), knowing, tmp_path)
    topq = policies.jia2021_topq(1, SGD.epoch * SGD.batch, knowing.rules.delta, 1.0)
    verdict = judged(tmp_path, SGD, topq)
    assert verdict.result == "rejected" and refused(verdict) == {Splice().bad(knowing)}


@pytest.mark.parametrize("workload", [SGD, ADAM], ids=lambda each: each.name)
def test_a_cut_proof_replays_and_its_beginning_is_unexplained(
    workload: Workload, victims: dict[str, Leak], tmp_path: Path
) -> None:
    knowing = leaking(victims[workload.name], workload)
    spoof(Cut(), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    assert judged(tmp_path, workload, policies.relative()).result == "accepted"
    verdict = judged(tmp_path, workload)
    assert verdict.result == "inconclusive" and reasons(verdict) == {"initial"}
    with opened(tmp_path) as archive:
        assert len(archive.segments) == knowing.segments // 2


@pytest.mark.parametrize(
    ("victim_at", "cut_at", "outcome", "favours"),
    [
        (EARLY, LATE, Outcome.DERIVED, "victim"),
        (None, None, Outcome.DERIVED, "victim"),
        (LATE, EARLY, Outcome.UNDECIDED, None),
    ],
)
def test_a_cut_proof_is_seen_to_start_from_the_victims(
    victim_at: float | None,
    cut_at: float | None,
    outcome: Outcome,
    favours: str | None,
    victims: dict[str, Leak],
    tmp_path: Path,
) -> None:
    leak = victims[SGD.name]
    spoof(Cut(), leaking(leak), tmp_path)
    decision = Court(tmp_path / "court", leak.archive.parent, tmp_path).hear(victim_at, cut_at)
    assert (decision.outcome, decision.favours) == (outcome, favours), decision
    assert f"starts from state {SGD.segments // 2} of victim" in decision.because[0]


@pytest.mark.parametrize(
    ("workload", "edit"), [(SGD, Edit()), (SGD, Edit(1.0, 1.001)), (ADAM, Edit())], ids=["rate", "weights", "AdamW"]
)
def test_an_edit_in_the_middle_shows_where_it_is(
    workload: Workload, edit: Edit, victims: dict[str, Leak], tmp_path: Path
) -> None:
    knowing = leaking(victims[workload.name], workload)
    spoof(edit, knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdict = judged(tmp_path, workload)
    assert verdict.result == "rejected" and "replay" in reasons(verdict)
    middle = SGD.segments // 2
    assert refused(verdict) <= {middle - 1, middle}


def test_no_edit_is_no_edit(victims: dict[str, Leak], tmp_path: Path) -> None:
    spoof(Edit(rate=1.0), leaking(victims[SGD.name]), tmp_path)
    assert judged(tmp_path, SGD, policies.exact()).result == "accepted"
