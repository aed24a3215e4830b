"""Commit to batches and open them (SPEC.md, "Records and batches").

A record is one training example as fed to the model. Its leaf hides it behind a salt; the root over a batch's leaves
stands in the step row; an opening shows a batch, or one record of it, and is checked against that root.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256, shake_256
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from polarchive.errors import DigestError, OpeningError
from polarchive.format import merkle
from polarchive.format.tensors import ITEMSIZE, Array, describe, lp

RECORD: Final = b"polarchive/v1/record\x00"
BATCH: Final = b"polarchive/v1/batch\x00"
SALT: Final = b"polarchive/v1/salt\x00"
INDEX: Final = b"polarchive/v1/index\x00"
SALT_SIZE: Final = 32
TEXT: Final = "UTF8"
Rows: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Texts:
    """Hold a column of strings: one UTF-8 value per record."""

    values: tuple[bytes, ...]


Column = Array | Texts


@dataclass(frozen=True, slots=True)
class Batch:
    """Hold one batch without torch: columns over `count` records, and what belongs to the batch as a whole."""

    count: int
    columns: Mapping[str, Column]
    whole: Mapping[str, Array]

    def __post_init__(self) -> None:
        """Raise ValueError unless every column has `count` rows and every name is one field's."""
        if self.columns.keys() & self.whole.keys():
            raise ValueError("a field of the records and of the batch have the same name")
        for name, column in self.columns.items():
            rows = len(column.values) if isinstance(column, Texts) else next(iter(column.shape), None)
            if rows != self.count:
                raise ValueError(f"field {name} has {rows} rows in a batch of {self.count}")


@dataclass(frozen=True, slots=True)
class BatchRow:
    """Commit to one batch: its record count, the root over its records, the digest of its batch-level fields."""

    count: int
    root: merkle.Digest
    whole: merkle.Digest | None = None
    indices: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Salts:
    """Derive the salts of a run from its secret; without a secret every salt is zero."""

    secret: bytes | None
    run: bytes

    def of(self, epoch: int, step: int, start: int, count: int) -> bytes:
        """Return salts `start` to `start + count` of a step, 32 bytes each."""
        if self.secret is None:
            return bytes(SALT_SIZE * count)
        seed = SALT + self.run + epoch.to_bytes(8, "big") + step.to_bytes(8, "big")
        key = hmac.digest(self.secret, seed, "sha256")
        return shake_256(key).digest(SALT_SIZE * (start + count))[SALT_SIZE * start :]

    def of_rows(self, indices: Iterable[int]) -> bytes:
        """Return the salts of records of a dataset in indexed mode, 32 bytes each."""
        return b"".join(index_salt(self.secret, index) for index in indices)


def index_salt(secret: bytes | None, index: int) -> bytes:
    """Return the salt of record `index` of a dataset in indexed mode."""
    return hmac.digest(secret, INDEX + index.to_bytes(8, "big"), "sha256") if secret is not None else bytes(SALT_SIZE)


def leaves(batch: Batch, salts: bytes) -> Iterator[merkle.Digest]:
    """Yield the leaf digest of every record of `batch`, salted with 32 bytes of `salts` each."""
    for preimage in _spelled(batch, salts) if _strings(batch) else _laid_out(batch, salts):
        yield sha256(preimage).digest()


def commit(batch: Batch, salts: bytes) -> BatchRow:
    """Return the commitment to `batch` under its 1 + count salts, the first of which hides the batch-level fields."""
    whole = None
    if batch.whole:
        fields = b"".join(_field(name, batch.whole[name]) for name in sorted(batch.whole))
        whole = merkle.leaf(BATCH, salts[:SALT_SIZE], fields)
    return BatchRow(batch.count, merkle.root(leaves(batch, salts[SALT_SIZE:])), whole)


@dataclass(frozen=True, slots=True)
class Opening:
    """Show a whole batch with its salts."""

    batch: Batch
    salts: bytes

    def check(self, row: BatchRow) -> None:
        """Raise OpeningError unless this is the batch that `row` commits to."""
        if self.batch.count != row.count:
            raise OpeningError(f"{self.batch.count} records were shown, {row.count} are committed")
        if len(self.salts) != SALT_SIZE * (1 + row.count):
            raise OpeningError("not one salt per record and one for the batch")
        found = commit(self.batch, self.salts)
        if found.root != row.root:
            raise OpeningError("the records shown are not the ones committed")
        if found.whole != row.whole:
            raise OpeningError("the batch-level fields shown are not the ones committed")


