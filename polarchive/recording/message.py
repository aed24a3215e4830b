"""Say what is in shared memory, so that the process at the other end of the connection can see it."""

from collections.abc import Mapping
from dataclasses import dataclass

from polarchive.format.commitment import Batch, Column, Texts
from polarchive.format.tensors import Array, Layout
from polarchive.recording.ring import Window
from polarchive.recording.snapshot import Arrays, seen


@dataclass(frozen=True, slots=True)
class Placed:
    """Say where a state or the fields of a batch lie; of a batch, how many records it has and which are its own.

    A state without a layout has that of the one before.
    """

    start: int
    layout: Layout | None
    count: int = 0
    texts: Mapping[str, Texts] | None = None
    columns: frozenset[str] = frozenset()


def parts(batch: Batch) -> tuple[Arrays, dict[str, Texts], frozenset[str]]:
    """Return the arrays of a batch, its strings, and the names of its columns."""
    arrays = {name: column for name, column in batch.columns.items() if isinstance(column, Array)}
    texts = {name: column for name, column in batch.columns.items() if isinstance(column, Texts)}
    return Arrays({**arrays, **batch.whole}), texts, frozenset(batch.columns)


class Reader:
    """See states and batches where the other process has placed them."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._layout: Layout = ()

    def state(self, placed: Placed) -> Arrays:
        """Return a state."""
        self._layout = self._layout if placed.layout is None else placed.layout
        return self._seen(placed.start, self._layout)

    def batch(self, placed: Placed) -> Batch:
        """Return a batch."""
        fields = self._seen(placed.start, placed.layout or ()).state
        columns: dict[str, Column] = {name: array for name, array in fields.items() if name in placed.columns}
        whole = {name: array for name, array in fields.items() if name not in placed.columns}
        return Batch(placed.count, columns | dict(placed.texts or {}), whole)

    def _seen(self, start: int, layout: Layout) -> Arrays:
        return seen(layout, self._window.piece(start, sum(spec.nbytes for spec in layout)))
