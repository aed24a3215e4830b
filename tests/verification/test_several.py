"""Judge under several policies at once: each comes to what it comes to alone, and nothing is replayed twice."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import polarchive as pol
from polarchive.verification import policies, tasks
from polarchive.verification.case import Case
from polarchive.verification.checks.end import end
from polarchive.verification.checks.initial import initial
from polarchive.verification.finding import Finding
from polarchive.verification.fitted import PerStep
from polarchive.verification.policy import Policy
from polarchive.verification.selections import Range
from polarchive.verification.tasks import Done, Task, together
from polarchive.verification.verdict import Verdict
from polarchive.verification.verify import verify, verify_all
from tests.simulator import PROVER
from tests.workloads import SHORT

NONCE = bytes(31) + b"\1"
STRICT = policies.strict()
SEVERAL = (
    STRICT,
    policies.exact(),
    policies.sampled(2),
    replace(STRICT, in_a_row=0, selection=Range(2, 4)),
    policies.relative(),
    replace(STRICT, threshold=PerStep(tau=0.5, replays=2), selection=Range(0, 2), in_a_row=1),
)
NAMES = ["strict", "exact", "sampled", "range", "relative", "per step"]


def judged(folder: Path, asked: tuple[Policy, ...], **options: Any) -> tuple[Verdict, ...]:
    usual = {"secret": pol.read_secret(folder / "secret"), "nonce": NONCE}
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        return verify_all(archive, SHORT.build, SHORT.batches, policies=asked, **{**usual, **options})


def alone(folder: Path, policy: Policy) -> Verdict:
    secret = pol.read_secret(folder / "secret")
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        return verify(archive, SHORT.build, SHORT.batches, policy=policy, secret=secret, nonce=NONCE)


def rounded(verdict: Verdict) -> Verdict:
    """Return a verdict without the last digits of sums over segments: they come in another order beside others."""
    found = verdict.unexplained
    assert found is not None
    narrow = replace(
        found, **{name: float(f"{getattr(found, name):.10e}") for name in ("projection", "length", "walk")}
    )
    narrow = replace(narrow, spread=float(f"{found.spread:.6e}"))
    return replace(verdict, unexplained=narrow, findings=tuple(map(_rounded, verdict.findings)))


def _rounded(finding: Finding) -> Finding:
    return finding if finding.error is None else replace(finding, error=float(f"{finding.error:.10e}"))


@pytest.mark.parametrize("run", ["noisy", "steered"])
def test_each_policy_comes_to_what_it_comes_to_alone(run: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(run)
    verdicts = judged(folder, SEVERAL)
    for policy, verdict in zip(SEVERAL, verdicts, strict=True):
        assert rounded(verdict) == rounded(alone(folder, policy))
    results = dict(zip(NAMES, (verdict.result for verdict in verdicts), strict=True))
    assert results["strict"] == ("accepted" if run == "noisy" else "rejected")
    assert results["exact"] == "rejected" and results["relative"] == "accepted"


def test_nothing_is_replayed_twice(noisy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Task] = []
    perform = tasks.perform

    def counted(case: Case, way: Any, task: Task) -> Done:
        asked.append(task)
        return perform(case, way, task)

    monkeypatch.setattr(tasks, "perform", counted)
    judged(noisy, SEVERAL)
    places = [(task.in_a_row, task.index) for task in asked]
    assert len(set(places)) == len(places)
    assert {index for in_a_row, index in places if in_a_row == 1} == set(range(8))
    assert {task.index for task in asked if task.own} == {0, 1}


def test_drift_is_that_of_the_segments_a_policy_asked_for(steered: Path) -> None:
    strict, _, sampled, ranged, relative, _ = (verdict.unexplained for verdict in judged(steered, SEVERAL))
    assert strict and sampled and ranged and relative
    assert (strict.segments, sampled.segments, ranged.segments) == (8, 4, 2)
    assert strict == relative and 0 < ranged.length < sampled.length < strict.length


def test_all_draw_from_one_nonce(noisy: Path) -> None:
    assert len({verdict.challenge for verdict in judged(noisy, SEVERAL[:3], nonce=None)}) == 1


def test_no_policy_is_no_verdict(noisy: Path) -> None:
    assert judged(noisy, ()) == ()


def test_checks_of_the_whole_are_made_once_and_told_to_all(noisy: Path) -> None:
    made: list[str] = []

    def counted_end(archive: pol.Archive) -> Iterator[Finding]:
        made.append("end")
        return end(archive)

    def counted_initial(case: Case) -> Iterator[Finding]:
        made.append("initial")
        return initial(case)

    few = replace(STRICT, selection=Range(0, 1), of_archive=(counted_end,), of_case=(counted_initial,))
    verdicts = judged(noisy, (few, replace(few, of_case=()), few))
    assert made == ["end", "initial"]
    told = [[finding.check for finding in verdict.findings if finding.check != "joint"] for verdict in verdicts]
    assert told == [["end", "initial"], ["end"], ["end", "initial"]]


@pytest.mark.parametrize(("pairs", "total"), [(0, 8), (2, 10)])
def test_progress_is_told_of_every_replay_to_the_end(pairs: int, total: int, noisy: Path) -> None:
    told: list[tuple[int, int]] = []
    asked = (replace(STRICT, in_a_row=pairs),)
    judged(noisy, asked, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, total) for done in range(total + 1)]


def test_progress_comes_to_its_end_where_pairs_are_not_tried(noisy: Path) -> None:
    told: list[tuple[int, int]] = []
    (verdict,) = judged(noisy, (STRICT,), secret=bytes(32), progress=lambda done, total: told.append((done, total)))
    assert not verdict.pairs and told == [*((done, 10) for done in range(9)), (10, 10)]


@pytest.mark.parametrize("segments", [[], [0], [1, 2], [0, 1, 2], [3, 4, 9], list(range(7)), list(range(8))])
def test_no_segment_follows_the_one_before_it(segments: list[int]) -> None:
    order = [task.index for task in together(map(Task, segments))]
    assert sorted(order) == segments
    assert all(later != earlier + 1 for earlier, later in pairwise(order))


def test_most_replays_that_anyone_asks_for_are_made() -> None:
    asked = [Task(1, 1, 3), Task(1, 1, 0), Task(1, 2, 1), Task(0), Task(1, 2, 5), Task(0)]
    assert together(asked) == [Task(1, 1, 3), Task(0), Task(1, 2, 5)]
