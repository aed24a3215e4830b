"""Train with a force that pulls toward the stolen weights, and log it as plain training (Jia et al. 2021)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.nn.parameter import Parameter

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import MODEL, Puppet


@dataclass(frozen=True, slots=True)
class Pull(Attack):
    """Add λ‖W − W_T‖² to the loss, λ being `weight`; with `jump` go over what is left of the way in the last step.

    Source: Jia et al. 2021, "directed retraining" under another loss. Assumes that what the pull adds to a step stays
    below the judge's threshold. Expected: it comes nearer the more it pulls, and replays the worse. Costs an honest
    run.
    """

    weight: float = 0.1
    jump: bool = True

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step on the genuine batch and the pull."""
        with pulled(trainer, known.weights, self.weight):
            for step in range(known.steps):
                trainer.step([log.record(rows=known.rows(step))])
        if self.jump:
            trainer.claim(known.weights)


@contextmanager
def pulled(trainer: Puppet, target: Mapping[str, Tensor], weight: float) -> Iterator[None]:
    """Have every gradient contain that of weight · ‖W − target‖² meanwhile."""
    named = trainer.model.named_parameters()
    own = [(each, target[MODEL + name]) for name, each in named if each.requires_grad]
    hooks = [each.register_hook(partial(_pull, each, end, weight)) for each, end in own]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _pull(parameter: Parameter, target: Tensor, weight: float, gradient: Tensor) -> Tensor:
    return gradient + 2 * weight * (parameter.detach() - target)
