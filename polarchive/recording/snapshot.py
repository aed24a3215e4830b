"""Stand for a state that is about to be recorded, wherever its tensors lie."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from polarchive.format.tensors import Array, Layout, layout_of

State = Mapping[str, Array]


class Copying(Protocol):
    """Stand for a copy that may still be under way."""

    def done(self) -> bool:
        """Tell whether it has ended."""

    def wait(self) -> None:
        """Wait until it has ended."""


class Snapshot(Protocol):
    """Give the content of a state once, before the step that follows changes it."""

    @property
    def layout(self) -> Layout:
        """Return its tensors in the order of storage."""

    def arrays(self) -> State:
        """Return its tensors, perhaps as they lie in the model."""

    def into(self, memory: memoryview) -> Copying:
        """Copy its tensors, one after the other, into memory of just their size."""


class Copied:
    """Stand for a copy that has ended."""

    def done(self) -> bool:
        """Tell that it has."""
        return True

    def wait(self) -> None:
        """Return at once."""


@dataclass(frozen=True, slots=True)
class Arrays:
    """Give a state that lies in the processor's memory."""

    state: State

    @property
    def layout(self) -> Layout:
        """Return its tensors in the order of storage."""
        return layout_of(self.state)

    def arrays(self) -> State:
        """Return the state itself."""
        return self.state

    def into(self, memory: memoryview) -> Copying:
        """Copy its tensors."""
        start = 0
        for spec in self.layout:
            memory[start : start + spec.nbytes] = memoryview(self.state[spec.name].data).cast("B")
            start += spec.nbytes
        return Copied()


def seen(layout: Layout, memory: memoryview) -> Arrays:
    """Return the state that `into` copied."""
    state, start = {}, 0
    for spec in layout:
        state[spec.name] = Array(spec.dtype, spec.shape, memory[start : start + spec.nbytes])
        start += spec.nbytes
    return Arrays(state)
