"""Name every value of an optimizer's or scaler's state as a tensor, and put it back (SPEC.md, "Names of tensors").

A tag after the last name says what a tensor was: `step:int`, `best:none`, `history:list`. Absent is not zero: what is
not there has no name.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

from polarchive.format.canonical import is_printable

Tree: TypeAlias = dict[str, Any]
SEPARATOR: Final = "/"
_SEQUENCES: Final[dict[Any, str]] = {list: "list", tuple: "tuple", deque: "deque"}
_BUILD: Final = {"list": list, "tuple": tuple, "deque": deque}


def flatten(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that `value` consists of, by name; TypeError names a value that cannot be recorded."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        yield f"{name}:dict", torch.tensor(len(value))
        for key, item in value.items():
            yield from flatten(item, f"{name}{SEPARATOR}{checked(key, name)}")
    elif type(value) in _SEQUENCES:
        yield f"{name}:{_SEQUENCES[type(value)]}", torch.tensor(len(value))
        for index, item in enumerate(value):
            yield from flatten(item, f"{name}{SEPARATOR}{index}")
    else:
        yield _scalar(value, name)


def restore(tree: Tree) -> dict[str, Any]:
    """Return the values that one level of a tree of tensors holds, by their names without tags; tensors are copies."""
    found: dict[str, Any] = {}
    for key, item in tree.items():
        name, _, tag = key.partition(":")
        if isinstance(item, Tensor):
            found[name] = _value(tag, item, tree.get(name))
    return found


def nest(state: Mapping[str, Tensor]) -> Tree:
    """Return flat names as a tree, one level per separator."""
    tree: Tree = {}
    for name, tensor in state.items():
        *path, last = name.split(SEPARATOR)
        level = tree
        for part in path:
            level = level.setdefault(part, {})
            if not isinstance(level, dict):
                raise ValueError(f"{name}: {part} is a tensor and holds others")
        level[last] = tensor
    return tree


def checked(key: object, name: str) -> str:
    """Return `key` if it can be part of a name; TypeError otherwise."""
    if not isinstance(key, str) or not key or not is_printable(key) or SEPARATOR in key or ":" in key:
        raise TypeError(f"{name}: the key {key!r} cannot be recorded; keys are printable ASCII without / and :")
    return key


def _scalar(value: Any, name: str) -> tuple[str, Tensor]:
    if value is None:
        return f"{name}:none", torch.zeros((), dtype=torch.uint8)
    if isinstance(value, bool):
        return f"{name}:bool", torch.tensor(value)
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return f"{name}:int", torch.tensor(value)
    if isinstance(value, float):
        return f"{name}:float", torch.tensor(value, dtype=torch.float64)
    if isinstance(value, str):
        return f"{name}:str", torch.frombuffer(bytearray(value.encode()) or bytearray(1), dtype=torch.uint8)
    raise TypeError(f"{name}: a {type(value).__name__} cannot be recorded")


def _value(tag: str, item: Tensor, below: Tree | None) -> Any:
    if not tag:
        return item.clone()  # whoever takes it over may change it in place
    if tag == "none":
        return None
    if tag == "str":
        return bytes(item.tolist()).decode().rstrip("\0")
    if tag in _BUILD:
        items = restore(below or {})
        return _BUILD[tag](items[str(index)] for index in range(int(item)))
    return restore(below or {}) if tag == "dict" else item.item()
