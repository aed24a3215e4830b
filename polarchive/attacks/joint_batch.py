"""Make the data of a whole segment at once, as one large batch without a gradient (attack 3 of Zhang et al.)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from polarchive.attacks.known import Known
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.synthetic_start import SyntheticStart
from polarchive.attacks.workload import Batch


@dataclass(frozen=True, slots=True)
class JointBatch(SyntheticStart):
    """Do as `SyntheticStart`, but disturb the batches of a segment as one, and split it again.

    Source: Zhang et al. (2022), attack 3. Assumes what attack 2 does. A segment is made in `cut` pieces; each needs
    memory for the second-order gradient of its records together. Expected: as attack 2, with fewer optimisations and
    larger residuals: single batches of a joint one keep their gradients. Costs `iterations` second-order gradients of
    the segment's data, as many operations as attack 2 and fewer calls.
    """

    penalty: float = 0.1
    cut: int = 1

    def _data(self, known: Known, trainer: Puppet, steps: range) -> Iterator[Batch]:
        """Yield the batches of each piece's steps, made where the pieces before it have led."""
        size = -(-len(steps) // self.cut)
        for start in range(steps.start, steps.stop, size):
            piece = range(start, min(start + size, steps.stop))
            rows = (_rows(known, known.seed + other, piece) for other in range(self.attempts))
            joint = self._still(known, trainer, map(known.workload.take, rows))
            yield from zip(*(torch.split(part, known.workload.batch) for part in joint), strict=True)


def _rows(known: Known, seed: int, steps: range) -> Tensor:
    return torch.cat([known.workload.rows(seed, step) for step in steps])
