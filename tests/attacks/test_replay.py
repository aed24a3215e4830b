"""Test copies of a victim's proof, and logs that were rewritten: only stamps tell whose it is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch.nn.functional as F
from torch import Tensor

import polarchive as pol
from polarchive.attacks.blurred import Blurred
from polarchive.attacks.equivocation import Equivocation
from polarchive.attacks.known import Leak
from polarchive.attacks.resigned import Resigned
from polarchive.errors import PolError
from polarchive.exchange import witness
from polarchive.exchange.witness import AnotherLog
from polarchive.format import note
from polarchive.verification import policies
from polarchive.verification.dispute.decision import Outcome
from tests.attacks.scene import Net, judged, known, lands, opened, reasons, spoof
from tests.attacks.victim import EARLY, LATE, SGD, Court, leaking, published
from tests.disputes import OWN
from tests.simulator import STRANGER
from tests.witness import Witness
from tests.workloads import threads


class Forgetful(Net):
    """Draws a mask in every step."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.dropout(x, 0.2, self.training))


DROPOUT = replace(SGD, name="small network with dropout", model=Forgetful)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leak]:
    with threads(1):
        yield published(tmp_path_factory.mktemp("victim"))


@pytest.fixture(scope="module")
def copy(victim: Leak, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("copy")
    with threads(1):
        spoof(Resigned(), leaking(victim), folder)
        yield folder


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    folders = tmp_path_factory.mktemp("better"), tmp_path_factory.mktemp("worse")
    with threads(1):
        for story, folder in enumerate(folders):
            spoof(Equivocation(story), known(SGD), folder)
        yield folders


def test_a_proof_that_never_leaked_is_not_copied(tmp_path: Path) -> None:
    with pytest.raises(PolError, match="needs the victim's own proof"):
        spoof(Resigned(), known(SGD), tmp_path)


@pytest.mark.parametrize("name", sorted(policies.NAMED))
def test_a_copy_is_accepted_by_every_policy(name: str, copy: Path) -> None:
    verdict = judged(copy, SGD, policies.NAMED[name]())
    assert verdict.result == "accepted", verdict.reasons


def test_a_copy_is_the_victims_training_under_another_key(copy: Path, victim: Leak) -> None:
    assert lands(copy, leaking(victim))
    with opened(copy) as mine, pol.open(victim.archive, trusted=None) as own:
        assert mine.header.key != own.header.key
        assert mine.header.run == own.header.run and mine.end == own.end


def test_a_copy_has_the_randomness_of_the_victim(tmp_path: Path) -> None:
    knowing = leaking(published(tmp_path / "victim", DROPOUT), DROPOUT)
    spoof(Resigned(), knowing, tmp_path / "copy")
    verdict = judged(tmp_path / "copy", DROPOUT)
    assert verdict.result == "accepted", verdict.reasons


@pytest.mark.parametrize(
    ("victim_at", "copy_at", "outcome", "favours"),
    [
        (EARLY, LATE, Outcome.PRIOR, "victim"),
        (EARLY, None, Outcome.PRIOR, "victim"),
        (None, None, Outcome.UNDECIDED, None),
        (EARLY, EARLY, Outcome.UNDECIDED, None),
        (None, EARLY, Outcome.PRIOR, "spoof"),  # who never stamped has nothing to show
    ],
)
def test_stamps_decide_whose_a_copied_proof_is(
    victim_at: float | None,
    copy_at: float | None,
    outcome: Outcome,
    favours: str | None,
    copy: Path,
    victim: Leak,
    tmp_path: Path,
) -> None:
    decision = Court(tmp_path, victim.archive.parent, copy).hear(victim_at, copy_at)
    assert (decision.outcome, decision.favours) == (outcome, favours), decision
    assert f"{SGD.segments} states of both are the same" in decision.because[0]


def test_a_copy_backdated_by_a_clock_of_ones_own_has_no_date(copy: Path, victim: Leak, tmp_path: Path) -> None:
    decision = Court(tmp_path, victim.archive.parent, copy).hear(EARLY, EARLY - 500, authority=OWN)
    assert (decision.outcome, decision.favours) == (Outcome.PRIOR, "victim")
    assert "spoof shows no time at all" in decision.because[1]


@pytest.mark.parametrize("last", [False, True])
def test_a_blurred_copy_shares_no_state_and_is_dated_all_the_same(last: bool, victim: Leak, tmp_path: Path) -> None:
    knowing = leaking(victim)
    spoof(Blurred(last=last), knowing, tmp_path)
    assert lands(tmp_path, knowing) is not last
    verdict = judged(tmp_path, SGD)
    assert verdict.result == "accepted", verdict.reasons
    exact = judged(tmp_path, SGD, policies.exact())
    assert exact.result == "rejected" and "replay" in reasons(exact)
    with opened(tmp_path) as copy, pol.open(victim.archive, trusted=None) as own:
        roots = [{archive.root(index) for index in range(1, SGD.segments + 1)} for archive in (copy, own)]
    assert not roots[0] & roots[1]
    decision = Court(tmp_path / "court", victim.archive.parent, tmp_path).hear(EARLY, LATE)
    assert "victim" in (decision.favours, decision.by_date), decision


def test_of_two_stories_under_one_run_each_is_accepted_and_both_together_are_void(
    stories: tuple[Path, Path], tmp_path: Path
) -> None:
    for story in stories:
        verdict = judged(story, SGD, policies.exact())
        assert verdict.result == "accepted", verdict.reasons
    decision = Court(tmp_path, *stories).hear(EARLY, LATE)
    assert decision.outcome is Outcome.REWRITTEN and decision.favours is None


def test_a_witness_cosigns_one_story_only(stories: tuple[Path, Path], tmp_path: Path) -> None:
    with opened(stories[0]) as told, opened(stories[1]) as other:
        origin = note.origin(told.header.key, told.header.run)
        keeper = Witness(tmp_path, logs={origin: STRANGER.key})
        with keeper.serving() as url:
            assert witness.submit(told, url, keeper.key)
            with pytest.raises(AnotherLog):
                witness.submit(other, url, keeper.key)
