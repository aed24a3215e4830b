"""Choose the moments that a segment of Adam opens with, so that genuine steps lead wherever they should."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch

from polarchive.attacks.attack import Attack
from polarchive.attacks.injection import aim, first_forged
from polarchive.attacks.known import Known
from polarchive.attacks.landing import Levers
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet


@dataclass(frozen=True, slots=True)
class AdamInjection(Attack):
    """Train, then open each of the last segments with moments that carry it to the next point of a line.

    Source: found here. Assumes Adam or AdamW, and a judge who starts a segment from the recorded moments and compares
    weights only. The second moment is set to `second` everywhere: it dwarfs genuine gradients, so that what the first
    one does is next to linear, and the victim's learning rate will do. `pieces` segments are forged, none: all but the
    first, which starts without moments. Each is replayed bit for bit from genuine data; only the last one's claim is
    rounded. Expected: passes `jia2021_full` and `relative`; `strict` finds closing moments which are not what the
    replay left.
    """

    pieces: int | None = None
    second: float = 1.0
    iterations: int = 20

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step for real; before each forged segment, replace what the optimizer keeps."""
        for step in range(known.steps):
            if step % known.every == 0 and step // known.every >= first_forged(known, self.pieces):
                inflate(trainer, self.second)
                aim(known, trainer, step, moment_levers(trainer, step, known.every, self.second), self.iterations)
            trainer.step([log.record(rows=known.rows(step))])
        trainer.claim(known.weights)


def inflate(trainer: Puppet, second: float) -> None:
    """Set every second moment to one value."""
    moments = {name: tensor for name, tensor in trainer.view().items() if name.endswith("/exp_avg_sq")}
    trainer.claim({name: torch.full_like(tensor, second) for name, tensor in moments.items()})


def moment_levers(trainer: Puppet, step: int, steps: int, second: float) -> Levers:
    """Return by how much the opening first moment moves each weight in so many steps of Adam after `step` others."""
    group = trainer.optimizer.param_groups[0]
    rate, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
    moved = 0.0
    for taken in range(1, steps + 1):
        scale = sqrt(second * beta2**taken / (1 - beta2 ** (step + taken))) + eps
        moved -= rate * beta1**taken / (1 - beta1 ** (step + taken)) / scale
    return {name: (f"optimizer/{name}/exp_avg", moved) for name in trainer.parameters}
