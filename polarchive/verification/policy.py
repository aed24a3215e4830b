"""Put together what a judge asks: a selection of segments, a threshold, and checks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from polarchive.format.archive import Archive
from polarchive.verification.case import Case
from polarchive.verification.checks.counters import counters
from polarchive.verification.checks.end import end
from polarchive.verification.checks.initial import initial
from polarchive.verification.checks.openings import openings
from polarchive.verification.checks.replay_error import ReplayError
from polarchive.verification.checks.schedule import schedule
from polarchive.verification.checks.seal import seal
from polarchive.verification.checks.second import trees
from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Finding
from polarchive.verification.selections import Selection, every
from polarchive.verification.thresholds import Relative, Threshold

ArchiveCheck: TypeAlias = Callable[[Archive], Iterator[Finding]]
CaseCheck: TypeAlias = Callable[[Case], Iterator[Finding]]
SegmentCheck: TypeAlias = Callable[[Evidence], Iterator[Finding]]
_TENTH: Final = Relative(0.1)


@dataclass(frozen=True, slots=True)
class Policy:
    """Say which segments are replayed, how large an error may be, and which checks are made."""

    selection: Selection = every
    threshold: Threshold = _TENTH
    of_archive: tuple[ArchiveCheck, ...] = (seal, trees, end)
    of_case: tuple[CaseCheck, ...] = (initial, schedule)
    of_segment: tuple[SegmentCheck, ...] = (openings, counters)

    def judge(self, evidence: Evidence) -> tuple[Finding, ...]:
        """Return all findings on one segment."""
        checks: tuple[SegmentCheck, ...] = (*self.of_segment, ReplayError(self.threshold))
        return tuple(finding for check in checks for finding in check(evidence))

    def __str__(self) -> str:
        checks = ", ".join(map(name_of, (*self.of_archive, *self.of_case, *self.of_segment)))
        return f"replay {name_of(self.selection)}, allow {name_of(self.threshold)}, check {checks}"


def name_of(strategy: object) -> str:
    """Return how a report names a function or a frozen callable."""
    return getattr(strategy, "__name__", None) or repr(strategy)
