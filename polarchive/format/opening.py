"""Lay an opening out as named tensors, and gather it again (SPEC.md, "Parts").

So batches travel as states do: as canonical safetensors, which the readers of others open too.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

import numpy as np

from polarchive.errors import FormatError, Reason
from polarchive.format.commitment import SALT_SIZE, Batch, Column, Opening, Texts
from polarchive.format.tensors import Array

SALTS: Final = "salts"
RECORD: Final = "record/"
BATCH: Final = "batch/"
TEXT: Final = "text/"
BYTES: Final = "/bytes"
ENDS: Final = "/ends"


def spread(opening: Opening) -> dict[str, Array]:
    """Return the tensors of an opening: one per column, per batch-level field, two per column of strings, the salts."""
    found = {SALTS: Array("U8", (len(opening.salts) // SALT_SIZE, SALT_SIZE), opening.salts)}
    for name, column in opening.batch.columns.items():
        found |= _strings(name, column) if isinstance(column, Texts) else {RECORD + name: column}
    return found | {BATCH + name: array for name, array in opening.batch.whole.items()}


def gather(tensors: Mapping[str, Array], place: str) -> Opening:
    """Return the opening that `tensors` are; FormatError if they are those of none."""
    try:
        return _gather(tensors)
    except ValueError as error:
        raise FormatError(Reason.TENSORS, place, str(error)) from None


def _gather(tensors: Mapping[str, Array]) -> Opening:
    salts = tensors.get(SALTS)
    if salts is None or salts.dtype != "U8" or salts.shape[1:] != (SALT_SIZE,) or not salts.shape[0]:
        raise ValueError("no salts of 32 bytes, one for the batch and one per record")
    columns: dict[str, Column] = dict(_under(RECORD, tensors))
    texts = {name.removeprefix(TEXT).removesuffix(BYTES) for name in tensors if _is(name, TEXT, BYTES)}
    if texts & columns.keys():
        raise ValueError("two columns have the same name")
    columns |= {name: _texts(name, tensors) for name in texts}
    batch = Batch(salts.shape[0] - 1, columns, dict(_under(BATCH, tensors)))
    if len(tensors) != 1 + len(columns) + len(texts) + len(batch.whole):
        raise ValueError("a tensor that belongs to no field")
    return Opening(batch, bytes(salts.data))


def _under(prefix: str, tensors: Mapping[str, Array]) -> Iterable[tuple[str, Array]]:
    return ((name.removeprefix(prefix), array) for name, array in tensors.items() if name.startswith(prefix))


def _is(name: str, prefix: str, suffix: str) -> bool:
    return name.startswith(prefix) and name.endswith(suffix) and len(name) >= len(prefix) + len(suffix)


def _strings(name: str, column: Texts) -> dict[str, Array]:
    ends = np.cumsum([len(value) for value in column.values], dtype="<u8")
    data = b"".join(column.values)
    return {
        TEXT + name + BYTES: Array("U8", (len(data),), data),
        TEXT + name + ENDS: Array("U64", (len(ends),), ends.tobytes()),
    }


def _texts(name: str, tensors: Mapping[str, Array]) -> Texts:
    """Return a column of strings; ValueError unless its values lie one after the other and fill its bytes."""
    joined, ends = tensors[TEXT + name + BYTES], tensors.get(TEXT + name + ENDS)
    if ends is None or (joined.dtype, ends.dtype, len(joined.shape), len(ends.shape)) != ("U8", "U64", 1, 1):
        raise ValueError(f"field {name}: not the bytes of strings and where each ends")
    stops = [0, *np.frombuffer(ends.data, "<u8").tolist()]
    if stops != sorted(stops) or stops[-1] != joined.shape[0]:
        raise ValueError(f"field {name}: strings that do not fill their bytes in order")
    data = bytes(joined.data)
    return Texts(tuple(data[start:stop] for start, stop in pairwise(stops)))
