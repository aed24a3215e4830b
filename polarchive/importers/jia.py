"""Read proofs in the layout of Jia et al. (2021), of the repository cleverhans-lab/Proof-of-Learning.

A folder has `model_step_I` for every state, which torch.save wrote of {net, optimizer, scheduler}; `indices.npy` of
shape (steps, batch), which says where in a public dataset the records of each step are; and `hash.txt`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from polarchive.errors import PolError
from polarchive.importers import saved
from polarchive.importers.proof import ALWAYS, Batch, Group, Indices, States, Stored

MARK: Final = "indices.npy"
_HASH: Final = "no check of hash.txt: it is over abbreviated texts of the images, without labels and order"
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
        unknown = (_SCHEDULE,) if first.scheduler and _milestones(first) is None else ()
        self.lacks: Sequence[str] = (*ALWAYS, *unknown, *((_HASH,) if (folder / "hash.txt").exists() else ()))

    def state(self, step: int) -> Stored:
        """Return the state at a step, with what it keeps of the optimizer."""
        stored = Stored.read(self.states.paths[step])
        groups = stored.optimizer.get("param_groups")
        if not isinstance(groups, list) or not groups or not all(isinstance(group, dict) for group in groups):
            raise PolError(f"{stored.path}: holds no optimizer with groups of parameters")
        return stored

    def groups(self, stored: Stored, ahead: int) -> Sequence[Group]:
        """Return the settings at a state, with the learning rate that a MultiStepLR has so many steps later."""
        groups = stored.optimizer["param_groups"]
        return [{**group, "lr": _rate(stored, group, ahead)} if "lr" in group else group for group in groups]

    def batch(self, step: int) -> Batch:
        """Refuse: the records of a step are in a dataset, which a judge has of his own."""
        raise PolError("this layout holds no data: a judge's batches(step, rows) returns records of the dataset")


def _indices(path: Path) -> Indices:
    found = saved.numbers(path)
    if found.ndim != 2 or found.dtype.kind not in "iu" or not found.size:
        raise PolError(f"{path}: {found.dtype} of shape {found.shape}, where indices (steps, batch) are due")
    return found.astype(np.int64)


def _rate(stored: Stored, group: Group, ahead: int) -> Any:
    """Return what MultiStepLR makes of a learning rate, as torch does: one multiplication at each milestone."""
    rate, known = group["lr"], _milestones(stored)
    if known is None or not isinstance(rate, int | float):
        return rate
    last, gamma, milestones = known
    try:
        for place in sorted(each for each in milestones if last < each <= last + ahead):
            rate *= gamma ** milestones[place]
    except ArithmeticError:
        raise PolError(f"{stored.path}: its milestones take the learning rate beyond all bounds") from None
    return rate


def _milestones(stored: Stored) -> tuple[int, float, dict[int, float]] | None:
    """Return at which step a MultiStepLR is, its factor, and how often that is applied where; None for any other."""
    last, gamma, found = (stored.scheduler.get(name) for name in ("last_epoch", "gamma", "milestones"))
    if not isinstance(last, int) or not isinstance(gamma, float) or not isinstance(found, dict):
        return None
    if not all(isinstance(part, int) and abs(part) < 1 << 53 for pair in found.items() for part in pair):
        return None
    return last, gamma, {place: float(times) for place, times in found.items()}
