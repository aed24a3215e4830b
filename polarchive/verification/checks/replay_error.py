"""Ask whether the replay ends where the proof says, for every tensor of the state."""

from collections.abc import Iterator
from dataclasses import dataclass

from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Finding, Outcome, passed
from polarchive.verification.thresholds import Measured, Threshold

CHECK = "replay"


@dataclass(frozen=True, slots=True)
class ReplayError:
    """Hold the errors of a replay against a threshold."""

    threshold: Threshold

    def __call__(self, evidence: Evidence) -> Iterator[Finding]:
        """Report every tensor that is further off than allowed, or that only one of the states has.

        Where this machine draws other random numbers than the recording one, too large an error is unknown: another
        dropout mask makes another step, not a false one. It does not make other tensors.
        """
        if evidence.refused is not None:
            if evidence.refused_by == "trainer":
                at = evidence.refused_at
                yield Finding(CHECK, Outcome.FAILED, evidence.refused, evidence.segment, at)
            return
        for name in evidence.misfits:
            message = f"{name} is not the same kind of tensor in claim and replay"
            yield Finding(CHECK, Outcome.FAILED, message, evidence.segment, tensor=name)
        measured = list(self.threshold(evidence))
        yield from (self._too_large(evidence, each) for each in measured if not each.within and each.unknown is None)
        for reason in sorted({each.unknown for each in measured if each.unknown and not each.within}):
            yield Finding(CHECK, Outcome.UNKNOWN, reason, evidence.segment)
        if not measured:
            yield Finding(CHECK, Outcome.UNKNOWN, "no tensor was compared", evidence.segment)
        elif all(each.within for each in measured) and not evidence.misfits:
            worst = max(each.error for each in measured)
            yield passed(CHECK, f"{len(measured)} tensors, largest error {worst:.3g}", evidence.segment)

    def _too_large(self, evidence: Evidence, each: Measured) -> Finding:
        outcome = Outcome.FAILED if evidence.same_randomness else Outcome.UNKNOWN
        what = f"{each.tensor or 'the state'} is off by {each.error:.3g}{each.unit}, allowed is {each.allowed:g}"
        return Finding(CHECK, outcome, what, evidence.segment, None, each.tensor, each.error, each.allowed)
