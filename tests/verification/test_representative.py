"""Hold representative subsets to Definition 4 and Lemma 3 of the paper, on all subsets of small proofs."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path

import pytest

import polarchive as pol
from polarchive.errors import PolError
from polarchive.format.archive import Archive
from polarchive.verification.finding import Outcome
from polarchive.verification.representative import Rate, invalid_in, is_representative, rate, smallest
from polarchive.verification.selections import Selection, TopQ
from tests.simulator import Simulation
from tests.verification.conftest import Verdicts

PASSED, FAILED, UNKNOWN, ADVICE = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.ADVICE
UPDATES = range(5)
CHALLENGES = [bytes([number // 256, number % 256]) * 16 for number in range(400)]


def subsets() -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(UPDATES, size) for size in range(len(UPDATES) + 1))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return pol.open(Simulation(segments=12).record(tmp_path_factory.mktemp("run") / "run"), trusted=None)


@pytest.mark.parametrize("bad", list(subsets()), ids=str)
def test_definition_4_in_its_own_words(bad: tuple[int, ...]) -> None:
    for subset in subsets():
        some = any(update in bad for update in UPDATES)
        caught = any(update in bad for update in subset)
        assert is_representative(subset, bad) is ((not some) or caught)


@pytest.mark.parametrize("bad", list(subsets()), ids=str)
def test_lemma_3_verifying_a_representative_subset_is_verifying_all(bad: tuple[int, ...]) -> None:
    for subset in subsets():
        accepted, accepts_all = not set(subset) & set(bad), not bad
        assert is_representative(subset, bad) is (accepted is accepts_all)


def test_all_updates_are_representative_and_none_are_of_a_valid_run() -> None:
    assert all(is_representative(UPDATES, bad) for bad in subsets())
    assert is_representative((), ()) and not is_representative((), (3,))


@pytest.mark.parametrize("bad", list(subsets()), ids=str)
def test_nothing_smaller_than_the_smallest_is_representative(bad: tuple[int, ...]) -> None:
    """So Assumption 2 holds: one update stands for all, or none is needed."""
    found = smallest(bad)
    assert is_representative(found, bad) and len(found) == bool(bad)
    assert found <= set(bad) and (len(found) < len(UPDATES))


# Of verdicts.


def test_invalid_are_the_segments_that_failed(verdicts: Verdicts) -> None:
    verdict = verdicts((FAILED,), ((PASSED,), (FAILED, PASSED), (PASSED, ADVICE), (UNKNOWN, FAILED)))
    assert invalid_in(verdict) == {1, 3}
    assert invalid_in(verdicts((), ((PASSED,), (PASSED,)))) == frozenset()


@pytest.mark.parametrize("second", [(UNKNOWN,), (), (ADVICE,)], ids=["unknown", "nothing", "advice"])
def test_what_is_not_known_represents_nothing(second: tuple[Outcome, ...], verdicts: Verdicts) -> None:
    with pytest.raises(PolError, match="1 of 2 segments are known"):
        invalid_in(verdicts((), ((PASSED,), second)))


def test_verdict_on_some_segments_is_no_full_replay(verdicts: Verdicts) -> None:
    with pytest.raises(PolError, match="2 of 9 segments are known"):
        invalid_in(replace(verdicts((), ((PASSED,), (FAILED,))), segments=9))


# Of selections.


def test_a_sample_is_representative_as_often_as_its_odds_say(archive: Archive) -> None:
    found = rate(pol.Sample(5), archive, {4}, CHALLENGES)
    assert found.low < 0.5 < found.high and found.share == found.found / found.trials
    assert found.trials == len(CHALLENGES)


@pytest.mark.parametrize(
    ("selection", "bad", "share"),
    [(pol.every, {4}, 1.0), (pol.Sample(0), {4}, 0.0), (pol.Sample(0), {0, 4}, 1.0), (pol.Sample(0), set(), 1.0)],
    ids=["every", "missed", "an end", "nothing to miss"],
)
def test_what_is_always_or_never_met(selection: Selection, bad: set[int], share: float, archive: Archive) -> None:
    assert rate(selection, archive, bad, CHALLENGES[:20]).share == share


def test_the_largest_updates_are_not_representative_for_a_forger_who_knows_them(archive: Archive) -> None:
    """This is the attack on top-Q: no challenge changes what it takes (section VI-B)."""
    spared = set(range(12)) - set(TopQ(4)(archive, CHALLENGES[0]))
    assert rate(TopQ(4), archive, spared, CHALLENGES[:20]) == Rate.of(0, 20)
    assert rate(TopQ(4, drawn=4), archive, spared, CHALLENGES[:20]).share == 1.0


def test_interval_holds_the_rate_and_narrows_with_trials() -> None:
    few, many = Rate.of(5, 10), Rate.of(500, 1000)
    assert few.low < many.low < 0.5 < many.high < few.high
    assert (Rate.of(0, 10).low, Rate.of(10, 10).high) == (0.0, 1.0)
    with pytest.raises(PolError):
        Rate.of(0, 0)


def test_no_module_that_selects_knows_of_it() -> None:
    """What needs a full replay must not choose what is replayed."""
    package = Path(pol.__file__).parent / "verification"
    users = [path.name for path in package.rglob("*.py") if "verification.representative" in path.read_text()]
    assert users == []
