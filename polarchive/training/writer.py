"""Record a training run with one added line: `log.record(batch)`, first in the loop's body."""

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from polarchive.errors import OpeningError, RecordingError
from polarchive.format import note
from polarchive.format.commitment import Batch
from polarchive.format.entry import Header, Hyper, Initial
from polarchive.format.schema import Schema
from polarchive.recording.dataset import Dataset
from polarchive.recording.stamping import Stamping
from polarchive.recording.start import Begun, Wanted, begin
from polarchive.training import seeds, stack
from polarchive.training.arrays import to_tensors
from polarchive.training.batches import to_batch
from polarchive.training.seeds import Seeds
from polarchive.training.staging import Staging
from polarchive.training.trainer import Trainer, require_trainer


class Writer:
    """Write a run directory while training runs.

    A step is everything between one `record` and the next. `record` copies the state if a segment begins, commits the
    batch as it was loaded, notes the hyper-parameters that the step will use, and seeds the step. `every` steps make a
    segment; `accumulate` records make a step. `seed` says that the model was built under `torch.manual_seed(seed)`, so
    that a judge can explain state 0. Leaving the block records the last state; leaving it by an exception drops the
    open segment. RecordingError says what in the loop to change, or what went wrong with an earlier step.

    `store` keeps every so many-th state (and the last) and commits to the others by their roots. `dataset` names
    records that are committed once, for `record(rows=…)`. `resume` goes on with the run in `folder`, if there is one:
    the trainer then holds its last durable state, and the loop is to go on from `step`. A process of its own writes;
    with `background` false `record` does, and returns when all is on disk. `stamps` has heads stamped meanwhile, for
    which only the end waits: a warning then says what is lacking.
    """

    def __init__(
        self,
        folder: str | Path,
        trainer: Trainer,
        *,
        every: int,
        signer: note.Signer,
        seed: int | None = None,
        accumulate: int = 1,
        salted: bool = True,
        schema: Callable[[Batch], Schema] = Schema.of,
        store: int = 1,
        dataset: Dataset | None = None,
        stamps: Stamping | None = None,
        resume: bool = False,
        background: bool = True,
        run: bytes | None = None,
    ) -> None:
        if every < 1 or accumulate < 1 or store < 1:
            raise ValueError("every, accumulate and store are at least 1")
        require_trainer(trainer, "what is to be recorded")
        self._folder, self._trainer, self._every, self._accumulate = Path(folder), trainer, every, accumulate
        self._initial = Initial("unexplained") if seed is None else Initial("seeded", seed=seed)
        self._wanted = Wanted(Path(folder), signer.key, every, accumulate, salted, store, dataset, run, stamps)
        begun = begin(self._wanted, resume)
        self._run, self._schema, self._schema_of = begun.task.run, begun.schema, schema
        self._step = begun.task.position.steps
        self._goes_on = begun.state is not None
        self._recorder = begun.recording(signer, background)
        self._load(begun)
        self._staging = Staging()
        self._seeds = Seeds(self._run, self._step, accumulate)
        self._steps, self._micro = 0, 0  # of the open segment, of the open step
        self._opened = False
        self._hyper: Hyper = {}

    @property
    def step(self) -> int:
        """Return the step that the next `record` is for."""
        return self._step

    @property
    def durable(self) -> int:
        """Return how many steps are on disk under a signed head."""
        return self._recorder.durable

    def record(self, batch: object = None, *, rows: Sequence[int] | None = None) -> None:
        """Record `batch`, as the loader gave it, for the step that now begins; then seed that step.

        In indexed mode give `rows` instead: where in the dataset the records of the batch are.
        """
        columns = self._columns(batch, rows)
        if not self._micro:
            self._begin()
        if columns is not None:
            self._recorder.batch(columns)
        elif rows is not None:
            self._recorder.rows(_integers(rows))
        seeds.apply(self._seeds.next())
        self._micro += 1
        if self._micro == self._accumulate:
            self._step, self._steps, self._micro = self._step + 1, self._steps + 1, 0

    def close(self) -> None:
        """Record the last state and the end of the run, and wait until all is on disk."""
        if not self._opened and not self._goes_on:
            self.abandon()
            raise RecordingError(f"{self._folder}: no batch was recorded")
        try:
            self._finish()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Stop recording and drop the open segment; what was recorded before it becomes durable."""
        if said := self._recorder.stop():
            warnings.warn(said, stacklevel=4)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        try:
            self.abandon()
        except RecordingError as failed:  # the exception that ends the block is the one to see
            warnings.warn(str(failed), stacklevel=2)

    def _load(self, begun: Begun) -> None:
        """Put the trainer where a run that goes on had come to."""
        if begun.state is None:
            return
        if begun.dropped:
            what = f"{begun.dropped} bytes after the last signed head were dropped"
            warnings.warn(f"{self._folder}: goes on from step {self._step}; {what}", stacklevel=3)
        self._trainer.load(to_tensors(begun.state))
        if begun.hyper is not None:
            self._trainer.impose(begun.hyper)

    def _columns(self, batch: object, rows: Sequence[int] | None) -> Batch | None:
        """Return a batch as columns that fit the schema, None where rows of the dataset stand for it."""
        if (rows is None) != (self._wanted.dataset is None):
            raise RecordingError("record(rows=…) goes with Writer(…, dataset=…), and record(batch) without")
        if rows is not None:
            return None
        self._schema = self._schema or self._schema_of(to_batch(batch))
        columns = to_batch(batch, self._schema)
        try:
            self._schema.check(columns)
        except OpeningError as error:
            raise RecordingError(f"step {self._step}: {error}; Writer(…, schema=…) may state a wider one") from None
        return columns

    def _begin(self) -> None:
        """Begin a step, and a segment if one is due: the state now closes one and opens the next."""
        if not self._opened:
            self._open()
        elif self._steps == self._every:
            self._close_segment(last=False)
        hyper = self._trainer.hyper()
        if hyper != self._hyper:
            _require_finite(hyper)
            self._hyper = hyper
        self._recorder.step(self._hyper)

    def _open(self) -> None:
        state = self._state()
        snapshot = self._staging.of(state)
        if self._goes_on:
            self._recorder.reopen(snapshot)
        else:
            self._recorder.open(self._header({tensor.device for tensor in state.values()}), snapshot)
        self._opened = True

    def _state(self) -> dict[str, Tensor]:
        """Return the state, not copied if the trainer can show it as it is."""
        show: Callable[[], dict[str, Tensor]] = getattr(self._trainer, "view", self._trainer.save)
        return show()

    def _close_segment(self, last: bool) -> None:
        self._recorder.segment(self._staging.of(self._state()), last)
        self._steps = 0

    def _finish(self) -> None:
        if self._micro:
            warnings.warn(
                "the last step lacks batches to accumulate: what it did cannot be replayed, so its segment was dropped",
                stacklevel=4,
            )
        elif self._steps:
            self._close_segment(last=True)
        self._recorder.end()

    def _header(self, devices: set[torch.device]) -> Header:
        """Return the header of a new run, but for what follows from state 0."""
        assert self._schema is not None
        return Header(
            run=self._run,
            key=self._wanted.key,
            every=self._every,
            world=1,
            micro=self._accumulate,
            schema=self._schema,
            commitment=self._wanted.commitment,
            layout=(),
            root=b"",
            initial=self._initial,
            source=_source(),
            stack=stack.describe(devices),
            probe=seeds.probe(devices),
        )


def _require_finite(hyper: Hyper) -> None:
    odd = next((key for key, value in hyper.items() if isinstance(value, float) and not math.isfinite(value)), None)
    if odd:
        raise RecordingError(f"{odd} is {hyper[odd]}, which is no setting to record a step with")


def _integers(rows: Any) -> npt.NDArray[np.int64]:
    """Return rows as an array of their own."""
    return rows.cpu().numpy().copy() if isinstance(rows, Tensor) else np.array(rows, np.int64)


def _source() -> bytes | None:
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return sha256(Path(path).read_bytes()).digest() if path and Path(path).is_file() else None
