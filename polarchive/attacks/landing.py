"""Find a state from which given steps lead to given weights: what is unknown is corrected by how far they miss."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from torch import Tensor, nn

from polarchive.attacks.line import norm
from polarchive.attacks.puppet import MODEL, Puppet
from polarchive.attacks.workload import Batch
from polarchive.training.trainer import State

Lever: TypeAlias = tuple[str, Tensor | float]
Levers: TypeAlias = Mapping[str, Lever]
_CLOSE: Final = 1e-7  # of the weights; float32 has no room for better


def land(trainer: Puppet, batches: Sequence[Batch], goal: State, levers: Levers, iterations: int) -> float:
    """Put the trainer in a state from which steps on `batches` lead to `goal`, and return by how far they miss it.

    `levers` name, for each tensor of the goal that is to be met, the tensor of the opening state that moves it, and by
    how much of itself. Each iteration takes all steps once and corrects every lever by its miss; the best state
    is kept. The miss is the ℓ2 distance over the length of the goal.
    """
    opening = trainer.save()
    found, least = opening, math.inf
    for _ in range(iterations):
        reached = after(trainer, opening, batches)
        missed = {name: goal[name] - reached[name] for name in levers}
        error = norm(missed) / norm({name: goal[name] for name in levers})
        if error < least:
            found, least = opening, error
        if not _CLOSE < error < math.inf:
            break
        opening = opening | {key: opening[key] + missed[name] / by for name, (key, by) in levers.items()}
    trainer.load(found)
    return least


def after(trainer: Puppet, opening: State, batches: Sequence[Batch]) -> State:
    """Return the state that steps on `batches` lead to; the trainer is left in it."""
    trainer.load(opening)
    for batch in batches:
        trainer.step([batch])
    return trainer.save()


def statistics(model: nn.Module, steps: int) -> dict[str, Lever]:
    """Return the levers of batch norm's running statistics: their own values, of which each step keeps a part."""
    found: dict[str, Lever] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            kept = (1 - (module.momentum or 0.0)) ** steps
            for name in (f"{MODEL}{path}.running_mean", f"{MODEL}{path}.running_var"):
                found[name] = (name, kept)
    return found
