"""Record a training run with one added line: `log.record(batch)`, first in the loop's body."""

import math
import secrets
import sys
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from polarchive.errors import OpeningError, RecordingError
from polarchive.format import journal, merkle, note
from polarchive.format.commitment import Batch, BatchRow, Salts, commit
from polarchive.format.entry import Commitment, End, Entry, Header, Hyper, Initial, Rows, Segment, StepRow
from polarchive.format.journal import Journal
from polarchive.format.schema import Schema
from polarchive.format.spelling import encode_entry, encode_header, encode_row
from polarchive.format.tensors import Array, layout_of, root_of
from polarchive.training import seeds, stack
from polarchive.training.arrays import to_array
from polarchive.training.batches import to_batch
from polarchive.training.trainer import Trainer
from polarchive.trust.keys import write_private


class Writer:
    """Write a run directory while training runs.

    A step is everything between one `record` and the next. `record` copies the state if a segment begins, commits the
    batch as it was loaded, notes the hyper-parameters that the step will use, and seeds the step. `every` steps make a
    segment; `accumulate` records make a step. `seed` says that the model was built under `torch.manual_seed(seed)`, so
    that a judge can explain state 0. Leaving the block records the last state; leaving it by an exception drops the
    open segment. RecordingError says what in the loop to change.
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
        run: bytes | None = None,
    ) -> None:
        if every < 1 or accumulate < 1:
            raise ValueError("every and accumulate are at least 1")
        self.durable = 0
        self._trainer, self._signer, self._schema_of = trainer, signer, schema
        self._every, self._accumulate = every, accumulate
        self._initial = Initial("unexplained") if seed is None else Initial("seeded", seed=seed)
        self._run = run or secrets.token_bytes(16)
        self._journal = Journal.create(Path(folder))
        self._salts = Salts(_new_secret(Path(folder)) if salted else None, self._run)
        self._tree = merkle.Tree()
        self._schema: Schema | None = None
        self._open = _Open()
        self._step, self._segments, self._records = 0, 0, 0
        self._root = b""

    def record(self, batch: object) -> None:
        """Record `batch`, as the loader gave it, for the step that now begins; then seed that step."""
        schema = self._schema or self._schema_of(to_batch(batch))
        columns = to_batch(batch, schema)
        self._require(schema, columns)
        if not self._open.batches and self._step % self._every == 0:
            self._cross(schema)
        salts = self._salts.of(0, self._step, self._open.salts, 1 + columns.count)
        if not self._open.batches:
            self._open.begin(self._trainer.hyper())
        micro = self._open.add(commit(columns, salts))
        seeds.apply(seeds.derive(self._run, self._step, micro))
        if micro + 1 == self._accumulate:
            self._open.finish(self._step)
            self._step += 1

    def close(self) -> None:
        """Record the last state and the end of the run; nothing can be recorded afterwards."""
        if self._schema is None:
            self.abandon()
            raise RecordingError(f"{self._journal.folder}: no batch was recorded")
        if self._open.batches:
            warnings.warn(
                "the last step lacks batches to accumulate: what it did cannot be replayed, so its segment was dropped",
                stacklevel=2,
            )
        elif self._open.rows:
            self._close_segment(self._copy())
        self._append(End(self._root, self.durable, self._records))
        self._journal.close()

    def abandon(self) -> None:
        """Stop recording and drop the open segment; what is durable stays."""
        self._journal.close()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _require(self, schema: Schema, columns: Batch) -> None:
        try:
            schema.check(columns)
        except OpeningError as error:
            raise RecordingError(f"step {self._step}: {error}; Writer(…, schema=…) may state a wider one") from None

    def _cross(self, schema: Schema) -> None:
        """Cross a boundary between segments: the state now closes one and opens the next."""
        state = self._trainer.save()
        arrays = _arrays(state)
        if self._schema is None:
            self._open_log(schema, state, arrays)
        elif self._open.rows:
            self._close_segment(arrays)

    def _copy(self) -> dict[str, Array]:
        return _arrays(self._trainer.save())

    def _open_log(self, schema: Schema, state: dict[str, Tensor], arrays: dict[str, Array]) -> None:
        devices = {tensor.device for tensor in state.values()}
        self._schema = schema
        self._root = root_of(arrays)
        header = encode_header(
            Header(
                run=self._run,
                key=self._signer.key,
                every=self._every,
                world=1,
                micro=self._accumulate,
                schema=self._schema,
                commitment=Commitment("fed", self._salts.secret is not None),
                layout=layout_of(arrays),
                root=self._root,
                initial=self._initial,
                source=_source(),
                stack=stack.describe(devices),
                probe=seeds.probe(devices),
            )
        )
        self._journal.store(self._root, arrays)
        self._journal.append(journal.HEADER, header)
        self._sign(header)

    def _close_segment(self, arrays: dict[str, Array]) -> None:
        rows, self._root = self._open.rows, root_of(arrays)
        data = b"".join(line + b"\n" for line in rows)
        segment = Segment(
            index=self._segments,
            first=self._step - len(rows),
            steps=len(rows),
            records=self._open.records,
            rows=Rows(len(data), merkle.root(map(merkle.leaf, rows))),
            hyper=self._open.first,
            root=self._root,
            stored=True,
            epoch=0,
        )
        self._journal.store(self._root, arrays)
        self._journal.append(journal.ROWS, data)
        self._segments += 1
        self._records += segment.records
        self._append(segment)
        self.durable = self._step
        self._open = _Open()

    def _append(self, entry: Entry) -> None:
        data = encode_entry(entry)
        self._journal.append(journal.ENTRY, data)
        self._sign(data)

    def _sign(self, entry: bytes) -> None:
        self._journal.sync()  # an entry is durable before its head exists, so no head outlives what it covers
        self._tree.append(merkle.leaf(entry))
        head = note.Head(note.origin(self._signer.key, self._run), len(self._tree), self._tree.root())
        self._journal.append(journal.HEAD, note.sign(head, self._signer))
        self._journal.sync()


class _Open:
    """Collect the rows of the open segment and the batches of the open step."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.first: Hyper = {}
        self.records = 0
        self.batches: list[BatchRow] = []
        self.salts = 0
        self._last: Hyper = {}
        self._changes: Hyper | None = None

    def begin(self, hyper: Hyper) -> None:
        """Begin a step under `hyper`, of which its row states what changed."""
        odd = next((key for key, value in hyper.items() if isinstance(value, float) and not math.isfinite(value)), None)
        if odd:
            raise RecordingError(f"{odd} is {hyper[odd]}, which is no setting to record a step with")
        if not self.rows:
            self.first = self._last = hyper
        self._changes = {key: value for key, value in hyper.items() if not _same(value, self._last.get(key))} or None
        self._last = hyper

    def add(self, row: BatchRow) -> int:
        """Add a batch to the open step and return its number in it."""
        self.batches.append(row)
        self.records += row.count
        self.salts += 1 + row.count
        return len(self.batches) - 1

    def finish(self, step: int) -> None:
        """Make the open step a row."""
        self.rows.append(encode_row(StepRow(step, tuple(self.batches), self._changes)))
        self.batches, self.salts = [], 0


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right


def _arrays(state: dict[str, Tensor]) -> dict[str, Array]:
    return {name: to_array(tensor, name) for name, tensor in state.items()}


def _new_secret(folder: Path) -> bytes:
    secret = secrets.token_bytes(32)
    write_private(folder / journal.SECRET, secret.hex().encode() + b"\n")
    return secret


def _source() -> bytes | None:
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return sha256(Path(path).read_bytes()).digest() if path and Path(path).is_file() else None
