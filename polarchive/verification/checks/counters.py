"""Ask whether everything that counts, counted right: no tolerance applies to integers."""

from collections.abc import Iterator

from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Finding, Outcome, passed

CHECK = "counters"


def counters(evidence: Evidence) -> Iterator[Finding]:
    """Report every counter that differs: integer tensors, and single numbers that the replay leaves whole."""
    if evidence.refused is not None:
        return
    wrong = [name for name, distance in evidence.distances.items() if distance.whole and not distance.equal]
    for name in wrong:
        error = evidence.distances[name].linf
        yield Finding(CHECK, Outcome.FAILED, f"{name} is off by {error:g}", evidence.segment, None, name, error, 0.0)
    if not wrong:
        yield passed(CHECK, "every counter is right", evidence.segment)
