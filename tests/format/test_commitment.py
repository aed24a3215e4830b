"""Test that an opening fits its commitment, and that nothing else does."""

import hmac
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256, shake_256
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from polarchive.errors import OpeningError
from polarchive.format import merkle
from polarchive.format.commitment import (
    SALT_SIZE,
    Batch,
    BatchRow,
    Column,
    Opening,
    RecordOpening,
    Salts,
    Texts,
    commit,
    index_salt,
    leaves,
    record,
)
from polarchive.format.tensors import Array
from tests.format.strategies import batches, digests
from tests.simulator import batch_of, noise

BATCH = batch_of(0, 0, 0, 3)
SALTS = noise(0, "salts", SALT_SIZE * 4)
OPENING = Opening(BATCH, SALTS)
ROW = commit(BATCH, SALTS)
IMAGE, LABEL, CAPTION = (BATCH.columns[name] for name in ("image", "label", "caption"))
TEMPERATURE = BATCH.whole["temperature"]
SECRET, RUN = noise(0, "secret", 32), noise(0, "run", 16)
some = st.integers(1, 3)


def salts_for(batch: Batch) -> bytes:
    return noise(1, "salts", SALT_SIZE * (1 + batch.count))


def with_columns(**columns: Column) -> Batch:
    return replace(BATCH, columns={**BATCH.columns, **columns})


def with_whole(**whole: Array) -> Batch:
    return replace(BATCH, whole=whole)


def swapped(column: Any) -> Any:
    """Return a column whose first two rows have changed places."""
    if isinstance(column, Texts):
        first, second, *others = column.values
        return Texts((second, first, *others))
    size = len(column.data) // column.shape[0]
    return replace(column, data=column.data[size : 2 * size] + column.data[:size] + column.data[2 * size :])


