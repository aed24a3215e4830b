"""Find what is worst: in a replay the error that is the largest share of what is allowed, and of many replays some."""

import math
from dataclasses import dataclass
from typing import Final

from polarchive.verification.finding import Outcome
from polarchive.verification.verdict import Judged, Verdict

WORDS: Final = {
    Outcome.PASSED: "passed",
    Outcome.FAILED: "failed",
    Outcome.UNKNOWN: "unknown",
    Outcome.ADVICE: "note",
}
GRAVE: Final = (Outcome.PASSED, Outcome.UNKNOWN, Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class Worst:
    """Hold the tensor of a replay whose error is the largest share of what is allowed; NaN where none was compared."""

    judged: Judged
    tensor: str = ""
    error: float = math.nan
    allowed: float = math.nan

    @classmethod
    def of(cls, judged: Judged) -> "Worst":
        """Find it."""
        limits = judged.allowed
        found = [cls(judged, name, error, limits.get(name, math.nan)) for name, error in judged.errors.items()]
        return max(found, key=lambda each: each.rank, default=cls(judged))

    @property
    def share(self) -> float:
        """Return the error as a share of what is allowed: 0 if there is none, infinite if none is allowed."""
        if self.error == 0:
            return 0.0
        return self.error / self.allowed if self.allowed else self.error * math.inf

    @property
    def rank(self) -> tuple[int, bool, float]:
        """Return what replays are ordered by: what they came to, then the share, where no number is the worst."""
        unclear = math.isnan(self.share)
        return (GRAVE.index(self.judged.outcome), unclear, 0.0 if unclear else self.share)

    def __str__(self) -> str:
        told = f"{_name(self.judged)}, {steps_of(self.judged)}: {WORDS[self.judged.outcome]}"
        if not self.tensor:
            return f"{told}, nothing compared"
        return f"{told}, error {self.error:.3g} in {self.tensor}, allowed {self.allowed:.3g}"


def of_all(verdict: Verdict) -> list[Worst]:
    """Return that of each replay, in the order of segments."""
    return sorted(map(Worst.of, (*verdict.judged, *verdict.pairs)), key=place)


def place(worst: Worst) -> tuple[int, int]:
    """Return what replays lie in order by."""
    return worst.judged.index, worst.judged.in_a_row


def numbers_of(judged: Judged) -> str:
    """Number the segments of one replay."""
    last = judged.index + judged.in_a_row - 1
    return f"{judged.index:,}" if judged.in_a_row == 1 else f"{judged.index:,} to {last:,}"


def steps_of(judged: Judged) -> str:
    """Name the steps of one replay."""
    return f"steps {judged.first:,} to {judged.first + judged.steps - 1:,}"


def _name(judged: Judged) -> str:
    many = judged.in_a_row > 1
    return f"segment{'s' * many} {numbers_of(judged)}{' in a row' * many}"
