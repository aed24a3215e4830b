"""Hold what a judge came to, with every finding it rests on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from polarchive.trust.demands import Seen
from polarchive.verification.drift import Unexplained
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.selections import Odds

ACCEPTED, REJECTED, INCONCLUSIVE = "accepted", "rejected", "inconclusive"


@dataclass(frozen=True, slots=True)
class Judged:
    """Hold the findings on one replayed segment, and its error per tensor as the threshold measures it and allows it.

    `residual` is the ℓ2 distance between claimed and replayed weights, NaN where nothing was compared. `in_a_row`
    segments were replayed from the opening state of the first, without reloading.
    """

    index: int
    first: int
    steps: int
    findings: tuple[Finding, ...]
    errors: Mapping[str, float]
    residual: float = math.nan
    in_a_row: int = 1
    allowed: Mapping[str, float] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """Return what all findings together come to; where nothing was found, nothing is known."""
        outcomes = {finding.outcome for finding in self.findings} - {Outcome.ADVICE}
        if Outcome.FAILED in outcomes:
            return Outcome.FAILED
        return Outcome.PASSED if outcomes == {Outcome.PASSED} else Outcome.UNKNOWN

    @property
    def accepted(self) -> bool:
        """Tell whether something was found and all of it passed."""
        return self.outcome is Outcome.PASSED


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold a verdict on an archive: the findings on the whole of it and on each replayed segment.

    `challenge` and `nonce` let anyone draw the same segments again, out of `segments`; `archive` is the digest of the
    archive's index, None for a run directory; `signer` is the key, in its published form, that signed the `heads` of
    these tree sizes in the log of `run`. `pairs` are findings on segments replayed in a row. `stored` states are
    in the archive, one more than segments if all are; `obtained` says of those others that a replay needed how it came
    by them. `odds` are those of a selection that draws. `earlier` are the judge's challenges about other heads of this
    run. Of the two stacks the first is what the prover says. `seen` is what stamps and witnesses show a judge who
    believes some, `unexplained` what all replays together leave open, `assumes` what acceptance rests on,
    and `unchecked` what the default policy checks and this one did not.
    """

    archive: bytes | None
    policy: str
    nonce: bytes
    challenge: bytes
    segments: int
    recorded_on: Mapping[str, str]
    replayed_on: Mapping[str, str]
    odds: Odds | None
    findings: tuple[Finding, ...]
    judged: tuple[Judged, ...]
    stored: int
    obtained: Mapping[int, str]
    earlier: tuple[str, ...]
    seen: Seen | None = None
    unexplained: Unexplained | None = None
    assumes: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    pairs: tuple[Judged, ...] = ()
    run: bytes = b""
    signer: str = ""
    heads: tuple[int, ...] = ()

    @property
    def result(self) -> str:
        """Return accepted, rejected or inconclusive: one failure rejects, and without a replay nothing is accepted."""
        outcomes = {finding.outcome for finding in self.all_findings}
        if Outcome.FAILED in outcomes:
            return REJECTED
        if Outcome.UNKNOWN in outcomes or not self.judged or not all(each.accepted for each in self.judged):
            return INCONCLUSIVE
        return ACCEPTED

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Return the findings on the archive, then those on its segments."""
        return (*self.findings, *(finding for each in (*self.judged, *self.pairs) for finding in each.findings))

    @property
    def reasons(self) -> tuple[Finding, ...]:
        """Return the findings that keep the archive from being accepted."""
        against = Outcome.FAILED, Outcome.UNKNOWN
        return tuple(finding for finding in self.all_findings if finding.outcome in against)
