"""Test states on disk: canonical safetensors that others read, and every other header refused."""

import json
import math
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from safetensors import safe_open
from safetensors.numpy import load

from polarchive.errors import DigestError, FormatError, Reason
from polarchive.format import merkle, tensors
from polarchive.format.blob import Blob
from polarchive.format.limits import CHUNK, MAX_TENSORS_HEADER
from polarchive.format.schema import NUMPY
from polarchive.format.tensors import ITEMSIZE, Array, Spec
from tests.format.strategies import DTYPES, arrays, names, states
from tests.format.test_container import flips
from tests.simulator import State, spell_state, state_of

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
STATE = state_of(0, 1)
SHAPES: list[tuple[int, ...]] = [(), (0,), (2, 0, 3), (1,), (2, 3)]


def blob_of(data: bytes, folder: Path) -> Blob:
    path = folder / "state.safetensors"
    path.write_bytes(data)
    return Blob.of(path)


def spell(header: str | bytes | Any, data: bytes = bytes(8), length: int | None = None) -> bytes:
    """Return a safetensors file with any header, padded as it should be."""
    text = header if isinstance(header, str | bytes) else json.dumps(header, separators=(",", ":"))
    raw = text.encode() if isinstance(text, str) else text
    raw += b" " * (-len(raw) % 8)
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(**changes: Any) -> dict[str, Any]:
    return {"a": F32 | changes}


def two(first: list[int], second: list[int], names: str = "ab") -> dict[str, Any]:
    return {name: F32 | {"data_offsets": span} for name, span in zip(names, (first, second), strict=True)}


