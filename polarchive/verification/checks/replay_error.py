"""Ask whether the replay ends where the proof says, for every tensor of the state."""

from collections.abc import Iterator
from dataclasses import dataclass

from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Finding, Outcome, passed
from polarchive.verification.thresholds import Threshold

CHECK = "replay"


@dataclass(frozen=True, slots=True)
class ReplayError:
    """Hold the errors of a replay against a threshold."""

    threshold: Threshold

    def __call__(self, evidence: Evidence) -> Iterator[Finding]:
        """Report every tensor that is further off than allowed, or that only one of the states has.

        Where this machine draws other random numbers than the recording one, a failure is unknown: a different dropout
        mask is another step, not a false one.
        """
        if evidence.refused is not None:
            if evidence.refused_by == "trainer":
                yield self._failed(evidence, evidence.refused)
            return
        measured = list(self.threshold(evidence))
        wrong = [each for each in measured if not each.within]
        for name in evidence.misfits:
            yield self._failed(evidence, f"{name} is not the same kind of tensor in claim and replay", name)
        for each in wrong:
            message = f"{each.tensor or 'the state'} is off by {each.error:.3g}, allowed is {each.allowed:g}"
            yield self._failed(evidence, message, each.tensor, each.error, each.allowed)
        if not measured:
            yield Finding(CHECK, Outcome.UNKNOWN, "no tensor was compared", evidence.segment)
        elif not wrong and not evidence.misfits:
            worst = max(each.error for each in measured)
            yield passed(CHECK, f"{len(measured)} tensors, largest error {worst:.3g}", evidence.segment)

    def _failed(
        self,
        evidence: Evidence,
        message: str,
        tensor: str | None = None,
        error: float | None = None,
        allowed: float | None = None,
    ) -> Finding:
        outcome = Outcome.FAILED if evidence.same_randomness else Outcome.UNKNOWN
        return Finding(CHECK, outcome, message, evidence.segment, evidence.refused_at, tensor, error, allowed)
