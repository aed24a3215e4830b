"""Say one judged fact, in one type for every check."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Tell what a check came to; only a fact that was established counts as passed, and advice decides nothing."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True)
class Finding:
    """State what one check found, and where: segment, step, tensor, with the measured error and what was allowed."""

    check: str
    outcome: Outcome
    message: str
    segment: int | None = None
    step: int | None = None
    tensor: str | None = None
    error: float | None = None
    allowed: float | None = None


def passed(check: str, message: str, segment: int | None = None) -> Finding:
    """Return a finding that the check passed."""
    return Finding(check, Outcome.PASSED, message, segment)


def advice(check: str, message: str, tensor: str | None = None, error: float | None = None) -> Finding:
    """Return a finding for the judge to think about, which no verdict rests on."""
    return Finding(check, Outcome.ADVICE, message, tensor=tensor, error=error)