@dataclass(frozen=True, slots=True)
class RecordOpening:
    """Show one record of a batch: a batch of one, its salt, and the path from its leaf to the batch's root."""

    index: int
    record: Batch
    salt: bytes
    path: Sequence[merkle.Digest]

    @classmethod
    def of(cls, opening: Opening, index: int) -> "RecordOpening":
        """Cut record `index` out of the opening of a whole batch."""
        salts = opening.salts[SALT_SIZE:]
        tree = merkle.Tree(leaves(opening.batch, salts))
        salt = salts[SALT_SIZE * index : SALT_SIZE * (index + 1)]
        return cls(index, record(opening.batch, index), salt, tree.inclusion(index))

    def check(self, row: BatchRow) -> None:
        """Raise OpeningError unless this is the record at `index` of the batch that `row` commits to."""
        if self.record.count != 1 or self.record.whole or len(self.salt) != SALT_SIZE:
            raise OpeningError("not one record, alone, with one salt")
        (digest,) = leaves(self.record, self.salt)
        try:
            merkle.check_inclusion(digest, self.index, row.count, self.path, row.root)
        except DigestError:
            raise OpeningError(f"record {self.index} shown is not the one committed") from None


def record(batch: Batch, index: int) -> Batch:
    """Return record `index` of `batch` as a batch of one."""
    return Batch(1, {name: _cut(column, index) for name, column in batch.columns.items()}, {})


def _cut(column: Column, index: int) -> Column:
    if isinstance(column, Texts):
        return Texts((column.values[index],))
    view = memoryview(column.data).cast("B")
    size = len(view) // column.shape[0]
    return Array(column.dtype, (1, *column.shape[1:]), bytes(view[size * index : size * (index + 1)]))


def _strings(batch: Batch) -> bool:
    return any(isinstance(column, Texts) for column in batch.columns.values())


def _spelled(batch: Batch, salts: bytes) -> Iterator[bytes]:
    """Yield what is hashed for each record, of any columns."""
    columns = [_column(name, batch.columns[name]) for name in sorted(batch.columns)]
    for index in range(batch.count):
        salt = salts[SALT_SIZE * index : SALT_SIZE * (index + 1)]
        yield b"\x00" + RECORD + salt + b"".join(head + lp(values[index]) for head, values in columns)


def _column(name: str, column: Column) -> tuple[bytes, Sequence[bytes]]:
    if isinstance(column, Texts):
        return lp(name.encode()) + describe(TEXT, ()), column.values
    return lp(name.encode()) + describe(column.dtype, column.shape[1:]), list(map(bytes, _rows(column)))


def _laid_out(batch: Batch, salts: bytes) -> Iterator[memoryview]:
    """Yield the same where every record has the same size: all are laid out at once, which copies each byte once."""
    parts: list[bytes | Rows] = [b"\x00" + RECORD, np.frombuffer(salts, np.uint8).reshape(-1, SALT_SIZE)[: batch.count]]
    for name, column in sorted(batch.columns.items()):
        assert isinstance(column, Array)
        rows = _rows(column)
        size = rows.shape[1].to_bytes(8, "big")
        parts += [lp(name.encode()) + describe(column.dtype, column.shape[1:]) + size, rows]
    table = np.empty((batch.count, sum(_width(part) for part in parts)), np.uint8)
    start = 0
    for part in parts:
        stop = start + _width(part)
        table[:, start:stop] = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part
        start = stop
    data = table.reshape(-1).data
    return (data[at : at + start] for at in range(0, len(data), start))


def _width(part: bytes | Rows) -> int:
    return len(part) if isinstance(part, bytes) else int(part.shape[1])


def _rows(array: Array) -> Rows:
    """Return the bytes of an array, one row per record."""
    count = array.shape[0]
    data = np.frombuffer(array.data, np.uint8)
    return data.reshape(count, len(data) // count if count else 0)


def _field(name: str, array: Array) -> bytes:
    view = memoryview(array.data).cast("B")
    return lp(name.encode()) + describe(array.dtype, array.shape) + lp(bytes(view))


def is_dtype(name: str) -> bool:
    """Tell whether `name` is a dtype that records may have."""
    return name in ITEMSIZE or name == TEXT
