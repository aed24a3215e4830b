"""Name the policies that the literature proposes, and the one to use (README.md, "Policies").

Each is a function that returns a `Policy`, so that what differs is an argument.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from polarchive.verification.calibration import Calibration
from polarchive.verification.checks.joint import Joint
from polarchive.verification.checks.openings import openings
from polarchive.verification.checks.schema import schema
from polarchive.verification.fitted import Calibrated, JointAsCalibrated
from polarchive.verification.policy import Policy
from polarchive.verification.selections import Sample, Selection, TopQ, every
from polarchive.verification.thresholds import Fixed, Lp, PooledRelative, Relative, Threshold

DELTA: Final = 0.008  # of d_ref (Fang et al., section VI-A)
D_REF: Final = 71.472  # of ResNet-20 trained for 200 epochs (Jia et al.); take that of your own model and length
_OWN: Final = ("the judge's own trainer is the update rule that was claimed",)
_NOISE: Final = "honest noise stays below the threshold, and no adversary spends what lies between"
_WEIGHTS: Final = "the prover's optimizer state and hyper-parameters are what they should be"


def strict(threshold: Threshold = Relative(0.1), joint: Joint = Joint(), selection: Selection = every) -> Policy:  # noqa: B008
    """Return the default: every check, every segment, every tensor, and what all replays leave unexplained."""
    return Policy(selection=selection, threshold=threshold, of_whole=(joint,), assumes=(*_OWN, _NOISE))


def calibrated(policy: Policy, calibration: Calibration) -> Policy:
    """Return a policy with the limits that honest noise was found to need, in place of its own."""
    joint = (JointAsCalibrated(calibration),) if policy.of_whole else ()
    return replace(policy, threshold=Calibrated(calibration), of_whole=joint)


def exact() -> Policy:
    """Return the strict policy with no tolerance, for a judge on the stack that recorded."""
    return Policy(name="exact", threshold=Fixed(0.0), of_whole=(Joint(0.0, 0.0, 0.0),), assumes=_OWN)


def sampled(count: int = 20, threshold: Threshold = Relative(0.1)) -> Policy:  # noqa: B008
    """Return the strict checks on the first segment, the last and `count` that a challenge draws."""
    odds = "a forger changes more than a few segments: the report states the odds for one"
    return Policy(name="sampled", selection=Sample(count), threshold=threshold, assumes=(*_OWN, _NOISE, odds))


def relative(alpha: float = 0.1) -> Policy:
    """Return the rule of Lemma 2 (Fang et al., section IV-A) on all weights together, for every segment."""
    return _weights_only("relative", every, PooledRelative(alpha))


def jia2021_full(delta: float = DELTA, d_ref: float = D_REF) -> Policy:
    """Return the rule of Jia et al. (2021), ℓ2 of the weights below δ · d_ref, for every segment."""
    return _weights_only("jia2021_full", every, Lp(2, delta * d_ref))


def jia2021_topq(top: int = 5, epoch: int | None = None, delta: float = DELTA, d_ref: float = D_REF) -> Policy:
    """Return the rule of Jia et al. (2021) for the `top` largest updates of every epoch of so many records."""
    return _weights_only("jia2021_topq", TopQ(top, epoch=epoch), Lp(2, delta * d_ref))


def _weights_only(name: str, selection: Selection, threshold: Threshold) -> Policy:
    """Return a policy that believes the prover in all but the weights, as the paper's attacks presume."""
    whole = Policy()
    return Policy(
        selection=selection,
        threshold=threshold,
        of_archive=whole.of_archive,
        of_case=(),
        of_segment=(openings, schema),
        of_whole=(),
        in_a_row=0,
        name=name,
        assumes=(*_OWN, _NOISE, _WEIGHTS),
    )


NAMED: Final[Mapping[str, Callable[[], Policy]]] = {
    each.__name__: each for each in (strict, exact, sampled, relative, jia2021_full, jia2021_topq)
}
