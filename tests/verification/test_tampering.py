"""See each forgery refused by the check that is there for it, and accepted by a judge who does not ask."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import polarchive as pol
from polarchive.verification.checks.replay_error import ReplayError
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.policy import name_of
from tests.forgeries import CATALOGUE, EXACT
from tests.forging import STRICT, Forgery

ELSEWHERE = {
    "seal": "raises, for a broken archive is no proof: tests/format",
    "trees": "raises: test_second.py",
    "fresh": "advice, which decides nothing: test_initial.py",
    "demands": "needs a trust file: tests/trust/test_times.py",
}


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Record a forgery of the catalogue once."""
    return cache(lambda name: CATALOGUE[name].record(tmp_path_factory.mktemp("forged") / "run"))


@pytest.mark.parametrize("name", CATALOGUE)
def test_forgery_is_refused_by_its_check(name: str, forged: Callable[[str], Path]) -> None:
    forgery, folder = CATALOGUE[name], forged(name)
    verdict = forgery.verdict(folder, forgery.asks(folder))
    found = {(check, finding.segment, finding.outcome) for check, finding in reasons(verdict)}
    assert found == {(forgery.check, segment, forgery.outcome) for segment in forgery.segments}
    assert (forgery.step, forgery.tensor) in {(finding.step, finding.tensor) for finding in verdict.reasons}
    assert verdict.result == ("rejected" if forgery.outcome is Outcome.FAILED else "inconclusive")


@pytest.mark.parametrize("name", CATALOGUE)
def test_only_that_check_refuses_it(name: str, forged: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check carries weight: without it, nothing else is found against the forgery."""
    forgery, folder = CATALOGUE[name], forged(name)
    if forgery.check == "replay":
        monkeypatch.setattr(ReplayError, "__call__", lambda self, evidence: iter(()))
    verdict = forgery.verdict(folder, unasked(forgery.asks(folder), forgery.asked or forgery.check))
    assert verdict.reasons == ()
    # What was not opened was not replayed either, and without a replay nothing is accepted.
    assert verdict.result == (
        "inconclusive" if (forgery.asked or forgery.check) in ("openings", "schema") else "accepted"
    )


def test_every_check_has_a_forgery_of_its_own() -> None:
    asked = {forgery.asked or forgery.check for forgery in CATALOGUE.values()}
    strict = {short(check) for check in checks(STRICT)} | {"replay", "pairs"}
    assert strict - asked == ELSEWHERE.keys() - {"demands"}


def test_honest_run_is_accepted(tmp_path: Path) -> None:
    forgery = Forgery(check="none")
    verdict = forgery.verdict(forgery.record(tmp_path / "run"), EXACT)
    assert verdict.result == "accepted", verdict.reasons


def reasons(verdict: pol.Verdict) -> Iterator[tuple[str, Finding]]:
    """Yield what stands against a run with who found it; what is found on segments in a row, pairs found."""
    in_a_row = {id(finding) for each in verdict.pairs for finding in each.findings}
    for finding in verdict.reasons:
        yield "pairs" if id(finding) in in_a_row else finding.check, finding


def unasked(policy: pol.Policy, check: str) -> pol.Policy:
    """Return the policy without one of its checks."""

    def others(own: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(each for each in own if short(each) != check)

    return replace(
        policy,
        of_archive=others(policy.of_archive),
        of_case=others(policy.of_case),
        of_segment=others(policy.of_segment),
        of_whole=others(policy.of_whole),
        in_a_row=0 if check == "pairs" else policy.in_a_row,
    )


def checks(policy: pol.Policy) -> tuple[Any, ...]:
    return (*policy.of_archive, *policy.of_case, *policy.of_segment, *policy.of_whole)


def short(check: object) -> str:
    """Return a check's name without its settings."""
    return name_of(check).partition("(")[0].lower()
