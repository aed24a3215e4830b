"""Read proofs in the layout of Fang et al. (2023), of the repository cleverhans-lab/practical-attacks-against-pol.

A folder has `model_T.pt` for every state, which torch.save wrote of {net}, and for the segment that begins there
`data_T.npy` of shape (steps, batch, …) and `label_T.npy` (steps, batch). Its blindfold attack writes no data at all.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from polarchive.errors import OpeningError, PolError
from polarchive.importers import saved
from polarchive.importers.proof import ALWAYS, NO_OPTIMIZER, NO_SETTINGS, Batch, Indices, Settings, States, Stored

MARK: Final = "model_0.pt"


class Fang:
    """Hold a proof that brings data as arrays, perhaps for some segments only, and keeps nothing of the optimizer."""

    layout: str = "Fang et al. (2023)"
    indices: Indices | None = None

    def __init__(self, folder: Path) -> None:
        self.states = States.of(folder, "model_", ".pt")
        self._folder = folder
        starts = range(0, self.states.steps, self.states.every)
        without = [start for start in starts if not (folder / f"data_{start}.npy").exists()]
        data = f"no data of {len(without)} of {len(starts)} segments: no judge can be shown them"
        self.lacks: Sequence[str] = (*ALWAYS, NO_SETTINGS, NO_OPTIMIZER, *((data,) if without else ()))

    def state(self, step: int) -> Stored:
        """Return the weights at a step."""
        stored = Stored.read(self.states.paths[step])
        return Stored(stored.path, stored.net)  # the last one is the stolen file itself, whatever else it holds

    def settings(self, stored: Stored) -> Settings:
        """Return what tells no groups: no settings are recorded."""
        return lambda ahead: ()

    def batch(self, step: int) -> Batch:
        """Return inputs and labels of a step, as they were saved."""
        start = step - step % self.states.every
        if not (self._folder / f"data_{start}.npy").exists():
            raise OpeningError("the proof has no data of this segment")
        inputs, labels = (saved.numbers(self._folder / f"{name}_{start}.npy") for name in ("data", "label"))
        steps = min(self.states.every, self.states.steps - start)
        if inputs.ndim < 2 or inputs.shape[:2] != labels.shape or len(labels) != steps:
            shapes = f"{inputs.shape} with labels {labels.shape}"
            raise PolError(f"{self._folder}/data_{start}.npy: {shapes}, where those of {steps} steps are due")
        return _tensor(inputs[step - start]), _tensor(labels[step - start])


def _tensor(values: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.array(values, values.dtype.newbyteorder("="), order="C"))
