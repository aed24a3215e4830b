"""Teach a model of one's own what the stolen one says, and prove that (Fang et al., section IX and appendix C)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet

_AT_ONCE: Final = 512  # records


@dataclass(frozen=True, slots=True)
class Distillation(Attack):
    """Label records by the stolen model, and train a fresh model on them, honestly and by the same update rule.

    Source: Fang et al., section IX (model extraction). Assumes a classifier whose records are inputs and labels, and
    whose data nobody holds against the public set. Expected: accepted by every policy, for it is a true training run,
    of another model: out of the scope of a proof about weights. Costs one forward pass per record that is used
    (algorithm cost, which `label` is), and an honest training (learning cost).
    """

    function_space: ClassVar[bool] = True
    fabricates: ClassVar[bool] = True

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Train on genuine inputs with the stolen model's labels."""
        labels = self.label(known)
        for step in range(known.steps):
            inputs, _ = known.batch(step)
            trainer.step([log.record((inputs, labels[known.rows(step)]))])

    @torch.no_grad()
    def label(self, known: Known) -> Tensor:
        """Return the stolen model's label for every record that the training will use; others keep their own."""
        stolen = Puppet(known.workload)
        stolen.claim(known.weights)
        stolen.model.eval()
        inputs, labels = known.workload.records
        labels = labels.clone()
        for rows in torch.split(_used(known), _AT_ONCE):
            labels[rows] = stolen.model(inputs[rows]).argmax(1).to(labels)
        return labels


def _used(known: Known) -> Tensor:
    found: Tensor = torch.unique(torch.cat([known.rows(step) for step in range(known.steps)]))
    return found
