"""Turn what verdicts are made of into plain JSON values (SPEC.md, "Reports")."""

import math
from typing import Any, Final

from polarchive.verification.finding import Finding

VERSION: Final = "polarchive/v1/report"


def number(value: float | None) -> float | str | None:
    """Return a number as JSON can say it: NaN and infinities as words."""
    return value if value is None or math.isfinite(value) else str(value)


def plain(finding: Finding) -> dict[str, Any]:
    """Return a finding's fields."""
    return {
        "check": finding.check,
        "outcome": finding.outcome.value,
        "message": finding.message,
        "segment": finding.segment,
        "step": finding.step,
        "tensor": finding.tensor,
        "error": number(finding.error),
        "allowed": number(finding.allowed),
    }
