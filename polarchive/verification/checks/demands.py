"""Ask whether stamps and witnesses show what the judge's trust file demands."""

from collections.abc import Iterator
from typing import Final

from polarchive.trust.demands import Seen
from polarchive.verification.finding import Finding, Outcome, passed

CHECK: Final = "demands"


def demands(seen: Seen) -> Iterator[Finding]:
    """Report every demand that is met, and every one that is not."""
    for message in seen.met:
        yield passed(CHECK, message)
    for message in seen.unmet:
        yield Finding(CHECK, Outcome.FAILED, message)
