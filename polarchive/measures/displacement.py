"""Measure how far each segment moved the model, from states whose digests were checked."""

import numpy as np

from polarchive.errors import OpeningError
from polarchive.format.archive import Archive
from polarchive.format.schema import BOUNDED, values
from polarchive.format.tensors import Array

State = dict[str, Array]


def displacements(archive: Archive) -> list[float | None]:
    """Return the Euclidean length of every segment's update, None where a state is not there to measure it from.

    Measured are the tensors of floats that state 0 has: parameters and buffers, not what the optimizer adds later.
    Sums are taken in float64. DigestError if a state is not the committed one.
    """
    names = [
        spec.name for spec in archive.header.layout if spec.dtype.startswith(("F", "BF")) and spec.dtype in BOUNDED
    ]
    found: list[float | None] = []
    before = _state(archive, 0)
    for index in range(1, len(archive.segments) + 1):
        after = _state(archive, index)
        found.append(None if before is None or after is None else _length(before, after, names))
        before = after
    return found


def _state(archive: Archive, index: int) -> State | None:
    try:
        return archive.state(index) if archive.is_stored(index) else None
    except OpeningError:
        return None


def _length(before: State, after: State, names: list[str]) -> float:
    squares = (_square(before[name], after[name]) for name in names if name in before and name in after)
    return float(np.sqrt(sum(squares)))


def _square(before: Array, after: Array) -> float:
    if before.shape != after.shape:
        return float("inf")  # what changes its shape is worth a look
    with np.errstate(invalid="ignore", over="ignore"):
        moved = values(after).astype(np.float64) - values(before).astype(np.float64)
        square = float(np.sum(moved * moved))
    return square if np.isfinite(square) else float("inf")
