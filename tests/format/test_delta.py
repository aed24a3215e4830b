"""Test that a state coded against any other comes back bit for bit, and that bytes of any other form are refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import zstandard
from hypothesis import given

from polarchive.errors import FormatError, Reason
from polarchive.format import coding, delta, groups, limits, tensors
from polarchive.format.blob import Blob
from polarchive.format.entry import Hyper
from polarchive.format.tensors import ITEMSIZE, Array
from tests.format.strategies import DTYPES, arrays, states
from tests.format.test_coding import small_blocks
from tests.simulator import State

LIMIT = 1 << 30
FLOATS = {
    "F64": [0x7FF0000000000001, 0xFFF8000000000123, 0x8000000000000000, 1, 0x7FF0000000000000, 0xFFF0000000000000],
    "F32": [0x7F800001, 0xFFC01234, 0x80000000, 1, 0x7F800000, 0xFF800000, 0x007FFFFF, 0x80000001],
    "F16": [0x7C01, 0xFE12, 0x8000, 1, 0x7C00, 0xFC00, 0x83FF],
    "BF16": [0x7F81, 0xFFC1, 0x8000, 1, 0x7F80, 0xFF80, 0x807F],
    "F8_E5M2": [0x7D, 0xFE, 0x80, 1, 0x7C, 0xFC, 0x83],
    "F8_E4M3": [0x7F, 0xFF, 0x80, 1, 0x87],
}


def numbers(seed: int, *shape: int, scale: float = 1.0) -> Array:
    """Return an F32 tensor of normal deviates."""
    found = np.random.default_rng(seed).normal(scale=scale, size=shape).astype("<f4")
    return Array("F32", shape, found.tobytes())


def moved(array: Array, seed: int, by: float) -> Array:
    """Return an F32 tensor a little further on."""
    found = np.frombuffer(array.data, "<f4") + np.frombuffer(numbers(seed, *array.shape, scale=by).data, "<f4")
    return Array("F32", array.shape, found.astype("<f4").tobytes())


def noise(dtype: str, count: int, seed: int = 0) -> Array:
    data = np.random.default_rng(seed).bytes(count * ITEMSIZE[dtype])
    return Array(dtype, (count,), bytes(byte & 1 for byte in data) if dtype == "BOOL" else data)


@pytest.fixture(scope="module")
def decode(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Array]]:
    """Return the function that decodes bytes by way of a file."""
    path = tmp_path_factory.mktemp("delta") / "state.coded"

    def decoded(data: bytes, base: State | None = None, limit: int = LIMIT) -> dict[str, Array]:
        path.write_bytes(data)
        blob = Blob.of(path)
        with blob.file:
            state = delta.decode(blob, base or {}, limit)
            assert tensors.size_of(groups.read(blob).layout) == sum(spec.nbytes for spec in tensors.layout_of(state))
        return state

    return decoded


def encode(state: State, base: State | None = None, index: int | None = None, hyper: Hyper = delta.UNKNOWN) -> bytes:
    return b"".join(map(bytes, delta.encode(state, base or {}, index, hyper)))


def described(data: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the tensors and groups that a coded state describes, read as SPEC.md says and not as the package does."""
    start, found = 28, []
    for _ in range(2):
        sizes = [int.from_bytes(data[start + at : start + at + 4], "big") for at in (0, 4)]
        text = zstandard.decompress(data[start + 8 : start + 8 + sizes[1]])
        assert len(text) == sizes[0]
        found.append(json.loads(text))
        start += 8 + sizes[1]
    layout, groups = found
    assert start + sum(int(size) for group in groups for size in group["sizes"]) == len(data)
    assert sum(int(group["tensors"]) for group in groups) == len(layout)
    return layout, groups


def models_of(data: bytes) -> list[str]:
    return [group["model"] for group in described(data)[1]]


