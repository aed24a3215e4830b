"""Commit to a dataset once, before training, for all runs that use it."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from polarchive.errors import OpeningError, RecordingError
from polarchive.format.commitment import Batch
from polarchive.format.limits import MAX_DATASET
from polarchive.format.merkle import Digests
from polarchive.format.schema import Schema
from polarchive.recording import dataset, hashing
from polarchive.recording.dataset import Dataset
from polarchive.training.batches import to_batch
from polarchive.trust.keys import SECRET_SIZE

Progress = Callable[[int, int], None]
_CHUNK: Final = 1024  # records that a process hashes at a time
_SAMPLE: Final = 256  # records that are compared where the commitments are there already


def commit_dataset(
    data: Any,
    folder: str | Path,
    *,
    salted: bool = True,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Dataset:
    """Return the commitments to every record of `data`, made now or found in `folder`, where they are kept.

    `data` is what a batch would be that held every record (a tensor, or a tuple or dict of tensors), or a map-style
    dataset, whose items are collated as a DataLoader does. What is found is compared with some hundred records of
    `data`. `workers` processes hash, as many as there are processors by default; `progress` is told the records done
    and in all. RecordingError if the records are too many, are not all of one kind, or are others than in `folder`.
    """
    folder, lengths = Path(folder), set(_lengths(data))
    total = max(lengths, default=0)
    if len(lengths) > 1:
        raise RecordingError(f"the fields of the dataset have {', '.join(map(str, sorted(lengths)))} rows")
    if not 0 < total <= MAX_DATASET:
        raise RecordingError(f"a dataset of {total} records; from 1 to {MAX_DATASET} can be committed")
    if dataset.is_there(folder):
        return _found(data, total, folder)
    schema = Schema.of(_take(data, range(1)))
    secret = secrets.token_bytes(SECRET_SIZE) if salted else None
    leaves = bytearray()
    for digests in hashing.hashed(_chunks(data, total, schema), secret, workers or os.cpu_count() or 1):
        leaves += digests
        progress(len(leaves) // 32, total)
    made = Dataset(folder, bytes(leaves), schema, secret, Digests(bytes(leaves)).root())
    made.save()
    return made


def _found(data: Any, total: int, folder: Path) -> Dataset:
    found = dataset.load(folder)
    if len(found) != total:
        raise RecordingError(f"{folder}: {len(found)} records are committed, not {total}; choose another folder")
    chosen = sorted({0, total - 1, *(secrets.randbelow(total) for _ in range(_SAMPLE))})
    found.check(_take(data, chosen), chosen)
    return found


def _chunks(data: Any, total: int, schema: Schema) -> Iterator[Batch]:
    for start in range(0, total, _CHUNK):
        batch = _take(data, range(start, min(start + _CHUNK, total)))
        try:
            schema.check(batch)
        except OpeningError as error:
            raise RecordingError(f"records from {start}: {error}") from None
        yield batch


def _take(data: Any, indices: Any) -> Batch:
    """Return records as columns."""
    batch = to_batch(_select(data, list(indices)))
    return batch


def _select(data: Any, indices: list[int]) -> Any:
    if isinstance(data, Tensor):
        return data[torch.as_tensor(indices)]
    if isinstance(data, np.ndarray):
        return data[indices]
    if isinstance(data, dict):
        return {name: _select(value, indices) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [data[index] for index in indices] if _is_column(data) else [_select(each, indices) for each in data]
    return default_collate([data[index] for index in indices])


def _lengths(data: Any) -> Iterator[int]:
    """Yield the number of rows of every field."""
    if isinstance(data, dict | tuple | list) and not _is_column(data):
        for value in data.values() if isinstance(data, dict) else data:
            yield from _lengths(value)
    else:
        yield len(data)


def _is_column(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str | int | float | bool)
