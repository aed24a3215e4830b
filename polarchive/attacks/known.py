"""Say what an adversary knows (Fang et al., section III), as a type: what is not in it, no attack can use."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from polarchive.attacks.workload import Batch, Workload
from polarchive.training.trainer import State


@dataclass(frozen=True, slots=True)
class Rules:
    """Hold the parameters of verification, which section III grants.

    `delta` is the static threshold on the ℓ2 norm of all weights, in absolute terms; `alpha` the relative one on each
    tensor; `top` how many of the largest updates of an epoch are replayed; `drawn` how many segments a challenge draws.
    """

    delta: float
    alpha: float = 0.1
    top: int = 5
    drawn: int = 20


@dataclass(frozen=True, slots=True)
class Leak:
    """Hold a victim's proof that became public: its archive, and the batches of its steps. Section III denies it."""

    archive: Path
    batches: Callable[[int], Batch]


@dataclass(frozen=True, slots=True)
class Known:
    """Hold what an adversary knows: the victim's last weights, the training as published, its data, and the judge.

    `weights` are parameters and buffers by their names in a state (`model/…`), without what the optimizer keeps: the
    victim releases a model, not a training. `seed` is the adversary's own, for all that it draws. `leak` is the
    victim's proof where it was published; only attacks that say so in `needs_leak` use it.
    """

    weights: State
    workload: Workload
    rules: Rules
    seed: int = 1
    leak: Leak | None = None

    @property
    def steps(self) -> int:
        """Return how many steps a proof is to have: as many as the victim's."""
        return self.workload.steps

    @property
    def every(self) -> int:
        """Return how many steps lie between two recorded states."""
        return self.workload.every

    @property
    def segments(self) -> int:
        """Return how many segments a proof is to have."""
        return self.workload.segments

    def rows(self, step: int) -> Tensor:
        """Return which genuine records to name for a step, as an honest run of the adversary's own would take them."""
        return self.workload.rows(self.seed, step)

    def batch(self, step: int) -> Batch:
        """Return the genuine records of a step."""
        return self.workload.take(self.rows(step))