GOOD = spell({"a": F32})
HOSTILE = {
    "empty_file": b"",
    "seven_bytes": bytes(7),
    "length_beyond_the_file": spell({"a": F32}, length=1 << 20),
    "length_of_everything": b"\xff" * 8 + b"{}",
    "length_above_the_limit": (MAX_TENSORS_HEADER + 1).to_bytes(8, "little") + b"{}",
    "length_zero": bytes(8),
    "name_twice": spell(
        '{"a":' + json.dumps(F32, separators=(",", ":")) + ',"a":' + json.dumps(F32, separators=(",", ":")) + "}"
    ),
    "name_twice_with_other_bytes": spell(
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}',
        bytes(16),
    ),
    "key_twice": spell('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    "spaces": spell(json.dumps({"a": F32})),
    "space_before": spell(" " + json.dumps({"a": F32}, separators=(",", ":"))),
    "too_much_padding": spell(json.dumps({"a": F32}, separators=(",", ":")) + " " * 16),
    "tab_padding": spell(json.dumps({"a": F32}, separators=(",", ":")).ljust(56, "\t")),
    "keys_in_another_order": spell('{"a":{"shape":[2],"dtype":"F32","data_offsets":[0,8]}}'),
    "escaped_name": spell('{"\\u0061":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    "not_ascii": spell('{"é":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    "escaped_not_ascii": spell({"é": F32}),
    "control_in_the_name": spell({"\n": F32}),
    "name_empty": spell({"": F32}),
    "name_too_long": spell({"a" * 5000: F32}),
    "metadata": spell({"__metadata__": {"a": "b"}, "a": F32}),
    "metadata_that_is_a_tensor": spell({"__metadata__": F32}),
    "extra_key": spell(entry(more=1)),
    "no_dtype": spell({"a": {"shape": [2], "data_offsets": [0, 8]}}),
    "no_shape": spell({"a": {"dtype": "F32", "data_offsets": [0, 8]}}),
    "no_offsets": spell({"a": {"dtype": "F32", "shape": [2]}}),
    "unknown_dtype": spell(entry(dtype="F128")),
    "dtype_not_a_string": spell(entry(dtype=["F32"])),
    "shape_not_a_list": spell(entry(shape=2)),
    "shape_of_strings": spell(entry(shape=["2"])),
    "dim_a_bool": spell(entry(shape=[True, 2])),
    "dim_a_float": spell(entry(shape=[2.0])),
    "dim_negative": spell(entry(shape=[-2])),
    "dims_negative": spell(entry(shape=[-1, -2])),
    "dim_overflows": spell(entry(shape=[1 << 64, 0])),
    "dims_overflow_to_the_right_size": spell(entry(shape=[1 << 63, 4])),
    "dims_overflow_to_nothing": spell(entry(shape=[1 << 40, 1 << 24], data_offsets=[0, 0]), b""),
    "dim_of_five_thousand_digits": spell('{"a":{"dtype":"F32","shape":[' + "1" * 5000 + '],"data_offsets":[0,8]}}'),
    "dim_too_large_of_nothing": spell(entry(shape=[1 << 48, 0], data_offsets=[0, 0]), b""),
    "seventeen_dims": spell(entry(shape=[2] + [1] * 16)),
    "dim_infinite": spell('{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,8]}}'),
    "offsets_too_long": spell(entry(data_offsets=[0, 8, 8])),
    "offsets_floats": spell(entry(data_offsets=[0.0, 8])),
    "offsets_wrong": spell(entry(data_offsets=[0, 4])),
    "offset_negative": spell(entry(data_offsets=[-8, 0])),
    "offset_beyond_the_file": spell(entry(data_offsets=[8, 16])),
    "overlap": spell(two([0, 8], [4, 12]), bytes(12)),
    "same_place": spell(two([0, 8], [0, 8])),
    "hole_before": spell(entry(data_offsets=[4, 12]), bytes(12)),
    "hole_between": spell(two([0, 8], [12, 20]), bytes(20)),
    "another_order": spell(two([0, 8], [8, 16], "ba"), bytes(16)),
    "offsets_in_another_order": spell(two([8, 16], [0, 8]), bytes(16)),
    "narrow_before_wide": spell(
        {"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}, "b": F32 | {"data_offsets": [8, 16]}}, bytes(16)
    ),
    "bytes_missing": spell({"a": F32}, bytes(7)),
    "bytes_left_over": spell({"a": F32}, bytes(9)),
    "no_tensors_and_a_byte": spell({}, b"\0"),
    "list_of_pairs": spell([["a", F32]]),
    "list_of_lists": spell([["a", [["dtype", "F32"], ["shape", [2]], ["data_offsets", [0, 8]]]]]),
    "list_of_numbers": spell([1, 2]),
    "number": spell("1"),
    "null": spell("null"),
    "string": spell('"ab"'),
    "tensor_null": spell({"a": None}),
    "tensor_a_number": spell({"a": 1}),
    "tensor_a_string": spell({"a": "dt"}),
    "tensor_a_list": spell({"a": [[["x"], 1]]}),
    "not_json": spell("{"),
    "not_utf8": spell(b"\xff\xfe"),
    "many_brackets": spell("[" * 100_000),
    "many_objects": spell('{"a":' * 100_000),
}


@given(state=states)
def test_read_is_the_inverse_of_write(state: State, tmp_path_factory: pytest.TempPathFactory) -> None:
    blob = blob_of(spell_state(state), tmp_path_factory.getbasetemp())
    with blob.file:
        found = tensors.read_state(blob, tensors.root_of(state))
    assert found == state
    assert spell_state(found) == spell_state(state)


@given(state=states)
def test_the_layout_is_read_without_the_tensors(state: State, tmp_path_factory: pytest.TempPathFactory) -> None:
    blob = blob_of(spell_state(state), tmp_path_factory.getbasetemp())
    with blob.file:
        assert tensors.read_layout(blob) == tensors.layout_of(state)


@given(st.lists(st.builds(Spec, names, st.sampled_from(DTYPES), st.just(())), unique_by=lambda spec: spec.name))
def test_every_tensor_lies_aligned(specs: list[Spec]) -> None:
    offset = 0
    for spec in tensors.in_order(specs):
        assert offset % ITEMSIZE[spec.dtype] == 0
        offset += spec.nbytes


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_safetensors_reads_what_is_written(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = Array(dtype, shape, bytes(ITEMSIZE[dtype] * math.prod(shape)))
    (tmp_path / "state.safetensors").write_bytes(spell_state({"x": array, "y": Array("U8", (3,), b"abc")}))
    with safe_open(tmp_path / "state.safetensors", "np") as file:
        found = file.get_slice("x")
        assert (found.get_dtype(), tuple(found.get_shape())) == (dtype, shape)
        assert file.get_tensor("y").tobytes() == b"abc"


@pytest.mark.parametrize("dtype", NUMPY)
def test_safetensors_reads_the_same_numbers(dtype: str) -> None:
    data = bytes(range(1, 1 + 6 * ITEMSIZE[dtype]))
    found = load(spell_state({"x": Array(dtype, (2, 3), bytes(6) if dtype == "BOOL" else data)}))["x"]
    assert found.shape == (2, 3) and found.dtype == np.dtype(NUMPY[dtype])
    assert found.tobytes() == (bytes(6) if dtype == "BOOL" else data)


def test_safetensors_reads_an_empty_state() -> None:
    assert load(spell_state({})) == {}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused(data: bytes, tmp_path: Path) -> None:
    blob = blob_of(data, tmp_path)
    with blob.file, pytest.raises(FormatError) as refusal:
        tensors.read_layout(blob)
    assert refusal.value.reason in (Reason.TENSORS, Reason.TRUNCATED, Reason.LIMIT)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 300


def test_the_catalogue_of_hostile_files_starts_from_a_good_one(tmp_path: Path) -> None:
    blob = blob_of(GOOD, tmp_path)
    with blob.file:
        assert tensors.read_layout(blob) == (Spec("a", "F32", (2,)),)


def test_a_header_is_bounded_before_it_is_read(tmp_path: Path) -> None:
    blob = blob_of((MAX_TENSORS_HEADER + 1).to_bytes(8, "little"), tmp_path)
    blob.file.close()
    os.truncate(tmp_path / "state.safetensors", MAX_TENSORS_HEADER + 100)
    blob = Blob.of(tmp_path / "state.safetensors")
    with blob.file, pytest.raises(FormatError) as refusal:
        tensors.read_layout(blob)
    assert refusal.value.reason == Reason.LIMIT


@pytest.mark.parametrize("byte", [2, 3, 128, 255])
def test_a_bool_that_is_neither_true_nor_false_is_refused(byte: int, tmp_path: Path) -> None:
    state = {"mask": Array("BOOL", (3,), bytes([1, byte, 0]))}
    blob = blob_of(spell_state(state), tmp_path)
    with blob.file, pytest.raises(FormatError) as refusal:
        tensors.read_state(blob, tensors.root_of(state))
    assert refusal.value.reason == Reason.TENSORS


def test_every_flipped_bit_and_truncation_is_refused(tmp_path: Path) -> None:
    path, root = tmp_path / "state.safetensors", tensors.root_of(STATE)
    path.write_bytes(spell_state(STATE))
    assert [place for place in flips(path) if not is_refused(path, root)] == []
    assert not is_refused(path, root)
    for size in reversed(range(path.stat().st_size)):
        os.truncate(path, size)
        assert is_refused(path, root)


def is_refused(path: Path, root: bytes) -> bool:
    blob = Blob.of(path)
    with blob.file:
        try:
            tensors.read_state(blob, root)
        except FormatError:
            return True
    return False


@given(header=st.binary(max_size=80) | st.text(max_size=40).map(str.encode), data=st.binary(max_size=16))
def test_random_headers_are_refused(header: bytes, data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    blob = blob_of(spell(header, data), tmp_path_factory.getbasetemp())
    with blob.file, pytest.raises(FormatError):
        tensors.read_layout(blob)


def test_another_state_is_a_digest_error(tmp_path: Path) -> None:
    blob = blob_of(spell_state(STATE), tmp_path)
    with blob.file, pytest.raises(DigestError) as refusal:
        tensors.read_state(blob, tensors.root_of(state_of(0, 2)))
    assert refusal.value.reason == Reason.STATE


CHANGES: dict[str, State] = {
    "renamed": {"model/Bias": STATE["model/bias"]} | {name: STATE[name] for name in STATE if name != "model/bias"},
    "two_swapped": STATE | {"model/bias": STATE["optimizer/momentum"], "optimizer/momentum": STATE["model/bias"]},
    "missing": {name: STATE[name] for name in STATE if name != "optimizer/momentum"},
    "extra_and_empty": STATE | {"more": Array("F32", (0,), b"")},
    "another_dtype": STATE | {"model/bias": Array("I32", (2,), STATE["model/bias"].data)},
    "another_shape": STATE | {"model/weight": Array("F32", (4,), STATE["model/weight"].data)},
    "another_dim_of_size_one": STATE | {"model/bias": Array("F32", (2, 1), STATE["model/bias"].data)},
    "one_bit": STATE | {"optimizer/steps": Array("I64", (), (3).to_bytes(8, "little"))},
    "negative_zero": STATE | {"model/bias": Array("F32", (2,), bytes([0, 0, 0, 128]) * 2)},
}


@pytest.mark.parametrize("state", CHANGES.values(), ids=CHANGES)
def test_a_root_commits_to_names_dtypes_shapes_and_bytes(state: State) -> None:
    assert tensors.root_of(state) != tensors.root_of(STATE)


@given(states, names, arrays())
def test_a_root_commits_to_absence(state: State, name: str, array: Array) -> None:
    fewer = {key: state[key] for key in state if key != name}
    assert tensors.root_of(fewer | {name: array}) != tensors.root_of(fewer)


def test_a_root_does_not_depend_on_the_order_of_a_dictionary() -> None:
    assert tensors.root_of(dict(reversed(STATE.items()))) == tensors.root_of(STATE)


def test_a_leaf_is_as_the_specification_says() -> None:
    described = (
        b"\x00polarchive/v1/tensor\x00"
        + (1).to_bytes(8, "big") + b"w"
        + (3).to_bytes(8, "big") + b"F32"
        + b"\x02" + (1).to_bytes(8, "big") + (2).to_bytes(8, "big")
        + sha256(b"\x00" + b"abcdefgh").digest()
    )  # fmt: skip
    assert tensors.leaf(Spec("w", "F32", (1, 2)), b"abcdefgh") == sha256(described).digest()


def test_a_tensor_larger_than_a_chunk_is_a_tree_of_chunks() -> None:
    data = bytearray(CHUNK + 1)
    data[-1] = 7
    described = tensors.describe("U8", (CHUNK + 1,))
    chunks = merkle.node(merkle.leaf(bytes(CHUNK)), merkle.leaf(b"\x07"))
    expected = merkle.leaf(tensors.TAG, tensors.lp(b"x"), described, chunks)
    assert tensors.leaf(Spec("x", "U8", (CHUNK + 1,)), data) == expected


def test_an_empty_tensor_has_no_chunks() -> None:
    expected = merkle.leaf(tensors.TAG, tensors.lp(b"x"), tensors.describe("F32", (0,)), merkle.EMPTY)
    assert tensors.leaf(Spec("x", "F32", (0,)), b"") == expected


@pytest.mark.parametrize(
    ("dtype", "shape", "size"), [("F32", (2,), 7), ("F32", (), 0), ("U8", (0,), 1), ("F64", (1,), 4)]
)
def test_an_array_has_the_bytes_its_shape_says(dtype: str, shape: tuple[int, ...], size: int) -> None:
    with pytest.raises(ValueError, match="bytes for"):
        Array(dtype, shape, bytes(size))