@st.composite
def pairs(draw: Callable[..., Any]) -> tuple[State, State]:
    """Draw a state and a base that has some of its tensors: equal, changed, of another dtype or shape."""
    base, state = draw(states), {}
    for name, array in base.items():
        data = bytearray(array.data)
        if data and draw(st.booleans()):
            data[draw(st.integers(0, len(data) - 1))] ^= 1
        same = Array(array.dtype, array.shape, bytes(data))
        state[name] = draw(st.sampled_from([same, array, draw(arrays())]))
    kept = [name for name in state if draw(st.integers(0, 4))]
    return {**{name: state[name] for name in kept}, **draw(states)}, base


@given(pair=pairs(), index=st.none() | st.integers(0, 2**64 - 2))
def test_a_state_comes_back(pair: tuple[State, State], index: int | None, decode: Callable[..., State]) -> None:
    state, base = pair
    with small_blocks(part=2, block=6):
        data = encode(state, base, index)
        found = decode(data, base)
    assert found == state and tensors.root_of(found) == tensors.root_of(state)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 63, 64, 65, 300])
def test_every_dtype_comes_back(count: int, dtype: str, decode: Callable[..., State]) -> None:
    first, second = noise(dtype, count), noise(dtype, count, seed=1)
    near = np.frombuffer(first.data, np.uint8).copy()
    near[:: 2 * ITEMSIZE[dtype]] ^= 1
    state = {"a": second, "b": first, "c": Array(dtype, (count,), near.tobytes()), "d": noise(dtype, count, seed=2)}
    base = {"a": first, "b": first, "c": first}
    with small_blocks():
        assert decode(encode(state, base, 0), base) == state
        assert decode(encode(state)) == state


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_that_are_hard_come_back(dtype: str, decode: Callable[..., State]) -> None:
    """NaNs with bits of their own, infinities, negative zero and subnormal numbers, next to ordinary ones."""
    hard = np.array(FLOATS[dtype], f"<u{ITEMSIZE[dtype]}")
    ordinary = np.frombuffer(noise(dtype, 500).data, hard.dtype)
    found = np.concatenate([hard, ordinary[:400], hard[::-1], ordinary[400:]])
    base = {"w": Array(dtype, (len(found),), np.roll(found, 1).tobytes())}
    state = {"w": Array(dtype, (len(found),), found.tobytes())}
    assert decode(encode(state, base, 3), base) == state
    assert decode(encode(state)) == state


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 7), (3, 0, 2), (2, 3, 4), (1,) * 16], ids=str)
@pytest.mark.parametrize("dtype", ["F32", "BOOL", "C64"])
def test_every_shape_comes_back(dtype: str, shape: tuple[int, ...], decode: Callable[..., State]) -> None:
    size = ITEMSIZE[dtype] * math.prod(shape)
    state, base = {"x": Array(dtype, shape, b"\1" * size)}, {"x": Array(dtype, shape, bytes(size))}
    for known in (base, state, {}):
        assert decode(encode(state, known, 0), known) == state


def test_nothing_at_all_comes_back(decode: Callable[..., State]) -> None:
    assert decode(encode({})) == {} and described(encode({})) == ([], [])


def count(first: int) -> Array:
    """Return an I64 tensor of the squares from there on."""
    return Array("I64", (99,), (np.arange(first, first + 99, dtype="<i8") ** 2).tobytes())


W, SMALL = numbers(0, 4000), numbers(0, 3)
CHOICES: dict[str, tuple[State, State, list[str]]] = {
    "same": ({"w": W}, {"w": W}, ["same"]),
    "near": ({"w": moved(W, 1, 1e-4)}, {"w": W}, ["near"]),
    "below": ({"w": W}, {}, ["below"]),
    "below_though_known": ({"w": W}, {"w": noise("F32", 4000)}, ["below"]),
    "raw": ({"w": noise("F32", 4000)}, {}, ["raw"]),
    "raw_though_known": ({"w": noise("F32", 4000)}, {"w": W}, ["raw"]),
    "raw_because_small": ({"w": SMALL}, {}, ["raw"]),
    "near_integers": ({"w": count(1)}, {"w": count(0)}, ["near"]),
    "another_shape": ({"w": W}, {"w": Array("F32", (2, 2000), W.data)}, ["below"]),
    "another_dtype": ({"w": W}, {"w": Array("U32", (4000,), W.data)}, ["below"]),
    "all": (
        {"a/w": W, "b/w": moved(W, 1, 1e-4), "c/w": W, "d/w": SMALL},
        {"a/w": W, "b/w": W},
        ["same", "near", "below", "raw"],
    ),
    "nothing": ({}, {"w": W}, []),
}


