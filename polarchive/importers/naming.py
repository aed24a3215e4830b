"""Give what a published proof stores the names that a judge's trainer gives it."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from polarchive.errors import PolError
from polarchive.format.entry import Hyper
from polarchive.importers.proof import Group, Stored
from polarchive.training.trainer import State, Trainer
from polarchive.training.values import SEPARATOR, checked, flatten


@dataclass(frozen=True, slots=True)
class Names:
    """Hold what a trainer calls its one model and its one optimizer, and what both are before training.

    torch numbers an optimizer's parameters in the order in which it was given them. In every known layout that is the
    order of `net.parameters()`, so that of the net's tensors in the file, of which some are buffers: a trainer saves
    parameters before buffers, which tells them apart.
    """

    model: str
    optimizer: str
    fresh: State
    settings: Hyper

    @classmethod
    def of(cls, trainer: Trainer) -> "Names":
        """Look at a fresh trainer; PolError unless it is a model and an optimizer, as in every known layout."""
        fresh, settings = trainer.save(), trainer.hyper()
        optimizers = {_part(name) for name in settings}
        models = {_part(name) for name in fresh} - optimizers
        if len(models) != 1 or len(optimizers) != 1:
            raise PolError("the trainer must hold one model and one optimizer and nothing else, as these proofs do")
        return cls(models.pop(), optimizers.pop(), fresh, settings)

    def state(self, stored: Stored) -> State:
        """Return a stored state under the trainer's names; PolError names the tensor that does not fit."""
        net = {f"{self.model}{SEPARATOR}{name}": tensor for name, tensor in stored.net.items()}
        for name, tensor in net.items():
            own = self.fresh.get(name)
            if own is None or (own.shape, own.dtype) != (tensor.shape, tensor.dtype):
                raise PolError(f"{stored.path}: {name}, {tensor.dtype} {tuple(tensor.shape)}, is not in your trainer")
        return {**net, **dict(self._moments(stored)), **dict(self._others(stored))}

    def rest(self, state: State) -> State:
        """Return what a state lacks (such as buffers that are not persistent), as the trainer made it."""
        return {name: tensor for name, tensor in self.fresh.items() if name not in state and self._is_kept(name)}

    def recorded(self, groups: Sequence[Group]) -> Set[str]:
        """Return the names of the trainer's settings that stored groups have."""
        return {path for path in self.settings if _is_recorded(path, groups)}

    def hyper(self, groups: Sequence[Group]) -> Hyper:
        """Return the settings of stored groups under the trainer's names, and the trainer's own where they lack one."""
        return {path: _setting(path, own, groups) for path, own in self.settings.items()}

    def missing(self, state: State, groups: Sequence[Group]) -> Iterator[str]:
        """Yield what the trainer's own stands for; that no settings are recorded at all, a layout says itself."""
        for path, own in self.settings.items() if groups else ():
            if not _is_recorded(path, groups):
                yield f"no {path}: that of your trainer, {own}, stands for it"
        for name in self.fresh:
            if self._is_kept(name) and name not in state:
                yield f"no {name}: that of your trainer stands for it"

    def _is_kept(self, name: str) -> bool:
        return _part(name) == self.model or name.startswith(f"{self.optimizer}{SEPARATOR}#")

    def _moments(self, stored: Stored) -> Iterator[tuple[str, Tensor]]:
        """Yield what the optimizer keeps for each parameter."""
        if not stored.optimizer:
            return
        count, kept = _kept(stored)
        parameters = set(islice((name for name in self.fresh if _part(name) == self.model), count))
        net = (f"{self.model}{SEPARATOR}{name}" for name in stored.net)
        names = [name for name in net if name in parameters]
        if len(names) != count:
            raise PolError(f"{stored.path}: its optimizer has {count} parameters, which are more than its net has")
        for number, values in kept.items():
            for key, value in values.items():
                yield from self._value(stored, names[number], key, value)

    def _value(self, stored: Stored, parameter: str, key: str, value: Any) -> Iterator[tuple[str, Tensor]]:
        name = SEPARATOR.join((self.optimizer, parameter, _key(stored, key)))
        if isinstance(value, Tensor) and value.shape not in ((), (1,), self.fresh[parameter].shape):
            raise PolError(f"{stored.path}: {name} has shape {tuple(value.shape)}, not its parameter's")
        _require_64_bits(stored, name, value)
        if not isinstance(value, Tensor | int | float | None):
            raise PolError(f"{stored.path}: {name} is a {type(value).__name__}, neither tensor nor number")
        if key == "step" and type(value) is int:
            value = torch.tensor(float(value))  # as torch keeps it since 1.12
        if value is not None:  # which torch wrote before 2.0 where there was no momentum
            yield from flatten(value, name)

    def _others(self, stored: Stored) -> Iterator[tuple[str, Tensor]]:
        """Yield the group's numbers that are state and no settings, such as AdamW's `decoupled_weight_decay`."""
        group = stored.optimizer["param_groups"][0] if stored.optimizer else {}
        head = f"{self.optimizer}{SEPARATOR}#0{SEPARATOR}"
        for name in self.fresh:
            key = name.removeprefix(head).partition(":")[0]
            if name.startswith(head) and key in group and isinstance(group[key], int | float | None):
                _require_64_bits(stored, name, group[key])
                yield from (each for each in flatten(group[key], head + key) if each[0] == name)


