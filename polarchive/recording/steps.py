"""Collect the rows of the segment that is open."""

from typing import Any

from polarchive.format.commitment import BatchRow
from polarchive.format.entry import Hyper, StepRow
from polarchive.format.spelling import encode_row


class Steps:
    """Collect steps of `micro` batches each, of which a row states what settings changed since the one before."""

    def __init__(self, step: int, micro: int) -> None:
        self.step = step
        self.rows: list[bytes] = []
        self.first: Hyper = {}
        self.records = 0
        self.salts = 0  # how many the open step has used
        self._micro = micro
        self._batches: list[BatchRow] = []
        self._last: Hyper = {}
        self._changes: Hyper | None = None

    def begin(self, hyper: Hyper) -> None:
        """Begin a step under `hyper`."""
        if not self.rows:
            self.first = self._last = hyper
        self._changes = {key: value for key, value in hyper.items() if not _same(value, self._last.get(key))} or None
        self._last = hyper

    def add(self, row: BatchRow) -> None:
        """Add a batch to the open step, which its last one makes a row."""
        self._batches.append(row)
        self.records += row.count
        self.salts += 1 + row.count
        if len(self._batches) == self._micro:
            self.rows.append(encode_row(StepRow(self.step, tuple(self._batches), self._changes)))
            self._batches, self.salts = [], 0
            self.step += 1

    def clear(self) -> None:
        """Begin the next segment."""
        self.rows, self.records = [], 0


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right
