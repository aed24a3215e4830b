"""Test that a schema fits the batch it was made from, and refuses what is not as it says."""

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from polarchive.errors import OpeningError
from polarchive.format.commitment import Batch, Column, Texts
from polarchive.format.schema import NUMPY, Field, Schema, values
from polarchive.format.tensors import ITEMSIZE, Array
from tests.format.strategies import batches
from tests.simulator import batch_of

BATCH = batch_of(0, 0, 0, 3)
EXACT = Schema.of(BATCH, exact=True, bounds={"image": (0, 255), "label": (0, 9)})
LOOSE = Schema.of(BATCH)


def with_columns(**columns: Column) -> Batch:
    return replace(BATCH, columns={**BATCH.columns, **columns})


def floats(*numbers: float, dtype: str = "F32") -> Array:
    code = {"F16": "e", "F32": "f", "F64": "d"}[dtype]
    return Array(dtype, (len(numbers),), struct.pack(f"<{len(numbers)}{code}", *numbers))


def integers(*numbers: int, dtype: str = "I64") -> Array:
    return Array(dtype, (len(numbers),), np.array(numbers, NUMPY[dtype]).tobytes())


def without(name: str) -> Batch:
    return replace(BATCH, columns={key: column for key, column in BATCH.columns.items() if key != name})


IMAGE: Any = BATCH.columns["image"]
MISFITS = {
    "column_missing": without("label"),
    "column_added": with_columns(more=integers(1, 2, 3)),
    "column_renamed": replace(without("label"), columns={**without("label").columns, "Label": integers(1, 2, 3)}),
    "whole_missing": replace(BATCH, whole={}),
    "whole_added": replace(BATCH, whole={**BATCH.whole, "more": floats(1.0)}),
    "dtype_changed": with_columns(label=integers(1, 2, 3, dtype="I32")),
    "texts_for_numbers": with_columns(label=Texts((b"1", b"2", b"3"))),
    "numbers_for_texts": with_columns(caption=integers(1, 2, 3)),
    "dimension_more": with_columns(image=replace(IMAGE, shape=(3, 2, 2, 1))),
    "dimension_less": with_columns(image=replace(IMAGE, shape=(3, 4))),
    "whole_for_a_column": replace(without("label"), whole={**BATCH.whole, "label": integers(1, 2, 3)}),
    "whole_for_a_column_of_the_same_shape": replace(
        without("label"), whole={**BATCH.whole, "label": Array("I64", (), bytes(8))}
    ),
    "column_for_a_whole": replace(BATCH, whole={}, columns={**BATCH.columns, "temperature": floats(1.0, 2.0, 3.0)}),
}
SHAPES_OF_THE_SAME_SIZE = {
    "sides_exchanged": with_columns(image=replace(IMAGE, shape=(3, 4, 1))),
    "whole_longer": replace(BATCH, whole={"temperature": floats(1.0, 2.0)}),
}
OUTSIDE = {
    "label_low": integers(0, -1, 9),
    "label_high": integers(0, 10, 9),
}
INSIDE = [0.0, 1.0, 0.5, -0.0]
NOT_INSIDE = [-0.01, 1.01, float("nan"), float("inf"), float("-inf")]


@given(batches())
def test_a_schema_fits_the_batch_it_was_made_from(batch: Batch) -> None:
    Schema.of(batch).check(batch)
    Schema.of(batch, exact=True).check(batch)


def test_a_schema_names_every_field_in_order() -> None:
    assert EXACT.fields == (
        Field("caption", "UTF8", "record", ()),
        Field("image", "U8", "record", (2, 2), 0, 255),
        Field("label", "I64", "record", (), 0, 9),
        Field("temperature", "F32", "batch", (1,)),
    )
    assert [field.shape for field in LOOSE.fields] == [(), (None, None), (), (None,)]


@pytest.mark.parametrize("schema", [EXACT, LOOSE], ids=["exact", "loose"])
@pytest.mark.parametrize("batch", MISFITS.values(), ids=MISFITS)
def test_other_fields_are_refused(schema: Schema, batch: Batch) -> None:
    schema.check(BATCH)
    with pytest.raises(OpeningError):
        schema.check(batch)


@pytest.mark.parametrize("batch", SHAPES_OF_THE_SAME_SIZE.values(), ids=SHAPES_OF_THE_SAME_SIZE)
def test_other_dimensions_are_refused_if_exact(batch: Batch) -> None:
    LOOSE.check(batch)
    with pytest.raises(OpeningError):
        EXACT.check(batch)


def test_the_number_of_records_is_free() -> None:
    EXACT.check(batch_of(0, 0, 0, 1))
    EXACT.check(batch_of(0, 0, 0, 7))


@pytest.mark.parametrize("label", OUTSIDE.values(), ids=OUTSIDE)
def test_values_outside_the_range_are_refused(label: Array) -> None:
    with pytest.raises(OpeningError, match="field label has a value outside"):
        EXACT.check(with_columns(label=label))
    LOOSE.check(with_columns(label=label))


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64"])
@pytest.mark.parametrize("number", [*INSIDE, *NOT_INSIDE], ids=str)
def test_a_range_of_floats(number: float, dtype: str) -> None:
    schema = Schema((Field("x", dtype, "record", (), 0.0, 1.0),))
    batch = Batch(2, {"x": floats(0.5, number, dtype=dtype)}, {})
    if number in INSIDE:
        schema.check(batch)
    else:
        with pytest.raises(OpeningError):
            schema.check(batch)


@pytest.mark.parametrize(("low", "high"), [(0.0, None), (None, 1.0)])
def test_a_range_with_one_end_refuses_what_is_no_number(low: float | None, high: float | None) -> None:
    schema = Schema((Field("x", "F32", "record", (), low, high),))
    with pytest.raises(OpeningError):
        schema.check(Batch(1, {"x": floats(float("nan"))}, {}))


def test_a_range_holds_for_fields_of_the_batch() -> None:
    schema = Schema.of(Batch(0, {}, {"t": floats(0.5)}), bounds={"t": (0, 1)})
    with pytest.raises(OpeningError, match="field t has a value outside"):
        schema.check(Batch(0, {}, {"t": floats(1.5)}))


def test_a_range_holds_for_half_of_the_bits_of_a_float() -> None:
    schema = Schema((Field("x", "BF16", "record", (), 0.0, 1.0),))
    schema.check(Batch(1, {"x": Array("BF16", (1,), b"\x80\x3f")}, {}))  # 1.0
    with pytest.raises(OpeningError):
        schema.check(Batch(1, {"x": Array("BF16", (1,), b"\x81\x3f")}, {}))  # 1.0078125


def test_no_values_are_in_every_range() -> None:
    schema = Schema((Field("x", "F32", "record", (None,), 1.0, 0.0),))
    schema.check(Batch(2, {"x": Array("F32", (2, 0), b"")}, {}))


@pytest.mark.parametrize("dtype", ITEMSIZE)
def test_every_dtype_has_values(dtype: str) -> None:
    array = Array(dtype, (2, 3), bytes(6 * ITEMSIZE[dtype]))
    assert not np.any(values(array))
    if dtype in NUMPY:
        assert values(array).shape == (2, 3) and values(array).itemsize == ITEMSIZE[dtype]


def test_numbers_are_little_endian() -> None:
    assert values(Array("I16", (2,), b"\x01\x00\x00\x80")).tolist() == [1, -32768]
    assert values(Array("BF16", (2,), b"\x80\x3f\x00\xc0")).tolist() == [1.0, -2.0]