@pytest.mark.parametrize(("state", "base", "models"), CHOICES.values(), ids=CHOICES)
def test_every_model_is_chosen_where_it_suits(
    state: State, base: State, models: list[str], decode: Callable[..., State]
) -> None:
    data = encode(state, base, 0)
    assert models_of(data) == models and decode(data, base) == state
    assert len(data) < 600 * (1 + len(models)) + sum(spec.nbytes for spec in tensors.layout_of(state))


def test_tensors_of_one_dtype_and_role_are_coded_as_one() -> None:
    state = {
        **{f"model/{n}.weight": numbers(n, 40) for n in range(9)},
        **{f"adam/model/{n}.weight/{key}": numbers(n, 40) for n in range(9) for key in ("m", "v")},
    }
    assert [int(group["tensors"]) for group in described(encode(state))[1]] == [9, 9, 9]


def trained(steps: int) -> list[State]:
    """Return states as SGD with momentum leaves them: small steps, and a momentum that forgets."""
    weight, momentum = numbers(0, 300, 20, scale=0.05), numbers(1, 300, 20, scale=1e-3)
    found = []
    for step in range(steps):
        found.append({"model/w": weight, "sgd/model/w/momentum": momentum, "sgd/step": Array("I64", (), bytes(8))})
        momentum, weight = moved(momentum, 2 + step, 1e-4), moved(weight, 99 + step, 1e-4)
    return found


def test_what_looks_real_is_smaller() -> None:
    first, second = trained(2)
    raw = sum(spec.nbytes for spec in tensors.layout_of(first))
    alone, after = len(encode(first)), len(encode(second, first, 0))
    assert after < 0.85 * raw and after < alone < 0.95 * raw


def test_coding_says_the_same_each_time() -> None:
    first, second = trained(2)
    again = {name: Array(a.dtype, a.shape, bytearray(a.data)) for name, a in reversed(second.items())}
    assert encode(second, first, 0) == encode(again, dict(reversed(first.items())), 0)


def small_pair() -> tuple[State, State]:
    """Return a state whose coding has all models, all streams and few bytes, and its base."""
    found = np.arange(40, dtype="<u4") ** 3
    words = found.copy()
    words[7], words[9], words[11] = 1 << 31, 1 << 13, 1 << 10
    base = {"a": Array("U32", (40,), found.tobytes()), "s": Array("BOOL", (2,), b"\1\0")}
    state = {
        **{"a": Array("U32", (40,), (found + words % 77 + words * (words > 999)).astype("<u4").tobytes())},
        **{"s": base["s"], "f": Array("F32", (30,), np.linspace(1, 2, 30, dtype="<f4").tobytes())},
        **{"m": Array("BOOL", (3,), b"\1\0\1")},
    }
    return state, base


