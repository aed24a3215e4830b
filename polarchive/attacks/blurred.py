"""Copy a victim's proof with noise in every state, so that no state of it is the victim's bit for bit."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from polarchive.attacks import leaked
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.resigned import Resigned
from polarchive.training.trainer import State


@dataclass(frozen=True, slots=True)
class Blurred(Resigned):
    """Copy a leaked proof, and move each number of a state by about `noise` times what it changed by in its segment.

    Source: found here; a dispute that looks for common states compares their roots. Assumes that the victim's proof and
    its data leaked. Expected: accepted by every policy that tolerates rounding, rejected by `exact`; no state after the
    first is the victim's, though the last has its weights, unless `last` has these blurred too. Costs no training.
    """

    noise: float = 1e-3
    last: bool = False

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Blur every state but the first, which follows from a seed; the last one's weights only if so wanted."""
        generator = torch.Generator().manual_seed(known.seed)
        before: State = {}

        def blur() -> None:
            state = trainer.save()
            trainer.load({name: self._moved(before.get(name), state[name], generator) for name in state})
            before.update(state)

        def change(step: int) -> None:
            if step == 0:
                before.update(trainer.save())
            elif step % known.every == 0:
                blur()

        leaked.again(known, trainer, log, change=change)
        weights = trainer.weights()
        blur()
        if not self.last:
            trainer.claim(weights)

    def _moved(self, before: Tensor | None, now: Tensor, generator: Generator) -> Tensor:
        if not now.is_floating_point() or now.ndim == 0:
            return now  # counters
        changed = now if before is None else now - before
        return now + self.noise * torch.randn(now.shape, generator=generator).to(now) * changed
