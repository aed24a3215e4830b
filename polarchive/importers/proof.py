"""Say what a published proof consists of, whatever its layout."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from polarchive.errors import PolError
from polarchive.format.canonical import is_printable
from polarchive.format.limits import MAX_STEPS_PER_SEGMENT
from polarchive.importers import saved

Batch: TypeAlias = tuple[Tensor, ...]
Group: TypeAlias = Mapping[str, Any]
Settings: TypeAlias = Callable[[int], Sequence[Group]]  # so many steps after a state
Indices: TypeAlias = npt.NDArray[np.int64]

ALWAYS = (
    "no explanation of state 0: nothing shows where it comes from",
    "no times: the log is as old as this import, and signed by whoever imports",
    "no seeds: steps that drew at random (dropout, augmentation) cannot be taken again",
)
NO_SETTINGS = "no settings of the optimizer: those of your trainer stand for them"
NO_OPTIMIZER = "no state of the optimizer: it begins anew with every segment, from zeros where it keeps any"
_PARALLEL = "module."  # which DataParallel puts before every name


@dataclass(frozen=True, slots=True)
class Stored:
    """Hold what a file keeps of a state: the model's tensors by name and, in some layouts, the optimizer's dict."""

    path: Path
    net: Mapping[str, Tensor]
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    scheduler: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Stored":
        """Read a file; PolError unless it holds a `net` of named tensors, and dicts beside it."""
        kept = saved.tensors(path)
        net, optimizer, scheduler = (kept.get(name, {}) for name in ("net", "optimizer", "scheduler"))
        plain = all(isinstance(each, dict) for each in (net, optimizer, scheduler))
        if not plain or not net or not all(map(_is_named, net.items())):
            raise PolError(f"{path}: holds no net of named tensors")
        if twice := [name for name in net if _PARALLEL + name in net]:
            raise PolError(f"{path}: its net has {twice[0]} twice, once with {_PARALLEL} before it")
        bare = {name.removeprefix(_PARALLEL): tensor for name, tensor in net.items()}
        return cls(path, bare, optimizer, scheduler)


class Proof(Protocol):
    """Hold a published proof: its states, the data of its steps, and what it lacks.

    `indices`, of shape (steps, batch), says which records of a dataset each step takes, where the data are not part of
    the proof.
    """

    layout: str
    states: "States"
    indices: Indices | None
    lacks: Sequence[str]

    def state(self, step: int) -> Stored:
        """Return the state before a step that begins a segment, or the last one."""

    def settings(self, stored: Stored) -> Settings:
        """Return what tells the settings of the optimizer's groups after a state; no groups where none are recorded."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step as it is fed to the model; OpeningError if the proof lacks it."""


@dataclass(frozen=True, slots=True)
class States:
    """Hold where the states of a proof lie: `paths` by step, `every` so many steps and after all `steps`."""

    paths: Mapping[int, Path]
    every: int
    steps: int

    @classmethod
    def of(cls, folder: Path, prefix: str, suffix: str = "") -> "States":
        """Find the states PREFIX step SUFFIX in a folder; PolError says which one is missing or too many."""
        form = re.compile(rf"{re.escape(prefix)}(0|[1-9][0-9]{{0,8}}){re.escape(suffix)}")
        found = {int(match[1]): path for path in folder.iterdir() if (match := form.fullmatch(path.name))}
        steps = sorted(found)
        if len(steps) < 2:
            raise PolError(f"{folder}: {len(steps)} states {prefix}…{suffix}; a proof has two or more")
        if odd := _odd(steps):
            raise PolError(f"{folder}: {prefix}{odd[0]}{suffix} {odd[1]}")
        return cls(found, steps[1], steps[-1])


def _odd(steps: list[int]) -> tuple[int, str] | None:
    """Return the first step that keeps others from being evenly spaced, but for the last one, and what is odd of it."""
    every = steps[1]
    if every > MAX_STEPS_PER_SEGMENT:
        return every, "ends a segment of more steps than one can have"
    for place, step in enumerate(steps):
        if step > place * every:
            return place * every, "is missing"
        if step < place * every and step != steps[-1]:
            return step, f"lies between states that are {every} steps apart"
    return None


def _is_named(item: tuple[object, object]) -> bool:
    name, tensor = item
    return isinstance(name, str) and is_printable(name) and isinstance(tensor, Tensor)
