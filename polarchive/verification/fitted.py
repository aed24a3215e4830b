"""Allow what honest noise was seen to do: in replays of this very segment, or in a calibration."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from polarchive.measures.laws import conformal, replays_needed
from polarchive.verification import calibrationfile
from polarchive.verification.calibration import LEAST, Calibration, score
from polarchive.verification.checks.joint import Joint
from polarchive.verification.drift import Unexplained
from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Finding
from polarchive.verification.thresholds import UNIT, Measured, Relative, shares

MOST: Final = 1.0  # an error as large as the update: what is beyond shows nothing, however large noise is
_IN_A_ROW: Final = Relative(0.1)


@dataclass(frozen=True, slots=True)
class PerStep:
    """Allow a segment as much as the judge's own replays of it differ by (Definition 3, Lemma 1, Corollary 1).

    Of the judge's replays the first stands in for the mean, and each of the others, like the claim, lies at a distance
    from it: the largest of its tensors' errors, each over the mean of that tensor's errors in all outcomes, claim
    included, but the largest. So no outcome decides what it is measured by, and all are measured alike. If the
    prover computed with numerics that are exchangeable with those of the other replays, the claim is within the
    conformal quantile of their distances with probability `tau` or more. `margin` is for a prover whose numerics
    nobody here can vary. Segments in a row of which no others were replayed are held to a tenth of their update.
    """

    tau: float = 0.95
    replays: int = 19
    margin: float = 1.0

    def __call__(self, evidence: Evidence) -> Iterator[Measured]:
        """Yield each tensor's error, as a share of its update; unknown if there are too few replays for `tau`."""
        if evidence.in_a_row > 1 and not evidence.own:
            yield from map(_or_unknown, _IN_A_ROW(evidence))
            return
        claimed, *others = (shares(each) for each in (evidence.distances, *evidence.own))
        own = [{name: each.get(name, math.inf) for name in claimed} for each in others]
        scales = scales_of((claimed, *own))
        widened = self.margin * conformal([score(each, scales) for each in own], self.tau) if claimed else math.inf
        missing = self._missing(len(own), widened)
        for name, error in claimed.items():
            yield _measured(name, error, widened * scales[name], missing)

    def _missing(self, replays: int, widened: float) -> str | None:
        if replays < (needed := replays_needed(self.tau)):
            return f"τ = {self.tau:g} needs {needed} replays of the judge's own, and there are {replays}"
        return None if widened < math.inf else "the judge's own replays lie apart without bound"


def scales_of(outcomes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each tensor's mean error in all outcomes but its largest, which no outcome alone makes large."""
    rest = {name: sorted(each[name] for each in outcomes)[:-1] for name in outcomes[0]}
    return {name: max(LEAST, math.fsum(errors) / max(len(errors), 1)) for name, errors in rest.items()}


@dataclass(frozen=True, slots=True, repr=False)
class Calibrated:
    """Allow each tensor the error that a calibration found in honest noise, at this k and learning rate.

    What it does not cover is unknown: another k, a larger rate than any it saw, another tensor.
    """

    calibration: Calibration

    def __call__(self, evidence: Evidence) -> Iterator[Measured]:
        """Yield each tensor's error, as a share of its update."""
        steps, lr = evidence.every or evidence.steps, evidence.lr or 0.0
        limits = self.calibration.limits_for(steps, lr)
        missing = None if limits else f"not calibrated for k = {steps}, lr = {lr:g}"
        errors: Mapping[str, float] = limits.errors if limits else {}
        for name, error in shares(evidence.distances).items():
            count = evidence.distances[name].count
            known = name in errors and self.calibration.tensors.get(name) == count
            stranger = None if known else f"not calibrated for {name} of {count} elements"
            yield _measured(name, error, errors.get(name, math.nan), missing or stranger)

    def __repr__(self) -> str:
        return f"Calibrated({_told(self.calibration)})"


@dataclass(frozen=True, slots=True, repr=False)
class JointAsCalibrated:
    """Allow so much unexplained displacement as a calibration's noise makes in as many segments, over this distance."""

    calibration: Calibration

    def __call__(self, found: Unexplained) -> Iterator[Finding]:
        """Report what `Joint` reports under these limits."""
        toward, total = self.calibration.displacement(found.segments, found.distance)
        yield from Joint(toward, total)(found)

    def __repr__(self) -> str:
        return f"Joint(as calibrated: {_told(self.calibration)})"


def _measured(name: str, error: float, allowed: float, unknown: str | None) -> Measured:
    if unknown is None and MOST < error <= allowed:
        unknown = f"noise in {name} may be as large as its update: replay shows nothing"
    return Measured(name, error, min(allowed, MOST), UNIT, unknown)


def _or_unknown(measured: Measured) -> Measured:
    reason = None if measured.within else "no replays of the judge's own show what noise does to segments in a row"
    return Measured(measured.tensor, measured.error, measured.allowed, measured.unit, reason)


def _told(calibration: Calibration) -> str:
    digest = sha256(calibrationfile.spell(calibration)).hexdigest()
    return f"calibration {digest[:16]}, tau={calibration.tau:g}, margin={calibration.margin:g}"
