"""Find genuine batches whose updates are nearest to those that were claimed (Thudi et al. 2022)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.line import between
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.vector import vector
from polarchive.attacks.workload import Batch


@dataclass(frozen=True, slots=True)
class Forging(Attack):
    """Put states on a line, and choose for each step, among `attempts` genuine batches, the one that leads nearest.

    Source: Thudi et al. 2022, "On the necessity of auditable algorithmic definitions for machine unlearning", who forge
    the transitions of a real run. Assumes that some batch leads where the line goes. Expected: none does, so each
    segment is off by about its update or more. Costs `attempts` times honest training, of challenged segments alone if
    the challenge is known.
    """

    attempts: int = 8

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Within a segment steps are taken; where it ends the weights are put on the line, and nothing else is."""
        draws = torch.Generator().manual_seed(known.seed)
        fresh = {name: tensor for name, tensor in trainer.weights().items() if name in trainer.parameters}
        ends = {name: known.weights[name] for name in fresh}
        for step in range(known.steps):
            rows, following = known.rows(step), between(fresh, ends, (step + 1) / known.steps)
            if challenge is None or step // known.every in challenge:
                choices = list(_drawn(known, self.attempts, draws))
                found = nearest(trainer, following, [known.workload.take(each) for each in choices])
                rows = choices[found.place]
            trainer.step([log.record(rows=rows)])
            if (step + 1) % known.every == 0:
                trainer.claim(following)
        trainer.claim(known.weights)


@dataclass(frozen=True, slots=True)
class Nearest:
    """Hold which batch leads nearest to weights that were claimed, and the ℓ2 distance at which it leaves them."""

    place: int
    error: float


def nearest(trainer: Puppet, claimed: Mapping[str, Tensor], batches: Sequence[Batch]) -> Nearest:
    """Return the batch from which a step of training leads nearest to `claimed`; the state stays as it is."""
    before, names = trainer.save(), trainer.parameters
    target, errors = vector(claimed, names), []
    for batch in batches:
        trainer.step([batch])
        errors.append(float((vector(trainer.view(), names) - target).norm()))
        trainer.load(before)
    place = min(range(len(errors)), key=errors.__getitem__)
    return Nearest(place, errors[place])


def _drawn(known: Known, attempts: int, draws: torch.Generator) -> Iterator[Tensor]:
    for _ in range(attempts):
        yield torch.randperm(known.workload.size, generator=draws)[: known.workload.batch]
