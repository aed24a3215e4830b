"""Put together what a judge asks: a selection of segments, a threshold, and checks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from polarchive.format.archive import Archive
from polarchive.verification.case import Case
from polarchive.verification.checks.counters import counters
from polarchive.verification.checks.end import end
from polarchive.verification.checks.fresh import fresh
from polarchive.verification.checks.indices import Indices
from polarchive.verification.checks.initial import initial
from polarchive.verification.checks.joint import Joint
from polarchive.verification.checks.openings import openings
from polarchive.verification.checks.replay_error import ReplayError
from polarchive.verification.checks.schedule import schedule
from polarchive.verification.checks.schema import schema
from polarchive.verification.checks.seal import seal
from polarchive.verification.checks.second import trees
from polarchive.verification.drift import Unexplained
from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Finding
from polarchive.verification.selections import Selection, every
from polarchive.verification.thresholds import Relative, Threshold

ArchiveCheck: TypeAlias = Callable[[Archive], Iterator[Finding]]
CaseCheck: TypeAlias = Callable[[Case], Iterator[Finding]]
SegmentCheck: TypeAlias = Callable[[Evidence], Iterator[Finding]]
WholeCheck: TypeAlias = Callable[[Unexplained], Iterator[Finding]]
_TENTH: Final = Relative(0.1)


@dataclass(frozen=True, slots=True)
class Policy:
    """Say which segments are replayed, how large an error may be, and which checks are made.

    `in_a_row` pairs of segments are replayed once more, the second from where the replay of the first came out.
    `of_whole` judges what all replays together leave unexplained. `assumes` says what an acceptance rests on.
    """

    selection: Selection = every
    threshold: Threshold = _TENTH
    of_archive: tuple[ArchiveCheck, ...] = (seal, trees, end, Indices())
    of_case: tuple[CaseCheck, ...] = (initial, fresh, schedule)
    of_segment: tuple[SegmentCheck, ...] = (openings, schema, counters)
    of_whole: tuple[WholeCheck, ...] = (Joint(),)
    in_a_row: int = 2
    name: str = "strict"
    assumes: tuple[str, ...] = ()

    @property
    def checks(self) -> tuple[str, ...]:
        """Name the checks."""
        return tuple(map(name_of, (*self.of_archive, *self.of_case, *self.of_segment, *self.of_whole)))

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Name what the default policy checks and this one does not; settings do not count."""
        own = set(map(_short, self.checks))
        missing = [each for each in map(_short, Policy().checks) if each not in own]
        return (*missing, *([] if self.in_a_row else ["segments in a row"]))

    def judge(self, evidence: Evidence) -> tuple[Finding, ...]:
        """Return all findings on one segment, or on some in a row."""
        checks: tuple[SegmentCheck, ...] = (*self.of_segment, ReplayError(self.threshold))
        return tuple(finding for check in checks for finding in check(evidence))

    def __str__(self) -> str:
        pairs = f", {self.in_a_row} pairs in a row" if self.in_a_row else ""
        what = f"replay {name_of(self.selection)}{pairs}, allow {name_of(self.threshold)}"
        return f"{self.name}: {what}, check {', '.join(self.checks)}"


def name_of(strategy: object) -> str:
    """Return how a report names a function or a frozen callable."""
    return getattr(strategy, "__name__", None) or repr(strategy)


def _short(name: str) -> str:
    """Return a check's name without its settings."""
    return name.partition("(")[0].lower()
