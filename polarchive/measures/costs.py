"""Count what training and spoofs of it cost, in forward passes (Appendix B).

A forward pass is one of one batch; an update is the `k` steps between two recorded states. Adding up all parameters
once, as interpolation does for every state, counts as a forward pass, and a backward pass as two. A second-order
gradient counts as forty, measured by the paper from code of Zhang et al. All counts are of arithmetic alone: whether a
spoof so made passes is another question.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from polarchive.errors import PolError

FORWARD: Final = 1
BACKWARD: Final = 2
INTERPOLATION: Final = 1
SECOND_ORDER: Final = 40


@dataclass(frozen=True, slots=True)
class Setting:
    """Hold what costs depend on: of the run, of the judge (Q), and of the spoof.

    `k` are the steps of an update and `epoch` those of an epoch; `n` are the iterations in which data is optimised.
    An honest run has `steps` steps, and a spoof `spoofed`: a shorter one is cheaper, if the judge lets it pass.
    """

    k: int
    steps: int
    epoch: float
    spoofed: int
    q: int
    n: int

    def __post_init__(self) -> None:
        sizes = (self.k, self.steps, self.epoch, self.spoofed)
        if not all(0 < size < inf for size in sizes) or min(self.q, self.n) < 0:
            raise PolError(f"no run has such numbers: {self}")


@dataclass(frozen=True, slots=True)
class Cost:
    """Hold what one way to a proof costs in forward passes: per update, in all, and over what honest training costs."""

    update: float
    total: float
    ratio: float


def honest(setting: Setting) -> float:
    """Return the cost of training for one update: 3k."""
    return (FORWARD + BACKWARD) * setting.k


def infinitesimal(setting: Setting) -> float:
    """Return the cost per update of states on a line, under a learning rate next to zero (section VI-A): 1."""
    return INTERPOLATION


def adversarial(setting: Setting) -> float:
    """Return the cost per update of states on a line, and data optimised for each step: (43n + 1)k.

    This is attack 2 of Zhang et al. For a proof as long as the honest one it is at least 14 times as dear as training.
    """
    return joint(setting) * setting.k


def joint(setting: Setting) -> float:
    """Return the cost per update of attack 3 of Zhang et al., which optimises the data of k steps at once: 43n + 1."""
    return (FORWARD + BACKWARD + SECOND_ORDER) * setting.n + INTERPOLATION


def blindfold(setting: Setting) -> float:
    """Return the cost per update of Q honest updates an epoch among states on a line (section VI-B): 3kQ/s + 1.

    Here s is how many updates an epoch has, as in the paper's derivation. No more than all can be honest.
    """
    return honest(setting) * min(setting.q * setting.k / setting.epoch, 1) + INTERPOLATION


def blindfold_as_tabled(setting: Setting) -> float:
    """Return the same with s as Table II has it, the steps of an epoch: it counts k times too few honest updates."""
    return honest(setting) * min(setting.q / setting.epoch, 1) + INTERPOLATION


WAYS: Final[Mapping[str, Callable[[Setting], float]]] = {
    "honest training": honest,
    "infinitesimal update": infinitesimal,
    "Zhang et al., attack 2": adversarial,
    "Zhang et al., attack 3": joint,
    "blindfold top-Q": blindfold,
    "blindfold top-Q, s in steps": blindfold_as_tabled,
}


def costs(setting: Setting) -> dict[str, Cost]:
    """Return what each way to a proof costs; an honest one is as long as the run, the others as the spoof."""
    training = honest(setting) * setting.steps / setting.k
    found = {}
    for name, way in WAYS.items():
        steps = setting.steps if way is honest else setting.spoofed
        total = way(setting) * steps / setting.k
        found[name] = Cost(way(setting), total, total / training)
    return found
