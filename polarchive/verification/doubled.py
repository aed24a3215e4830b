"""Take each operation in double precision and round once: what float32 would come to without its own rounding."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


class Doubled(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Compute what takes float32 in float64, and round what comes out, so that loops and states stay as they are.

    Left alone is what does no arithmetic (views, conversions) and what draws random numbers: a double draws others.
    Only the calling thread is affected, which on a GPU does not compute gradients.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func` in double precision; what it writes to in place is written back."""
        named = dict(kwargs or {})
        narrow = _narrow(func, (args, named))
        if not narrow:
            return func(*args, **named)
        wide = {key: tensor.double() for key, tensor in narrow.items()}
        own = {id(tensor): narrow[key] for key, tensor in wide.items()}
        doubled_args, doubled_named = tree_map(_replacing(wide), (args, named))
        result = func(*doubled_args, **doubled_named)
        for key, tensor in narrow.items():
            if _writes(func) and not torch.equal(wide[key], tensor.double()):
                tensor.copy_(wide[key])
        return tree_map(_rounded, tree_map(_replacing(own), result))


def _narrow(func: Any, arguments: Any) -> dict[int, Tensor]:
    """Return the float32 tensors that an operation takes, by identity; none if it is to be left alone."""
    tensors = [each for each in tree_leaves(arguments) if isinstance(each, Tensor)]
    views = any(result.alias_info and not result.alias_info.is_write for result in func._schema.returns)
    drawn = torch.Tag.nondeterministic_seeded in func.tags
    if views or drawn or arguments[1].get("dtype") is not None or any(each.dtype == torch.float64 for each in tensors):
        return {}
    return {id(each): each for each in tensors if each.dtype == torch.float32}


def _writes(func: Any) -> bool:
    return func._schema.is_mutable or "batch_norm" in func._schema.name  # whose schema hides that statistics change


def _replacing(tensors: Mapping[int, Tensor]) -> Callable[[Any], Any]:
    return lambda value: tensors.get(id(value), value) if isinstance(value, Tensor) else value


def _rounded(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float64 else value
