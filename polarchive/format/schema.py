"""State what the records of a run look like, and hold batches to it (SPEC.md, "Header")."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from polarchive.errors import OpeningError
from polarchive.format.commitment import TEXT, Batch, Column, Texts
from polarchive.format.tensors import Array

NUMPY: Final[Mapping[str, str]] = {
    "BOOL": "|b1",
    **{f"U{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"I{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
BOUNDED: Final = NUMPY.keys() | {"BF16"}


@dataclass(frozen=True, slots=True)
class Field:
    """Describe one field: of each record, or of the batch as a whole; None stands for any dimension or bound."""

    name: str
    dtype: str
    level: str
    shape: tuple[int | None, ...]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """Describe all fields of a run's batches, by name."""

    fields: tuple[Field, ...]

    @classmethod
    def of(
        cls, batch: Batch, *, exact: bool = False, bounds: Mapping[str, tuple[float, float]] | None = None
    ) -> "Schema":
        """Return the schema that `batch` fits: its names and dtypes, with `exact` its dimensions, with `bounds` ranges.

        Dimensions are left open by default because the next batch of a real loop may be padded differently.
        """
        bounds = bounds or {}
        found = [
            Field(name, dtype, level, shape if exact else (None,) * len(shape), *bounds.get(name, (None, None)))
            for name, dtype, level, shape in _facts(batch)
        ]
        return cls(tuple(sorted(found, key=lambda field: field.name)))

    def check(self, batch: Batch) -> None:
        """Raise OpeningError, naming the field, unless `batch` fits."""
        facts = {name: (dtype, level, shape) for name, dtype, level, shape in _facts(batch)}
        if facts.keys() != {field.name for field in self.fields}:
            raise OpeningError(f"fields {', '.join(sorted(facts))} are not those of the schema")
        for field in self.fields:
            dtype, level, shape = facts[field.name]
            if (dtype, level) != (field.dtype, field.level) or not _fits(shape, field.shape):
                raise OpeningError(f"field {field.name} is {level} {dtype} {shape}, not what the schema says")
            column = batch.columns.get(field.name) or batch.whole.get(field.name)
            if isinstance(column, Array) and not _within(column, field.low, field.high):
                raise OpeningError(f"field {field.name} has a value outside [{field.low}, {field.high}]")


def values(array: Array) -> npt.NDArray[Any]:
    """Return the numbers in `array`; bfloat16 as float32, dtypes that numpy lacks as their bytes."""
    if array.dtype == "BF16":
        wide = np.frombuffer(array.data, "<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(array.shape)
    if array.dtype not in NUMPY:
        return np.frombuffer(array.data, "|u1")
    return np.frombuffer(array.data, NUMPY[array.dtype]).reshape(array.shape)


def _facts(batch: Batch) -> Iterator[tuple[str, str, str, tuple[int, ...]]]:
    for name, column in batch.columns.items():
        yield name, *_kind(column)
    for name, array in batch.whole.items():
        yield name, array.dtype, "batch", array.shape


def _kind(column: Column) -> tuple[str, str, tuple[int, ...]]:
    return (TEXT, "record", ()) if isinstance(column, Texts) else (column.dtype, "record", column.shape[1:])


def _fits(shape: tuple[int, ...], pattern: tuple[int | None, ...]) -> bool:
    return len(shape) == len(pattern) and all(want in (None, dim) for dim, want in zip(shape, pattern, strict=True))


def _within(array: Array, low: float | None, high: float | None) -> bool:
    found: npt.NDArray[Any] = values(array)
    above = low is None or bool(np.all(found >= low))
    return above and (high is None or bool(np.all(found <= high)))  # a NaN is in no range