def _part(name: str) -> str:
    return name.split(SEPARATOR)[0]


def _key(stored: Stored, key: Any) -> str:
    try:
        return checked(key, "the optimizer's state")
    except TypeError as error:
        raise PolError(f"{stored.path}: {error}") from None


def _require_64_bits(stored: Stored, name: str, value: Any) -> None:
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise PolError(f"{stored.path}: {name} is a whole number of more than 64 bits")


def _kept(stored: Stored) -> tuple[int, Mapping[int, Mapping[str, Any]]]:
    """Return how many parameters the optimizer has, and what it keeps of each by number.

    PolError unless they are one group, numbered from 0.
    """
    groups, state = stored.optimizer.get("param_groups"), stored.optimizer.get("state")
    if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], dict):
        raise PolError(f"{stored.path}: its optimizer has no single group of parameters, so no order tells their names")
    params = groups[0].get("params")
    if not isinstance(params, list) or any(type(each) is not int or each != place for place, each in enumerate(params)):
        raise PolError(f"{stored.path}: its optimizer's parameters are not numbered from 0")
    if not isinstance(state, dict) or not all(isinstance(values, dict) for values in state.values()):
        raise PolError(f"{stored.path}: its optimizer holds no state by parameter")
    numbers = range(len(params))
    if odd := [number for number in state if number not in numbers]:
        raise PolError(f"{stored.path}: its optimizer has state for {odd[0]!a}, which is no parameter of its group")
    return len(params), state


def _is_recorded(path: str, groups: Sequence[Group]) -> bool:
    _, group, key, *_ = path.split(SEPARATOR)
    return int(group) < len(groups) and key in groups[int(group)]


def _setting(path: str, own: float | bool | None, groups: Sequence[Group]) -> float | bool | None:
    _, group, key, *places = path.split(SEPARATOR)
    if not _is_recorded(path, groups):
        return own
    try:
        value = groups[int(group)][key]
        for place in places:
            value = value[int(place)]
        return _alike(value, own)
    except (LookupError, TypeError, ValueError, OverflowError):
        raise PolError(f"{path}: what the proof has for it is no setting of your trainer") from None


def _alike(value: Any, own: float | bool | None) -> float | bool | None:
    """Return a stored setting as a number, or as what else the trainer has in its place; TypeError otherwise."""
    if isinstance(own, bool) or own is None:
        if type(value) is not type(own):
            raise TypeError
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)
