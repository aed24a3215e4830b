"""Prepare archives for checks, without a verdict."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polarchive as pol
from polarchive.verification.case import Case
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.showing import Own
from tests.simulator import PROVER
from tests.workloads import CONVNET, Workload

PASSED: Final = Outcome.PASSED
FAILED: Final = Outcome.FAILED
UNKNOWN: Final = Outcome.UNKNOWN
ADVICE: Final = Outcome.ADVICE


def case_of(folder: Path, workload: Workload = CONVNET, **changes: Any) -> Case:
    """Prepare the case of an honest judge, but for `changes`."""
    archive = pol.open(folder, trusted=[PROVER.key])
    case = Case.of(archive, workload.build, Own(workload.batches, None), "cpu")
    return replace(case, **changes)


def outcomes(found: Iterable[Finding]) -> list[Outcome]:
    """Return what findings come to."""
    return [finding.outcome for finding in found]