class Changed:
    """Decode changed bytes by way of one file that stays open."""

    def __init__(self, path: Path, data: bytes, base: State, expected: State) -> None:
        path.write_bytes(data)
        self.file, self.data, self.base = path.open("r+b", buffering=0), data, base
        self.root = tensors.root_of(expected)

    def is_refused(self, size: int) -> bool:
        """Tell whether the first `size` bytes are refused; anything but FormatError escapes."""
        blob = Blob(self.file, 0, size, "state.coded")
        try:
            index = delta.base_of(blob)
            state = delta.decode(blob, self.base, 1 << 20)
        except FormatError as error:
            assert "\n" not in str(error) and len(str(error)) < 300
            return True
        return tensors.root_of(state) != self.root or index != 0

    def is_flip_refused(self, place: int) -> bool:
        byte = self.data[place // 8]
        self._put(place // 8, byte ^ 1 << place % 8)
        refused = self.is_refused(len(self.data))
        self._put(place // 8, byte)
        return refused

    def _put(self, at: int, byte: int) -> None:
        self.file.seek(at)
        self.file.write(bytes([byte]))


def test_every_flipped_bit_and_every_truncation_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """Only zstd's spare bits and the padding of packed bits can differ in a coding of one and the same state."""
    state, base = small_pair()
    data = encode(state, base, 0)
    assert set(models_of(data)) == {"same", "raw", "near", "below"}
    changed = Changed(tmp_path / "state.coded", data, base, state)
    with changed.file:
        assert not changed.is_refused(len(data))
        spare = [place for place in range(8 * len(data)) if not changed.is_flip_refused(place)]
        assert all(changed.is_refused(size) for size in range(len(data)))
    assert len(spare) < 0.02 * 8 * len(data) and all(place >= 8 * 36 for place in spare)


def refusal(decode: Callable[..., State], data: bytes, base: State, limit: int = LIMIT) -> Reason:
    with pytest.raises(FormatError) as caught:
        decode(data, base, limit)
    return caught.value.reason


@pytest.mark.parametrize("name", CHOICES)
def test_a_state_may_not_be_larger_than_the_limit(name: str, decode: Callable[..., State]) -> None:
    state, base, models = CHOICES[name]
    raw, data = sum(spec.nbytes for spec in tensors.layout_of(state)), encode(state, base, 0)
    assert decode(data, base, raw) == state
    if models:
        assert refusal(decode, data, base, raw - 1) == Reason.LIMIT


@pytest.mark.parametrize("longest", [0, 1], ids=["layout", "groups"])
def test_a_description_may_not_be_too_long(
    longest: int, decode: Callable[..., State], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"w" * 200: SMALL} if not longest else {f"{index}/w": numbers(index, index) for index in range(9)}
    data = encode(state)
    size = max(len(json.dumps(found, separators=(",", ":"))) for found in described(data))
    assert size == len(json.dumps(described(data)[longest], separators=(",", ":")))
    monkeypatch.setattr(groups, "MAX_TENSORS_HEADER", size)
    assert decode(data) == state
    monkeypatch.setattr(groups, "MAX_TENSORS_HEADER", size - 1)
    assert refusal(decode, data, {}) == Reason.LIMIT
    assert limits.MAX_TENSORS_HEADER == 32 << 20


@pytest.mark.parametrize("model", ["same", "near"])
@pytest.mark.parametrize(
    "base",
    [
        {},
        {"other": W},
        {"w": Array("F32", (2, 2000), W.data)},
        {"w": Array("U32", (4000,), W.data)},
        {"w": numbers(0, 3999)},
    ],
    ids=["nothing", "other_name", "other_shape", "other_dtype", "fewer"],
)
def test_a_base_that_lacks_a_tensor_is_refused(base: State, model: str, decode: Callable[..., State]) -> None:
    state, known, _ = CHOICES[model]
    assert refusal(decode, encode(state, known, 0), base) == Reason.CODING


@pytest.mark.parametrize("name", ["near", "below"])
def test_another_base_gives_another_state(name: str, decode: Callable[..., State]) -> None:
    state, known, _ = CHOICES[name]
    found = decode(encode(state, known, 0), {"w": moved(W, 5, 1e-3)})
    assert (found == state) is (name == "below")


@pytest.mark.parametrize("index", [None, 0, 1, 2**64 - 2])
def test_the_index_of_the_base_is_said(index: int | None, tmp_path: Path) -> None:
    (tmp_path / "state.coded").write_bytes(encode({"w": SMALL}, {}, index))
    blob = Blob.of(tmp_path / "state.coded")
    with blob.file:
        assert delta.base_of(blob) == index


def test_tensors_may_lie_in_several_blocks(decode: Callable[..., State]) -> None:
    first = numbers(0, coding.BLOCK - 1)
    state = {"a": first, "b": numbers(1, 3), "c": moved(first, 2, 1e-3)}
    base = {"a": moved(first, 3, 1e-5), "c": first}
    assert decode(encode(state, base, 0), base) == state
