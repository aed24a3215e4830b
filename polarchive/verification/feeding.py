"""Take the steps of a segment in the judge's trainer, on batches that are checked against their commitments."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from polarchive.errors import OpeningError, TrainerError
from polarchive.format.commitment import BatchRow, Opening
from polarchive.format.log import Step
from polarchive.training import seeds
from polarchive.training.batches import to_batch
from polarchive.verification.case import Case


def steps(case: Case, index: int) -> Iterator[int]:
    """Yield the number of each step of segment `index` before it is taken.

    Raises OpeningError for a batch that is not the committed one, and what the judge's own code raises.
    """
    epoch = case.archive.segments[index].epoch
    for step in case.archive.steps(index):
        yield step.step
        case.trainer.impose(step.hyper)
        feed = _Feed(case, step, epoch)
        case.trainer.step(iter(feed))
        if not feed.done:
            raise TrainerError("the trainer's step did not take all batches of its update")


class _Feed:
    """Give a step its batches, each checked against its commitment, and seed what it does with each."""

    def __init__(self, case: Case, step: Step, epoch: int) -> None:
        self.done = False
        self._case, self._step, self._epoch = case, step, epoch

    def __iter__(self) -> Iterator[Any]:
        header = self._case.archive.header
        shown = _parts(self._shown(), header.micro)
        start = 0
        for micro, (batch, row) in enumerate(zip(shown, self._step.batches, strict=True)):
            columns = to_batch(batch, header.schema)
            header.schema.check(columns)
            Opening(columns, self._salts(start, columns.count, row)).check(row)
            start += 1 + columns.count
            seeds.apply(seeds.derive(header.run, self._step.step, micro))
            self.done = micro + 1 == header.micro
            yield batch

    def _shown(self) -> Any:
        """Return what the judge's function shows for the step; in indexed mode it is told which records to show."""
        if self._case.archive.header.commitment.mode == "fed":
            return self._case.batches(self._step.step)
        rows = [np.array(row.indices, np.int64) for row in self._step.batches]
        return self._case.batches(self._step.step, rows[0] if len(rows) == 1 else rows)

    def _salts(self, start: int, count: int, row: BatchRow) -> bytes:
        salts, step = self._case.salts, self._step.step
        if row.indices is None:
            return salts.of(self._epoch, step, start, 1 + count)
        return salts.of(self._epoch, step, start, 1) + salts.of_rows(row.indices)


def _parts(shown: Any, micro: int) -> list[Any]:
    parts = [shown] if micro == 1 else list(shown)
    if len(parts) != micro:
        raise OpeningError(f"{len(parts)} batches were shown for a step of {micro}")
    return parts
