"""Read and set the state and the settings of a torch optimizer by the names of its parameters.

torch's own `load_state_dict` casts what it is given to the parameter's dtype and keeps references to it; both break a
bit-exact replay, so state is assigned here directly, and copied.
"""

import operator
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from polarchive.errors import TrainerError
from polarchive.format.entry import Hyper
from polarchive.training.values import SEPARATOR, Tree, checked, flatten, restore

IMPOSED: Final = frozenset(
    ("lr", "momentum", "dampening", "betas", "eps", "weight_decay", "nesterov", "amsgrad", "maximize")
)
# How a step is computed, not what: a judge on another device must be free to choose.
_MEANS: Final = frozenset(("params", "param_names", "foreach", "fused", "capturable", "differentiable"))
# What schedulers leave behind for themselves; no optimizer reads them.
_LEFTOVERS: Final = frozenset(("initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum", "swa_lr"))
_NOT_STATE: Final = IMPOSED | _MEANS | _LEFTOVERS


def values(optimizer: Optimizer, name: str, parameters: Mapping[int, str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the optimizer's state: NAME/PARAMETER/KEY, and NAME/#GROUP/KEY for a group's other values."""
    for parameter, state in optimizer.state.items():
        if id(parameter) not in parameters:
            what = f"shape {tuple(parameter.shape)}" if isinstance(parameter, Tensor) else repr(parameter)
            raise TypeError(f"{name}: its state for {what} cannot be recorded, which is no parameter of any part")
        for key, value in state.items():
            yield from flatten(value, SEPARATOR.join((name, parameters[id(parameter)], checked(key, name))))
    for index, group in enumerate(optimizer.param_groups):
        for key in sorted(group.keys() - _NOT_STATE):
            yield from flatten(group[key], SEPARATOR.join((name, f"#{index}", checked(key, name))))


def load(optimizer: Optimizer, tree: Tree, parameters: Mapping[int, str]) -> None:
    """Replace all state of `optimizer` by what one branch of a state's tree holds; TrainerError if it has no place."""
    known = {parameters[id(parameter)]: parameter for group in optimizer.param_groups for parameter in group["params"]}
    groups = {f"#{index}": group for index, group in enumerate(optimizer.param_groups)}
    before = dict(optimizer.state)
    optimizer.state.clear()
    for name, group in groups.items():
        _load_group(group, restore(tree.pop(name, {})), name)
    for name, branch in _branches(tree):
        if name in known:
            parameter = known[name]
            group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
            optimizer.state[parameter] = _placed(parameter, group, restore(branch), before.pop(parameter, {}))
        else:
            raise TrainerError(f"the optimizer has no parameter {name}, whose state the record holds")


def hyper(optimizer: Optimizer, name: str) -> Hyper:
    """Return the settings that a replay imposes, as NAME/GROUP/SETTING."""
    found: dict[str, float | bool | None] = {}
    for index, group in enumerate(optimizer.param_groups):
        for key in sorted(IMPOSED & group.keys()):
            for path, value in _parts(group[key], f"{name}{SEPARATOR}{index}{SEPARATOR}{key}"):
                found[path] = value.item() if isinstance(value, Tensor) else value
    return found


def raw_settings(optimizer: Optimizer) -> list[Any]:
    """Return the values of all settings as they are."""
    return [group.get(key) for group in optimizer.param_groups for key in IMPOSED]


@dataclass(frozen=True, slots=True)
class Known:
    """Keep the settings that were found for some values, because most steps change none."""

    raw: list[Any]
    found: Hyper

    @classmethod
    def of(cls, raw: list[Any], found: Hyper) -> "Known":
        """Return what is known for these values; nothing, if one of them (a tensor) may change by itself."""
        return cls(raw if all(map(_is_fixed, raw)) else [], found)

    def holds(self, raw: list[Any]) -> bool:
        """Tell whether these are the very same values."""
        return len(raw) == len(self.raw) and all(map(operator.is_, raw, self.raw))


def _is_fixed(value: Any) -> bool:
    return all(map(_is_fixed, value)) if isinstance(value, tuple) else value is None or isinstance(value, float | int)


def impose(optimizer: Optimizer, name: str, settings: Hyper) -> None:
    """Set the optimizer's settings out of `settings`, which has all of them."""
    for index, group in enumerate(optimizer.param_groups):
        for key in IMPOSED & group.keys():
            group[key] = _imposed(group[key], f"{name}{SEPARATOR}{index}{SEPARATOR}{key}", settings)


def require_known(optimizer: Optimizer, name: str, parameters: Mapping[int, str]) -> None:
    """Raise TypeError if the optimizer updates a tensor that none of the trainer's parts holds."""
    for index, group in enumerate(optimizer.param_groups):
        for number, parameter in enumerate(group["params"]):
            if id(parameter) not in parameters:
                which = f"parameter {number} of group {index}, of shape {tuple(parameter.shape)}"
                raise TypeError(f"{name}: {which}, belongs to no part; give the trainer its module too")


def _load_group(group: dict[str, Any], values: Mapping[str, Any], name: str) -> None:
    odd = values.keys() & _NOT_STATE
    if odd:
        raise TrainerError(f"group {name}: {min(odd)} is not state, and the record holds it as such")
    for key in group.keys() - _NOT_STATE - values.keys():
        del group[key]
    group.update(values)


def _branches(tree: Tree) -> Iterator[tuple[str, Tree]]:
    for part, below in tree.items():
        if any(isinstance(value, Tensor) for value in below.values()):
            yield part, below  # a parameter that is a part of its own
        else:
            for path, branch in below.items():
                yield f"{part}{SEPARATOR}{path}", branch


def _placed(
    parameter: Tensor, group: Mapping[str, Any], state: dict[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    return {key: _place(parameter, group, key, value, before.get(key)) for key, value in state.items()}


def _place(parameter: Tensor, group: Mapping[str, Any], key: str, value: Any, before: Any) -> Any:
    if isinstance(value, dict):
        return {name: _place(parameter, group, name, item, None) for name, item in value.items()}
    if isinstance(value, list | tuple | deque):
        return type(value)(_place(parameter, group, key, item, None) for item in value)
    if not isinstance(value, Tensor):
        return value
    alike = isinstance(before, Tensor) and (before.shape, before.dtype) == (value.shape, value.dtype)
    if alike and group.get("capturable"):
        return before.copy_(value)  # captured graphs keep addresses; where there are none, two keys may share a tensor
    if key == "step" and not (group.get("capturable") or group.get("fused")):
        return value.cpu()
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _parts(item, f"{path}{SEPARATOR}{index}")
    else:
        yield path, value


def _imposed(current: Any, path: str, settings: Hyper) -> Any:
    if isinstance(current, list | tuple):
        return type(current)(_imposed(item, f"{path}{SEPARATOR}{i}", settings) for i, item in enumerate(current))
    value = settings[path]
    if isinstance(current, Tensor) and isinstance(value, float):
        return current.fill_(value)
    if isinstance(current, bool) != isinstance(value, bool) or (current is None) != (value is None):
        raise TrainerError(f"{path} = {value} in the record, {current} in the trainer")
    return value
