"""Ask whether the batches and states shown are the ones committed to."""

from collections.abc import Iterator

from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Finding, Outcome, passed

CHECK = "openings"


def openings(evidence: Evidence) -> Iterator[Finding]:
    """Report the first step whose batches do not match their commitment, or a state that could not be had."""
    if evidence.refused_by == CHECK:
        message = evidence.refused or ""
        yield Finding(CHECK, Outcome.FAILED, message, evidence.segment, evidence.refused_at)
    elif evidence.refused_by == "states":
        yield Finding(CHECK, Outcome.UNKNOWN, evidence.refused or "", evidence.segment)
    elif evidence.refused is None:
        yield passed(CHECK, "every batch matches its commitment", evidence.segment)
