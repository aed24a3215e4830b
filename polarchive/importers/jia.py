"""Read proofs in the layout of Jia et al. (2021), of the repository cleverhans-lab/Proof-of-Learning.

A folder has `model_step_I` for every state, which torch.save wrote of {net, optimizer, scheduler}; `indices.npy` of
shape (steps, batch), which says where in a public dataset the records of each step are; and `hash.txt`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from polarchive.errors import PolError
from polarchive.importers import saved
from polarchive.importers.milestones import Milestones
from polarchive.importers.proof import ALWAYS, Batch, Indices, Settings, States, Stored

MARK: Final = "indices.npy"
_HASH: Final = "no check of hash.txt: it is over abbreviated texts of the images, without labels and order"
_UNKNOWN: Final = "a scheduler that is no MultiStepLR"
_SCHEDULE: Final = "no settings between states: each segment has those of its first state"


class Jia:
    """Hold a proof with whole states, whose data are records of a public dataset.

    PolError if states and indices do not fit each other.
    """

    layout: str = "Jia et al. (2021)"

    def __init__(self, folder: Path) -> None:
        self.states = States.of(folder, "model_step_")
        indices = _indices(folder / MARK)
        if len(indices) != self.states.steps:
            where = f"{folder / MARK} has the indices of {len(indices)} steps"
            raise PolError(f"{where}, and the last state is that of step {self.states.steps}")
        self.indices: Indices | None = indices
        first = self.state(0)
        self._kind = _kind(first, Milestones.of(first.path, first.scheduler))
        unknown = (_SCHEDULE,) if self._kind == _UNKNOWN else ()
        self.lacks: Sequence[str] = (*ALWAYS, *unknown, *((_HASH,) if (folder / "hash.txt").exists() else ()))

    def state(self, step: int) -> Stored:
        """Return the state at a step, with what it keeps of the optimizer."""
        stored = Stored.read(self.states.paths[step])
        groups = stored.optimizer.get("param_groups")
        if not isinstance(groups, list) or not groups or not all(isinstance(group, dict) for group in groups):
            raise PolError(f"{stored.path}: holds no optimizer with groups of parameters")
        return stored

    def settings(self, stored: Stored) -> Settings:
        """Return what tells the settings after a state, with the learning rates of its MultiStepLR.

        PolError unless its scheduler is of the kind that state 0 has, of which the proof was said to have or lack one.
        """
        groups, known = stored.optimizer["param_groups"], Milestones.of(stored.path, stored.scheduler)
        if (kind := _kind(stored, known)) != self._kind:
            raise PolError(f"{stored.path}: has {kind}, where state 0 has {self._kind}")
        if known is None:
            return lambda ahead: groups
        return lambda ahead: [
            {**each, "lr": known.rate(each["lr"], ahead)} if "lr" in each else each for each in groups
        ]

    def batch(self, step: int) -> Batch:
        """Refuse: the records of a step are in a dataset, which a judge has of his own."""
        raise PolError("this layout holds no data: a judge's batches(step, rows) returns records of the dataset")


def _kind(stored: Stored, known: Milestones | None) -> str:
    if not stored.scheduler:
        return "no scheduler"
    return _UNKNOWN if known is None else "a MultiStepLR"


def _indices(path: Path) -> Indices:
    found = saved.numbers(path)
    if found.ndim != 2 or found.dtype.kind not in "iu" or not found.size:
        raise PolError(f"{path}: {found.dtype} of shape {found.shape}, where indices (steps, batch) are due")
    return found.astype(np.int64)
