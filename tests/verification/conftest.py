"""Replay on one thread, because models are small and other processes want the other cores; make verdicts by hand."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

import polarchive as pol
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.verdict import Judged
from tests.forging import Forgery
from tests.lies import Steered, weights_toward_stolen
from tests.workloads import CONVNET, SHORT, threads

Verdicts: TypeAlias = Callable[[Iterable[Outcome], Iterable[Iterable[Outcome]]], pol.Verdict]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threads(1):
        yield


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record an honest run of a small network."""
    with threads(1):
        return CONVNET.record(tmp_path_factory.mktemp("honest") / "run")


@pytest.fixture(scope="session")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record an honest run, a short one, whose sums were taken in another order."""
    with threads(2):
        return SHORT.record(tmp_path_factory.mktemp("noisy") / "run")


@pytest.fixture(scope="session")
def steered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a short run whose claims lean toward stolen weights, each within its limits."""
    forgery = Forgery(check="joint", of=SHORT, state=Steered(0.09, weights_toward_stolen))
    with threads(1):
        return forgery.record(tmp_path_factory.mktemp("steered") / "run")


@pytest.fixture(scope="session")
def verdicts() -> Verdicts:
    """Return the function that makes a verdict of outcomes: those on the archive, and those on each segment."""

    def make(archive: Iterable[Outcome], segments: Iterable[Iterable[Outcome]]) -> pol.Verdict:
        judged = tuple(
            Judged(index, 5 * index, 5, findings(outcomes, index), {"model/w": 0.01})
            for index, outcomes in enumerate(segments)
        )
        return pol.Verdict(
            archive=bytes(32),
            policy="replay every",
            nonce=bytes(32),
            challenge=bytes(32),
            segments=len(judged),
            recorded_on={"threads": "2", "torch": "2"},
            replayed_on={"threads": "1", "torch": "2"},
            odds=None,
            findings=findings(archive),
            judged=judged,
            stored=len(judged) + 1,
            obtained={},
            earlier=(),
        )

    return make


def findings(outcomes: Iterable[Outcome], segment: int | None = None) -> tuple[Finding, ...]:
    return tuple(Finding("check", outcome, f"it {outcome}", segment) for outcome in outcomes)
