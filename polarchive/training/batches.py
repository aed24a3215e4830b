"""Turn a batch as a loop has it (tensors, tuples, dicts, strings, nested) into named columns over records."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polarchive.errors import OpeningError
from polarchive.format.canonical import is_printable
from polarchive.format.commitment import Batch, Column, Texts
from polarchive.format.schema import Schema
from polarchive.format.tensors import Array
from polarchive.training.arrays import to_array, to_tensor

ROOT = "batch"


def to_batch(batch: object, schema: Schema | None = None) -> Batch:
    """Return `batch` as columns over its records, and batch-level fields.

    The first field with rows counts the records; fields with as many rows are per record, all others belong to the
    batch as a whole. With a `schema` its levels decide, so that a coincidence of sizes later in a run changes nothing.
    TypeError names a value that cannot be committed.
    """
    values = _named(batch)
    levels = {field.name: field.level for field in schema.fields} if schema else {}
    rows = {name: _rows(value) for name, value in values.items() if levels.get(name, "record") == "record"}
    count = next((number for number in rows.values() if number is not None), 0)
    fields = {name: _leaf(value, name) for name, value in values.items()}
    columns = {name: fields[name] for name, number in rows.items() if number == count}
    whole = {name: _whole(field, name) for name, field in fields.items() if name not in columns}
    return Batch(count, columns, whole)


def from_batch(batch: Batch) -> Any:
    """Return what `to_batch` named: tensors, and lists of strings, in tuples and dicts.

    What was not a tensor, string or container of them comes back as the tensor it was recorded as.
    """
    tree: dict[str, Any] = {}
    for name, column in {**batch.columns, **batch.whole}.items():
        *path, last = name.split(".")
        node = tree
        for word in path:
            node = node.setdefault(word, {})
            if not isinstance(node, dict):
                raise OpeningError(f"field {name} lies within another")
        if last in node:
            raise OpeningError(f"field {name} lies within another")
        node[last] = _value(column)
    return tree[ROOT] if tree.keys() == {ROOT} else _shaped(tree)


def _value(column: Column) -> Any:
    if isinstance(column, Texts):
        return [value.decode(errors="replace") for value in column.values]
    return to_tensor(column)


def _shaped(tree: Any) -> Any:
    """Return a tree with tuples where names count from 0."""
    if not isinstance(tree, dict):
        return tree
    shaped = {name: _shaped(value) for name, value in tree.items()}
    if shaped.keys() == {str(number) for number in range(len(shaped))}:
        return tuple(shaped[str(number)] for number in range(len(shaped)))
    return shaped


def _named(batch: object) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, value in _flatten(batch, ""):
        if name in named or not is_printable(name):
            raise TypeError(f"batch field {name!r}: not a name of one field in printable ASCII")
        named[name] = value
    return named


def _flatten(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and not _is_column(value):
        for index, item in enumerate(value):
            yield from _flatten(item, f"{name}.{index}" if name else str(index))
    else:
        yield name or ROOT, value


def _is_column(value: list[Any] | tuple[Any, ...]) -> bool:
    kinds = {type(item) for item in value}
    return isinstance(value, list) and kinds in ({str}, {int}, {float}, {bool})


def _leaf(value: Any, name: str) -> Column:
    if isinstance(value, list) and isinstance(value[0], str):
        return Texts(tuple(item.encode() for item in value))
    if value is None:
        return Array("U8", (0,), b"")
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        return Array("U8", (len(data),), data)
    return to_array(_tensor(value, name), name)


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    with suppress(TypeError, ValueError, RuntimeError):  # a dtype that torch lacks, an integer beyond 64 bits
        if isinstance(value, np.ndarray | np.generic):
            return torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
        if isinstance(value, float) or (isinstance(value, list) and isinstance(value[0], float)):
            return torch.tensor(value, dtype=torch.float64)
        if isinstance(value, int | list):
            return torch.tensor(value)
    kind = f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip()
    raise TypeError(f"batch field {name}: a value of type {kind} cannot be recorded; give a tensor, number or string")


def _rows(value: Any) -> int | None:
    """Return how many rows a value has; a number, a string or nothing has none."""
    if isinstance(value, list):
        return len(value)
    shape = getattr(value, "shape", ())
    return int(shape[0]) if shape else None


def _whole(field: Column, name: str) -> Array:
    if isinstance(field, Texts):
        raise TypeError(f"batch field {name}: {len(field.values)} strings, which is not one per record")
    return field