def flipped(array: Any, place: int) -> Array:
    data = bytearray(array.data)
    data[place // 8] ^= 1 << place % 8
    return replace(array, data=bytes(data))


def is_refused(opening: Opening | RecordOpening, row: BatchRow) -> bool:
    try:
        opening.check(row)
    except OpeningError:
        return True
    return False


fewer = Batch(2, {"image": replace(IMAGE, shape=(2, 2, 2), data=IMAGE.data[:8])}, BATCH.whole)
FORGED_BATCHES = {
    "records_swapped": replace(BATCH, columns={name: swapped(column) for name, column in BATCH.columns.items()}),
    "images_swapped": with_columns(image=swapped(IMAGE)),
    "captions_swapped": with_columns(caption=swapped(CAPTION)),
    "caption_changed": with_columns(caption=Texts((b"", *CAPTION.values[1:]))),
    "bytes_moved_between_captions": with_columns(
        caption=Texts((CAPTION.values[0][:-1], CAPTION.values[0][-1:] + CAPTION.values[1], CAPTION.values[2]))
    ),
    "label_dtype_changed": with_columns(label=replace(LABEL, dtype="U64")),
    "image_shape_changed": with_columns(image=replace(IMAGE, shape=(3, 4))),
    "image_shape_with_a_one": with_columns(image=replace(IMAGE, shape=(3, 2, 2, 1))),
    "captions_as_bytes": with_columns(caption=Array("U8", (3, 13), b"".join(CAPTION.values))),
    "column_missing": replace(BATCH, columns={"image": IMAGE, "label": LABEL}),
    "column_added": with_columns(more=LABEL),
    "column_added_without_bytes": with_columns(more=Array("U8", (3, 0), b"")),
    "columns_renamed": replace(BATCH, columns={"image": IMAGE, "label": LABEL, "captions": CAPTION}),
    "names_exchanged": with_columns(label=replace(CAPTION), caption=replace(LABEL)),
    "no_columns": replace(BATCH, columns={}),
    "whole_missing": with_whole(),
    "whole_changed": with_whole(temperature=flipped(TEMPERATURE, 5)),
    "whole_renamed": with_whole(Temperature=TEMPERATURE),
    "whole_dtype_changed": with_whole(temperature=replace(TEMPERATURE, dtype="I32")),
    "whole_shape_changed": with_whole(temperature=replace(TEMPERATURE, shape=())),
    "whole_added": with_whole(temperature=TEMPERATURE, more=Array("U8", (0,), b"")),
    "whole_among_the_records": replace(
        BATCH, columns={**BATCH.columns, "temperature": Array("F32", (3,), TEMPERATURE.data * 3)}, whole={}
    ),
}
FORGED_ROWS: dict[str, dict[str, Any]] = {
    "count_less": {"count": 2},
    "count_more": {"count": 4},
    "count_zero": {"count": 0},
    "root_changed": {"root": merkle.EMPTY},
    "whole_dropped": {"whole": None},
    "whole_changed": {"whole": merkle.EMPTY},
}
FORGED_SALTS = {
    "none": b"",
    "zero": bytes(4 * SALT_SIZE),
    "one_byte_less": SALTS[:-1],
    "one_byte_more": SALTS + b"\0",
    "one_salt_less": SALTS[SALT_SIZE:],
    "one_salt_more": SALTS + bytes(SALT_SIZE),
    "first_two_swapped": SALTS[SALT_SIZE : 2 * SALT_SIZE] + SALTS[:SALT_SIZE] + SALTS[2 * SALT_SIZE :],
    "last_two_swapped": SALTS[: 2 * SALT_SIZE] + SALTS[3 * SALT_SIZE :] + SALTS[2 * SALT_SIZE : 3 * SALT_SIZE],
}


@given(batches())
def test_an_opening_fits_its_commitment(batch: Batch) -> None:
    salts = salts_for(batch)
    Opening(batch, salts).check(commit(batch, salts))


@given(batches(some), batches(some))
def test_another_batch_does_not_fit(batch: Batch, other: Batch) -> None:
    assume(batch != other)
    salts = salts_for(batch)
    row = replace(commit(batch, salts), count=other.count)
    assert is_refused(Opening(other, salts_for(other)), row)


@pytest.mark.parametrize("batch", FORGED_BATCHES.values(), ids=FORGED_BATCHES)
def test_forged_batches_are_refused(batch: Batch) -> None:
    assert is_refused(Opening(batch, SALTS), ROW)


def test_fewer_records_are_refused() -> None:
    assert is_refused(Opening(fewer, SALTS[: 3 * SALT_SIZE]), ROW)


@pytest.mark.parametrize("changes", FORGED_ROWS.values(), ids=FORGED_ROWS)
def test_forged_rows_are_refused(changes: dict[str, Any]) -> None:
    OPENING.check(ROW)
    assert is_refused(OPENING, replace(ROW, **changes))


@pytest.mark.parametrize("salts", FORGED_SALTS.values(), ids=FORGED_SALTS)
def test_forged_salts_are_refused(salts: bytes) -> None:
    assert is_refused(Opening(BATCH, salts), ROW)


@pytest.mark.parametrize("name", ["image", "label", "temperature"])
def test_every_flipped_bit_of_a_field_is_refused(name: str) -> None:
    array: Any = {**BATCH.columns, **BATCH.whole}[name]
    for place in range(8 * len(array.data)):
        forged = flipped(array, place)
        batch = with_whole(temperature=forged) if name in BATCH.whole else with_columns(**{name: forged})
        assert is_refused(Opening(batch, SALTS), ROW)


def test_every_flipped_bit_of_a_salt_is_refused() -> None:
    for place in range(8 * len(SALTS)):
        salts = bytearray(SALTS)
        salts[place // 8] ^= 1 << place % 8
        assert is_refused(Opening(BATCH, bytes(salts)), ROW)


@given(batches(some))
def test_every_record_opens_alone(batch: Batch) -> None:
    salts = salts_for(batch)
    row = commit(batch, salts)
    for index in range(batch.count):
        shown = RecordOpening.of(Opening(batch, salts), index)
        shown.check(row)
        assert shown.record == record(batch, index)
        assert len(shown.salt) == SALT_SIZE and not shown.record.whole


@given(batches(some))
def test_records_together_are_the_batch(batch: Batch) -> None:
    salts = salts_for(batch)[SALT_SIZE:]
    cut = [(record(batch, at), salts[SALT_SIZE * at : SALT_SIZE * (at + 1)]) for at in range(batch.count)]
    assert [digest for part, salt in cut for digest in leaves(part, salt)] == list(leaves(batch, salts))


SHOWN = RecordOpening.of(OPENING, 1)
FORGED_RECORDS: dict[str, Callable[[RecordOpening], RecordOpening]] = {
    "another_index": lambda shown: replace(shown, index=0),
    "index_negative": lambda shown: replace(shown, index=-2),
    "index_beyond": lambda shown: replace(shown, index=3),
    "another_record": lambda shown: replace(shown, record=record(BATCH, 0)),
    "another_salt": lambda shown: replace(shown, salt=bytes(SALT_SIZE)),
    "salt_short": lambda shown: replace(shown, salt=shown.salt[:-1]),
    "salt_long": lambda shown: replace(shown, salt=shown.salt + b"\0"),
    "no_salt": lambda shown: replace(shown, salt=b""),
    "no_path": lambda shown: replace(shown, path=[]),
    "path_short": lambda shown: replace(shown, path=shown.path[:-1]),
    "path_long": lambda shown: replace(shown, path=[*shown.path, bytes(32)]),
    "path_of_short_digests": lambda shown: replace(shown, path=[digest[:-1] for digest in shown.path]),
    "two_records": lambda shown: replace(shown, record=fewer),
    "no_records": lambda shown: replace(shown, record=Batch(0, {"image": Array("U8", (0, 2, 2), b"")}, {})),
    "no_fields": lambda shown: replace(shown, record=Batch(1, {}, {})),
    "with_fields_of_the_batch": lambda shown: replace(shown, record=replace(shown.record, whole=BATCH.whole)),
}


@pytest.mark.parametrize("forge", FORGED_RECORDS.values(), ids=FORGED_RECORDS)
def test_forged_records_are_refused(forge: Callable[[RecordOpening], RecordOpening]) -> None:
    SHOWN.check(ROW)
    assert is_refused(forge(SHOWN), ROW)


def test_a_node_is_not_taken_for_a_record() -> None:
    one, two = leaves(record(BATCH, 0), SALTS[:32]), leaves(record(BATCH, 1), SALTS[32:64])
    node = merkle.node(next(one), next(two))
    assert is_refused(SHOWN, BatchRow(1, node)) and is_refused(SHOWN, replace(ROW, root=node))


def test_a_leaf_is_as_the_specification_says() -> None:
    batch = Batch(1, {"y": Texts((b"hi",)), "x": Array("U8", (1, 2), b"ab")}, {})
    lp = [(len(part).to_bytes(8, "big") + part) for part in (b"x", b"U8", b"ab", b"y", b"UTF8", b"hi")]
    spelled = lp[0] + lp[1] + b"\x01" + (2).to_bytes(8, "big") + lp[2] + lp[3] + lp[4] + b"\x00" + lp[5]
    salt = bytes(range(32))
    assert list(leaves(batch, salt)) == [sha256(b"\x00polarchive/v1/record\x00" + salt + spelled).digest()]


def test_fields_of_the_batch_are_as_the_specification_says() -> None:
    batch = Batch(0, {}, {"t": Array("U8", (1,), b"a")})
    lp = [(len(part).to_bytes(8, "big") + part) for part in (b"t", b"U8", b"a")]
    spelled = lp[0] + lp[1] + b"\x01" + (1).to_bytes(8, "big") + lp[2]
    salt = bytes(range(32))
    assert commit(batch, salt).whole == sha256(b"\x00polarchive/v1/batch\x00" + salt + spelled).digest()


def test_columns_without_bytes_still_count_records() -> None:
    roots = {commit(Batch(count, {"x": Array("F32", (count, 0), b"")}, {}), bytes(128)).root for count in range(4)}
    assert len(roots) == 4


def test_a_batch_without_columns_still_counts_records() -> None:
    rows = [commit(Batch(count, {}, BATCH.whole), bytes(128)) for count in range(4)]
    assert len({row.root for row in rows}) == 4
    RecordOpening.of(Opening(Batch(2, {}, {}), bytes(96)), 1).check(rows[2])


def test_without_fields_of_the_batch_there_is_no_digest_of_them() -> None:
    assert commit(with_whole(), SALTS).whole is None
    assert commit(with_whole(), SALTS).root == ROW.root


COUNTS: dict[str, dict[str, Column]] = {
    "rows_too_many": {"x": Array("U8", (3,), b"abc")},
    "rows_too_few": {"x": Array("U8", (1, 2), b"ab")},
    "no_rows": {"x": Array("U8", (), b"a")},
    "texts_too_many": {"x": Texts((b"a", b"b", b"c"))},
    "texts_none": {"x": Texts(())},
    "one_of_two": {"x": Array("U8", (2,), b"ab"), "y": Array("U8", (1,), b"a")},
}


@pytest.mark.parametrize("columns", COUNTS.values(), ids=COUNTS)
def test_columns_of_another_length_are_no_batch(columns: dict[str, Column]) -> None:
    with pytest.raises(ValueError, match="rows in a batch of 2"):
        Batch(2, columns, {})


def test_a_name_twice_is_no_batch() -> None:
    with pytest.raises(ValueError, match="same name"):
        Batch(1, {"x": Array("U8", (1,), b"a")}, {"x": Array("U8", (), b"a")})


def test_a_view_commits_like_bytes() -> None:
    viewed = replace(IMAGE, data=memoryview(IMAGE.data))
    assert commit(with_columns(image=viewed), SALTS) == ROW


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.integers(0, 5), st.integers(0, 5))
def test_salts_are_slices_of_one_stream(epoch: int, step: int, start: int, count: int) -> None:
    seed = b"polarchive/v1/salt\x00" + RUN + epoch.to_bytes(8, "big") + step.to_bytes(8, "big")
    stream = shake_256(hmac.digest(SECRET, seed, "sha256")).digest(32 * 10)
    assert Salts(SECRET, RUN).of(epoch, step, start, count) == stream[32 * start : 32 * (start + count)]


@given(digests, digests)
def test_salts_differ_by_secret_run_epoch_and_step(secret: bytes, run: bytes) -> None:
    assume(secret != SECRET and run[:16] != RUN)
    salts = [
        Salts(SECRET, RUN).of(1, 2, 0, 1),
        Salts(secret, RUN).of(1, 2, 0, 1),
        Salts(SECRET, run[:16]).of(1, 2, 0, 1),
    ]
    salts += [Salts(SECRET, RUN).of(*place, 1) for place in ((2, 1, 0), (0, 2, 0), (1, 3, 0), (1, 2, 1))]
    assert len(set(salts)) == len(salts)


def test_without_a_secret_salts_are_zero() -> None:
    assert Salts(None, RUN).of(1, 2, 3, 4) == bytes(4 * SALT_SIZE)
    assert index_salt(None, 5) == bytes(SALT_SIZE)


def test_an_index_has_its_own_salt() -> None:
    assert index_salt(SECRET, 5) == hmac.digest(SECRET, b"polarchive/v1/index\x00" + (5).to_bytes(8, "big"), "sha256")
    assert index_salt(SECRET, 5) != index_salt(SECRET, 6)


def test_unsalted_records_that_are_equal_look_equal() -> None:
    batch = Batch(2, {"x": Array("U8", (2,), b"aa")}, {})
    first, second = leaves(batch, Salts(None, RUN).of(0, 0, 1, 2))
    assert first == second
    first, second = leaves(batch, Salts(SECRET, RUN).of(0, 0, 1, 2))
    assert first != second
