"""Test that an opening survives as tensors, and that tensors that are no opening are refused."""

from collections.abc import Callable
from io import BytesIO

import hypothesis.strategies as st
import pytest
from hypothesis import given

from polarchive.errors import FormatError, Reason
from polarchive.format import opening, tensors
from polarchive.format.blob import Blob
from polarchive.format.commitment import Batch, Column, Opening, Texts
from polarchive.format.tensors import Array
from tests.format.strategies import batches
from tests.simulator import State, batch_of, noise

Change = Callable[[State], object]


def plain(column: Column) -> Column:
    return column if isinstance(column, Texts) else Array(column.dtype, column.shape, bytes(column.data))


def comparable(found: Opening) -> Opening:
    batch = found.batch
    columns = {name: plain(column) for name, column in sorted(batch.columns.items())}
    whole = {name: Array(array.dtype, array.shape, bytes(array.data)) for name, array in sorted(batch.whole.items())}
    return Opening(Batch(batch.count, columns, whole), bytes(found.salts))


def salted(batch: Batch) -> Opening:
    return Opening(batch, noise(0, "salts", 32 * (1 + batch.count)))


def honest() -> State:
    return opening.spread(salted(batch_of(0, 0, 0, 3)))


@given(batches().map(salted))
def test_what_is_spread_is_gathered(shown: Opening) -> None:
    assert comparable(opening.gather(opening.spread(shown), "part")) == comparable(shown)


@given(shown=batches().map(salted))
def test_what_is_spread_is_canonical_safetensors(shown: Opening, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("part") / "part"
    file = BytesIO()
    tensors.write(file, opening.spread(shown))
    path.write_bytes(file.getvalue())
    blob = Blob.of(path)
    with blob.file:
        read = {spec.name: Array(spec.dtype, spec.shape, data) for spec, data in tensors.read(blob)}
    assert comparable(opening.gather(read, "part")) == comparable(shown)


def test_the_tensors_are_as_the_specification_says() -> None:
    columns = {"x": Array("U8", (2, 1), b"\x01\x02"), "words": Texts((b"one", b"three"))}
    shown = Opening(Batch(2, columns, {"t": Array("F32", (), bytes(4))}), bytes(96))
    assert opening.spread(shown) == {
        "record/x": Array("U8", (2, 1), b"\x01\x02"),
        "text/words/bytes": Array("U8", (8,), b"onethree"),
        "text/words/ends": Array("U64", (2,), bytes([3, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0])),
        "batch/t": Array("F32", (), bytes(4)),
        "salts": Array("U8", (3, 32), bytes(96)),
    }


@pytest.mark.parametrize("name", ["a/bytes", "/bytes", "bytes", "text/a/ends", "record/", "__metadata__ "])
def test_no_name_is_taken_for_another(name: str) -> None:
    columns: dict[str, Column] = {name: Texts((b"x",)), name + "2": Array("U8", (1,), b"y")}
    shown = salted(Batch(1, columns, {name + "3": Array("U8", (), b"z")}))
    assert opening.gather(opening.spread(shown), "part") == shown


def test_a_batch_without_columns_has_its_count() -> None:
    shown = salted(Batch(4, {}, {}))
    assert opening.gather(opening.spread(shown), "part").batch.count == 4


def put(name: str, array: Array) -> Change:
    return lambda state: state.update({name: array})


FAULTS: dict[str, Change] = {
    "no_salts": lambda state: state.pop("salts"),
    "salts_of_none": put("salts", Array("U8", (0, 32), b"")),
    "salts_of_31_bytes": put("salts", Array("U8", (4, 31), bytes(124))),
    "salts_flat": put("salts", Array("U8", (128,), bytes(128))),
    "salts_signed": put("salts", Array("I8", (4, 32), bytes(128))),
    "salt_too_few": put("salts", Array("U8", (3, 32), bytes(96))),
    "salt_too_many": put("salts", Array("U8", (5, 32), bytes(160))),
    "column_too_long": put("record/label", Array("I64", (4,), bytes(32))),
    "column_of_no_rows": put("record/label", Array("I64", (), bytes(8))),
    "column_twice": put("record/caption", Array("U8", (3,), bytes(3))),
    "column_also_of_the_batch": put("batch/label", Array("U8", (3,), bytes(3))),
    "strings_also_of_the_batch": put("batch/caption", Array("U8", (3,), bytes(3))),
    "tensor_of_no_kind": put("label", Array("U8", (3,), bytes(3))),
    "ends_missing": lambda state: state.pop("text/caption/ends"),
    "bytes_missing": lambda state: state.pop("text/caption/bytes"),
    "strings_too_few": put("text/caption/ends", Array("U64", (2,), bytes(8) + (39).to_bytes(8, "little"))),
    "strings_that_overlap": put(
        "text/caption/ends", Array("U64", (3,), b"".join(n.to_bytes(8, "little") for n in (20, 10, 39)))
    ),
    "strings_beyond_their_bytes": put("text/caption/ends", Array("U64", (3,), b"\xff" * 24)),
    "bytes_of_no_string": put("text/caption/ends", Array("U64", (3,), bytes(24))),
    "ends_of_another_dtype": put("text/caption/ends", Array("I64", (3,), bytes(24))),
    "ends_in_a_table": put("text/caption/ends", Array("U64", (3, 1), bytes(24))),
    "bytes_of_another_dtype": put("text/caption/bytes", Array("I8", (39,), bytes(39))),
    "name_of_half_a_string": put("text/bytes", Array("U8", (3,), bytes(3))),
}


@pytest.mark.parametrize("change", FAULTS.values(), ids=FAULTS)
def test_tensors_that_are_no_opening_are_refused(change: Change) -> None:
    state = honest()
    change(state)
    with pytest.raises(FormatError) as refusal:
        opening.gather(state, "part")
    assert refusal.value.reason == Reason.TENSORS


@given(st.dictionaries(st.sampled_from(sorted(honest())), st.sampled_from(sorted(honest()))))
def test_tensors_that_change_names_are_an_opening_or_refused(swaps: dict[str, str]) -> None:
    state = honest()
    try:
        opening.gather({swaps.get(name, name): array for name, array in state.items()}, "part")
    except FormatError as refusal:
        assert refusal.reason == Reason.TENSORS
