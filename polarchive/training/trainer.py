"""Hold everything that a training step reads and writes, as named tensors (SPEC.md, "Names of tensors")."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from polarchive.errors import TrainerError
from polarchive.format.entry import Hyper
from polarchive.training import optimizers
from polarchive.training.arrays import require_plain
from polarchive.training.values import SEPARATOR, checked, flatten, nest, restore

State = dict[str, Tensor]
Batch = Any


class Trainer(Protocol):
    """Hold a training in progress: what the writer copies and what the judge replays."""

    def save(self) -> State:
        """Return copies of all state, on its device."""

    def load(self, state: State) -> None:
        """Take over `state` in place and in total: what it lacks is absent afterwards; gradients are cleared."""

    def hyper(self) -> Hyper:
        """Return the hyper-parameters as the next step will use them."""

    def impose(self, hyper: Hyper) -> None:
        """Set the hyper-parameters for the next step."""

    def step(self, batches: Iterable[Batch]) -> None:
        """Make one update from its batches (one, or several when gradients accumulate)."""


def require_trainer(given: object, what: str) -> None:
    """Raise TypeError, which says how to make one, unless `given` is a trainer."""
    if not all(callable(getattr(given, name, None)) for name in ("save", "load", "hyper", "impose")):
        wrap = "wrap it: pol.TorchTrainer(model=model, optimizer=optimizer)"
        raise TypeError(f"{what} is a {type(given).__name__}, which is no trainer; {wrap}")


class TorchTrainer:
    """Hold modules, optimizers, and whatever else has a state dict, under the names they are given by.

    `TorchTrainer(model=model, optimizer=optimizer)` is all that recording needs; a judge gives `step` too, the loop
    body over one update's batches, and perhaps `schedule`, the hyper-parameters that a given step should have. Batches
    are taken one after the other, for each is seeded when it is taken. State is parameters, buffers (non-persistent
    ones too), optimizer state by parameter, and the values of other parts. TypeError, naming the tensor, if something
    cannot be recorded.
    """

    def __init__(
        self,
        step: Callable[[Iterable[Batch]], None] | None = None,
        *,
        schedule: Callable[[int], Hyper] | None = None,
        **parts: Any,
    ) -> None:
        self._step = step
        self.schedule = schedule
        self._parts = {checked(name, "TorchTrainer"): part for name, part in parts.items()}
        self._hyper = optimizers.Known([None], {})
        self._require_supported()

    def save(self) -> State:
        """Return copies of all state, on its device."""
        return {name: _copy(tensor, name) for name, tensor in self._values()}

    def view(self) -> State:
        """Return all state as it is: the next step changes it."""
        return dict(self._values())

    @torch.no_grad()
    def load(self, state: State) -> None:
        """Take over `state`; TrainerError names a tensor that it lacks, or that this trainer has no place for."""
        try:
            self._load(state)
        except (LookupError, ValueError, TypeError, RuntimeError, AttributeError) as error:  # a stranger's state
            raise TrainerError(f"the state cannot be loaded: {type(error).__name__}: {error}") from error

    def _load(self, state: State) -> None:
        tree = nest(state)
        parameters = self._parameters()
        self._load_tensors({name: tensor for name, tensor in state.items() if self._is_tensor_name(name)})
        for name, part in self._parts.items():
            if isinstance(part, Optimizer):
                optimizers.load(part, tree.pop(name, {}), parameters)
            elif not isinstance(part, nn.Module | Tensor):
                part.load_state_dict(restore(tree.pop(name, {})))
        unknown = sorted(tree.keys() - self._parts.keys())
        if unknown:
            raise TrainerError(f"the trainer has no place for {unknown[0]}, which the state holds")

    def hyper(self) -> Hyper:
        """Return every optimizer's imposed settings, as OPTIMIZER/GROUP/NAME."""
        raw = [value for _, part in self._optimizers() for value in optimizers.raw_settings(part)]
        if not self._hyper.holds(raw):
            found: dict[str, float | bool | None] = {}
            for name, part in self._optimizers():
                found.update(optimizers.hyper(part, name))
            self._hyper = optimizers.Known.of(raw, found)
        return self._hyper.found

    def impose(self, hyper: Hyper) -> None:
        """Set every optimizer's imposed settings; TrainerError unless `hyper` names exactly these."""
        if hyper.keys() != self.hyper().keys():
            odd = sorted(hyper.keys() ^ self.hyper().keys())
            raise TrainerError(f"the hyper-parameter {odd[0]} is not both in the record and in the trainer")
        for name, part in self._optimizers():
            optimizers.impose(part, name, hyper)

    def step(self, batches: Iterable[Batch]) -> None:
        """Make one update with the step that the trainer was given."""
        if self._step is None:
            raise TrainerError("this trainer was made without a step: TorchTrainer(step, model=…)")
        self._step(batches)

    def _values(self) -> Iterator[tuple[str, Tensor]]:
        tensors = list(self._tensors())
        yield from tensors
        parameters = {id(tensor): name for name, tensor in tensors}
        for name, part in self._parts.items():
            if isinstance(part, Optimizer):
                yield from optimizers.values(part, name, parameters)
            elif not isinstance(part, nn.Module | Tensor):
                for key, value in part.state_dict().items():
                    yield from flatten(value, f"{name}{SEPARATOR}{checked(key, name)}")

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        for name, part in self._parts.items():
            for path, tensor in _named(part):
                if id(tensor) not in seen:  # tied tensors are recorded once, under their first name
                    seen.add(id(tensor))
                    yield (f"{name}{SEPARATOR}{path}" if path else name), tensor

    def _buffers(self) -> Iterator[tuple[str, nn.Module, str]]:
        for name, part in self._parts.items():
            for path, module in part.named_modules() if isinstance(part, nn.Module) else ():
                yield from ((f"{name}{SEPARATOR}{_plain(f'{path}.{key}')}", module, key) for key in module._buffers)

    def _parameters(self) -> dict[int, str]:
        return {id(tensor): name for name, tensor in self._tensors()}

    def _optimizers(self) -> Iterator[tuple[str, Optimizer]]:
        return ((name, part) for name, part in self._parts.items() if isinstance(part, Optimizer))

    def _is_tensor_name(self, name: str) -> bool:
        return isinstance(self._parts.get(name.split(SEPARATOR)[0]), nn.Module | Tensor)

    def _fit_buffers(self, state: State) -> None:
        """Make every buffer absent or present as in `state`, and dense: an expanded one cannot be written."""
        first = self._parameters()  # a tied buffer goes by its first name
        for path, module, key in self._buffers():
            buffer = module._buffers[key]
            recorded = state.get(first.get(id(buffer), path))
            if buffer is None or recorded is None:
                module._buffers[key] = None if recorded is None else recorded.clone()
            elif 0 in buffer.stride():
                module._buffers[key] = buffer.clone(memory_format=torch.contiguous_format)

    def _load_tensors(self, state: State) -> None:
        self._fit_buffers(state)
        own = dict(self._tensors())
        if own.keys() != state.keys():
            odd = sorted(own.keys() ^ state.keys())[0]
            raise TrainerError(f"tensor {odd} is not both in the record and in the trainer")
        for name, tensor in own.items():
            if (tensor.shape, tensor.dtype) != (state[name].shape, state[name].dtype):
                raise TrainerError(f"tensor {name}: {state[name].dtype} {tuple(state[name].shape)} in the record")
            tensor.copy_(state[name])
            tensor.grad = None

    def _require_supported(self) -> None:
        for name, part in self._parts.items():
            if isinstance(part, LRScheduler):
                raise TypeError(
                    f"{name}: a scheduler is not given to the trainer; its settings are recorded step by step"
                )
            if isinstance(part, nn.Module):
                _require_no_extra_state(part, name)
            elif not isinstance(part, Optimizer | Tensor) and not hasattr(part, "load_state_dict"):
                raise TypeError(f"{name}: a {type(part).__name__} has no state to record")
        named: set[str] = set()
        for name, tensor in self._tensors():
            require_plain(tensor, name)
            if name in named:
                raise TypeError(f"{name}: two tensors have this name once wrappers' prefixes are taken off")
            named.add(name)
        parameters = self._parameters()
        for name, optimizer in self._optimizers():
            optimizers.require_known(optimizer, name, parameters)


def _named(part: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(part, Tensor):
        yield "", part
    elif isinstance(part, nn.Module):
        for path, tensor in (*part.named_parameters(), *part.named_buffers()):
            yield _plain(path), tensor


@lru_cache(maxsize=1 << 16)
def _plain(path: str) -> str:
    """Return a path without the words that wrappers put into it."""
    return checked(".".join(word for word in path.split(".") if word not in ("", "_orig_mod", "module")), path)


def _copy(tensor: Tensor, name: str) -> Tensor:
    require_plain(tensor, name)
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _require_no_extra_state(module: nn.Module, name: str) -> None:
    for path, child in module.named_modules():
        if type(child).get_extra_state is not nn.Module.get_extra_state:
            raise TypeError(f"{name}/{path}: extra state (get_extra_state) cannot be recorded")
