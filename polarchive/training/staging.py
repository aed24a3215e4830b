"""Copy a state out of a model while training waits as little as possible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from polarchive.format.tensors import Layout, Spec, in_order
from polarchive.recording.snapshot import Copying, State
from polarchive.training.arrays import DTYPES, require_plain, to_array


class Lane:
    """Copy tensors of one accelerator: there at once, and to the host while training goes on.

    The next step may change the tensors as soon as the first copy is queued before it, on its stream.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._pinned: Any = None

    def copy(self, tensors: Sequence[Tensor], target: Tensor) -> None:
        """Begin to copy tensors, one after the other, into one on the host."""
        copies = torch.cat(list(tensors))
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            target.copy_(copies, non_blocking=True)
            self._event.record(self._stream)
        copies.record_stream(self._stream)  # else its memory would be given to others too early

    def pin(self, memory: memoryview) -> None:
        """Let the accelerator write to the shared memory by itself; where it cannot, its copies take longer."""
        if memory.obj is self._pinned:
            return
        runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        if self._pinned is not None:
            runtime.cudaHostUnregister(torch.frombuffer(self._pinned, dtype=torch.uint8).data_ptr())
        whole = torch.frombuffer(memory.obj, dtype=torch.uint8)
        runtime.cudaHostRegister(whole.data_ptr(), whole.numel(), 0)
        self._pinned = memory.obj

    def done(self) -> bool:
        """Tell whether all is on the host."""
        return bool(self._event.query())  # type: ignore[no-untyped-call]

    def wait(self) -> None:
        """Wait until it is."""
        self._event.synchronize()


class Staging:
    """Make snapshots of states, and keep what copying them again and again needs."""

    def __init__(self, lane: type[Lane] = Lane) -> None:
        self._make = lane
        self._lanes: dict[torch.device, Lane] = {}
        self._kinds: list[tuple[Any, ...]] = []
        self._layout: Layout = ()

    def of(self, state: Mapping[str, Tensor]) -> "TensorSnapshot":
        """Return the snapshot of a state, which is to be taken before a step changes it.

        TypeError names a tensor that cannot be recorded. Of states alike the snapshots share one layout.
        """
        kinds = [(name, *_kind(tensor)) for name, tensor in state.items()]
        if kinds != self._kinds:
            self._layout = in_order(_spec(name, tensor) for name, tensor in state.items())
            self._kinds = kinds
        return TensorSnapshot(self._layout, state, self)

    def lane(self, device: torch.device) -> Lane:
        """Return the way to copy from an accelerator."""
        if device not in self._lanes:
            self._lanes[device] = self._make(device)
        return self._lanes[device]


@dataclass(frozen=True, slots=True)
class TensorSnapshot:
    """Give the content of tensors, wherever they lie; `layout` has them in the order of storage."""

    layout: Layout
    state: Mapping[str, Tensor]
    staging: Staging

    def arrays(self) -> State:
        """Return the tensors as arrays, which share the memory of those that lie in the processor's."""
        return {name: to_array(tensor, name) for name, tensor in self.state.items()}

    @torch.no_grad()
    def into(self, memory: memoryview) -> Copying:
        """Copy all tensors; those of an accelerator may still be under way."""
        lanes, start = [], 0
        for (device, dtype), specs in groupby(self.layout, self._place):
            tensors = [self.state[spec.name] for spec in specs]
            stop = start + sum(tensor.nbytes for tensor in tensors)
            if start < stop:
                target = torch.frombuffer(memory[start:stop], dtype=dtype)
                lanes += self._copy(device, tensors, target, memory)
            start = stop
        return Fetching(lanes)

    def _place(self, spec: Spec) -> tuple[torch.device, torch.dtype]:
        tensor = self.state[spec.name]
        return tensor.device, tensor.dtype

    def _copy(self, device: torch.device, tensors: list[Tensor], target: Tensor, memory: memoryview) -> list[Lane]:
        """Copy tensors of one place next to one another, and return what is under way."""
        if device.type == "cpu":
            torch.cat([tensor.reshape(-1) for tensor in tensors], out=target)
            return []
        lane = self.staging.lane(device)
        lane.pin(memory)
        lane.copy([tensor.reshape(-1) for tensor in tensors], target)
        return [lane]


@dataclass(frozen=True, slots=True)
class Fetching:
    """Stand for copies from accelerators that are under way."""

    lanes: Sequence[Copying]

    def done(self) -> bool:
        """Tell whether all have ended."""
        return all(lane.done() for lane in self.lanes)

    def wait(self) -> None:
        """Wait until all have."""
        for lane in self.lanes:
            lane.wait()


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.device, tensor.dtype, tensor.shape


def _spec(name: str, tensor: Tensor) -> Spec:
    require_plain(tensor, name)
    return Spec(name, DTYPES[tensor.dtype], tuple(tensor.shape))
