"""Take updates as CUDA graphs, where launching a step's kernels one by one takes longer than they do."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from polarchive.errors import TrainerError
from polarchive.format.entry import Hyper
from polarchive.training.optimizers import raw_settings
from polarchive.training.trainer import Batch, State, TorchTrainer

_WARM: Final = 2  # steps of a kind that are taken as they are before it is captured: libraries prepare in these
_MOST: Final = 4  # graphs at a time: each keeps the memory that its step takes

Update = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Captured:
    """Hold a graph and the tensors that it reads its inputs from."""

    inputs: tuple[Tensor, ...]
    graph: torch.cuda.CUDAGraph

    def replay(self, inputs: Sequence[Tensor]) -> None:
        """Take the update on other inputs of the same shapes."""
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        self.graph.replay()


class Side:
    """Take updates on a stream of their own, as capturing demands; the current stream waits meanwhile."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def run(self, update: Update, inputs: Sequence[Tensor]) -> None:
        """Take an update as it is."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            update(*inputs)
        current.wait_stream(self._stream)

    def capture(self, update: Update, inputs: Sequence[Tensor]) -> Captured:
        """Return the graph of an update, which is not taken by this."""
        own, graph = tuple(tensor.clone() for tensor in inputs), torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            update(*own)
        return Captured(own, graph)


class Graphed(TorchTrainer):
    """Hold what a `TorchTrainer` holds, and take its updates as CUDA graphs; on the CPU, and until then, as they are.

    `Graphed(inputs, update, model=model, optimizer=optimizer)`: `inputs(batch)` returns the tensors that an update
    begins with, and does what a graph cannot, as drawing random numbers on the CPU. `update(*tensors)` does all the
    rest, clears the gradients too, and must do the same each time: no `.item()`, nothing counted in Python. An update
    is of one batch; TrainerError if gradients accumulate over several.

    The third of three steps alike is captured: same shapes, settings, and numerics, and all state on the device, where
    it was before. Other steps are taken as they are. So a learning rate that changes with each step must be a tensor.
    Optimizers are made `capturable` on a GPU, so that loading a state leaves it in its place; those that count steps
    (Adam) then round otherwise than one that is not, which the prover may have had.

    This has not run on a GPU yet: tools/check_gpu.py compares it there with the update as it is. What is tested is
    when it captures, with a stand-in for the graph.
    """

    _of: str = "cuda"
    _side: type[Side] = Side

    def __init__(
        self,
        inputs: Callable[[Batch], Sequence[Tensor]],
        update: Update,
        /,
        *,
        schedule: Callable[[int], Hyper] | None = None,
        **parts: Any,
    ) -> None:
        super().__init__(schedule=schedule, **parts)
        self._inputs, self._update = inputs, update
        self._graphs: dict[Hashable, Captured] = {}
        self._alike: tuple[Hashable, int] = (None, 0)
        self._device = next((each.device for each in self.view().values() if each.device.type == self._of), None)
        self._apart = self._side(self._device) if self._device is not None else None
        if self._apart is not None:
            self._stay()
        self._places = self._found()

    def load(self, state: State) -> None:
        """Take over `state`; what was captured is of no use if that moves a tensor."""
        super().load(state)
        self._remember()

    def step(self, batches: Iterable[Batch]) -> None:
        """Make one update from its batch; TrainerError if there are more."""
        fed = iter(batches)
        inputs = self._inputs(next(fed))
        if next(fed, None) is not None:
            raise TrainerError("a graphed update is of one batch, and gradients accumulate over several")
        if self._apart is None:
            self._update(*inputs)
        else:
            self._take(self._apart, [tensor.to(self._device, non_blocking=True) for tensor in inputs])

    def _take(self, apart: Side, inputs: Sequence[Tensor]) -> None:
        kind = self._kind(inputs)
        if kind not in self._graphs and self._places is not None and self._alike == (kind, _WARM):
            self._clear()
            self._keep(kind, apart.capture(self._update, inputs))
        if kind in self._graphs:
            self._graphs[kind].replay(inputs)
            return
        apart.run(self._update, inputs)
        self._alike = (kind, self._alike[1] + 1 if self._alike[0] == kind else 1)
        self._remember()

    def _keep(self, kind: Hashable, captured: Captured) -> None:
        if len(self._graphs) == _MOST:
            del self._graphs[next(iter(self._graphs))]
        self._graphs[kind] = captured

    def _remember(self) -> None:
        """Forget what was captured if a tensor lies elsewhere now."""
        places = self._found()
        if places != self._places:
            self._places, self._alike = places, (None, 0)
            self._graphs.clear()

    def _found(self) -> Hashable:
        """Return where all state lies; None if some of it is a value of Python's, or not on the device."""
        state = self.view()
        if any(tensor.device != self._device for tensor in state.values()):
            return None
        return frozenset((name, tensor.data_ptr(), tensor.stride()) for name, tensor in state.items())

    def _kind(self, inputs: Sequence[Tensor]) -> Hashable:
        """Return all that a graph is made for once: shapes, settings, and what rounding depends on."""
        shapes = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in inputs)
        settings = tuple(_fixed(value) for _, part in self._optimizers() for value in raw_settings(part))
        return shapes, settings, _numerics()

    def _clear(self) -> None:
        """Let a graph make its own gradients: it would go on writing to others when these are long given back."""
        for tensor in self.view().values():
            tensor.grad = None

    def _stay(self) -> None:
        """Let loading a state leave every tensor in its place."""
        for _, part in self._optimizers():
            for group in part.param_groups:
                group["capturable"] = True


def _fixed(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return value.data_ptr()  # read by the graph when it is replayed
    return tuple(map(_fixed, value)) if isinstance(value, list | tuple) else value


def _numerics() -> Hashable:
    backends = torch.backends
    tf32 = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
    return torch.get_deterministic_debug_mode(), backends.cudnn.enabled, backends.cudnn.benchmark, tf32
