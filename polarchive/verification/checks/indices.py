"""Ask whether every epoch visits the records of a dataset once: who may repeat them may choose what is learned."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from polarchive.format.archive import Archive
from polarchive.verification.finding import Finding, Outcome, advice, passed

CHECK: Final = "indices"
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Indices:
    """Hold every `epoch` records of the run to be different records of the dataset; the last epoch may be shorter.

    That is the dataset's size where the loader's last batch of an epoch is shorter, or reaches into the next one, and
    less by what it drops where it drops that batch: fewer are refused, for then some records are never visited. Without
    `epoch` nothing is demanded, and how often records are used is said as advice. What batches that are fed hold,
    cannot be told from indices.
    """

    epoch: int | None = None

    def __call__(self, archive: Archive) -> Iterator[Finding]:
        """Report every epoch in which a record comes twice, or what there is to know without an epoch."""
        size = archive.header.commitment.size
        if size is None:
            outcome = Outcome.ADVICE if self.epoch is None else Outcome.UNKNOWN
            yield Finding(CHECK, outcome, "the run is fed: whether its records repeat was not checked")
        elif self.epoch is None:
            yield advice(CHECK, _told(archive, size))
        else:
            yield from self._judged(archive, size, self.epoch)

    def _judged(self, archive: Archive, size: int, epoch: int) -> Iterator[Finding]:
        left = size - epoch
        if left >= _largest_batch(archive):
            message = f"epochs of {epoch} records leave out {left} of {size}, a batch or more"
            yield Finding(CHECK, Outcome.FAILED, message)
            return
        wrong = list(_repeats(archive, size, epoch))
        yield from wrong
        if not wrong:
            yield passed(CHECK, f"no epoch of {epoch} records visits one of {size} twice")


def _repeats(archive: Archive, size: int, epoch: int) -> Iterator[Finding]:
    """Yield, for each epoch, the first step that uses a record again."""
    seen, place, told = np.zeros(size, np.bool_), 0, False
    for segment, step, rows in _rows(archive):
        for part in _cut(rows, epoch - place % epoch, epoch):
            if place % epoch == 0:
                seen[:], told = False, False
            again = _again(seen, part)
            if again is not None and not told:
                told = True
                message = f"record {again} comes twice in epoch {place // epoch}"
                yield Finding(CHECK, Outcome.FAILED, message, segment, step)
            seen[part] = True
            place += len(part)


def _cut(rows: Rows, first: int, epoch: int) -> Iterator[Rows]:
    """Yield rows in parts that end where epochs do, the first after `first` of them."""
    start, end = 0, first
    while start < len(rows):
        yield rows[start:end]
        start, end = end, end + epoch


def _again(seen: npt.NDArray[np.bool_], part: Rows) -> int | None:
    """Return a record that was seen before, or that comes twice here."""
    values, counts = np.unique(part, return_counts=True)
    odd = values[(counts > 1) | seen[values]]
    return int(odd[0]) if len(odd) else None


def _told(archive: Archive, size: int) -> str:
    counts = np.zeros(size, np.int64)
    for _, _, rows in _rows(archive):
        np.add.at(counts, rows, 1)
    most, total = int(counts.argmax()), int(counts.sum())
    passes = f"{total} uses of {size} records: record {most} is used {counts[most]} times, {(counts == 0).sum()} never"
    epoch = next((each for each in _likely(archive, size) if not any(_repeats(archive, size, each))), None)
    return f"{passes}; " + (f"no epoch of {epoch} visits one twice" if epoch else "they are drawn with replacement")


def _likely(archive: Archive, size: int) -> Iterator[int]:
    """Yield how many records an epoch may have: all, or as many as fill batches."""
    yield size
    if dropped := size % max(_largest_batch(archive), 1):
        yield size - dropped


def _largest_batch(archive: Archive) -> int:
    return max((len(rows) for _, _, rows in _rows(archive)), default=0)


def _rows(archive: Archive) -> Iterator[tuple[int, int, Rows]]:
    """Yield segment, step and the records of every step, in order; that each is in range, the archive has checked."""
    for segment in archive.segments:
        for step in archive.steps(segment.index):
            indices = [index for batch in step.batches for index in batch.indices or ()]
            yield segment.index, step.step, np.array(indices, np.int64)
