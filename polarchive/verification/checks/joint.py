"""Ask whether all residuals together carried the run somewhere: tolerance is not to be spent on a direction."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from polarchive.verification.drift import Unexplained
from polarchive.verification.finding import Finding, Outcome, passed

CHECK: Final = "joint"


@dataclass(frozen=True, slots=True)
class Joint:
    """Allow so much unexplained displacement, as fractions of ‖W_T − W_0‖: toward the end, and in any direction.

    `kept` is for what momentum could still make of its own residuals: weights may stand still while it is turned.
    """

    toward: float = 0.01
    total: float = 0.1
    kept: float = 0.3

    def __call__(self, found: Unexplained) -> Iterator[Finding]:
        """Report each of the three that is above its limit; where nothing was compared, nothing is said."""
        if not found.segments:
            return
        pairs = (
            ("toward the end", found.toward, self.toward),
            ("in all", found.total, self.total),
            ("in momentum", found.kept, self.kept),
        )
        wrong = [(what, part, limit) for what, part, limit in pairs if not abs(part) <= limit]
        for what, part, limit in wrong:
            message = f"replay leaves {part:.3g} of the whole way {what} unexplained, allowed is {limit:g}"
            outcome = Outcome.FAILED if found.same_randomness else Outcome.UNKNOWN
            yield Finding(CHECK, outcome, message, error=part, allowed=limit)
        if not wrong:
            yield passed(
                CHECK, f"{found.toward:.2g} of the way toward the end is unexplained, {found.total:.2g} in all"
            )
