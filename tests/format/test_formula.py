"""Test that formulas give the bits that SPEC.md says, whatever the numbers, and that what is no formula is refused."""

import struct
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from polarchive.format import formula
from polarchive.format.arithmetic import compute, keeps_subnormals, widened
from polarchive.format.formula import FLOATS, Formula, Source, constant
from tests.independent_formula import nearest, number, predict

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
OLD, NEW = Source(False, 0), Source(True, 1)


def words(dtype: str) -> st.SearchStrategy[int]:
    """Draw the bits of a float: any, or those of zeros, subnormal numbers, ones, the largest, infinities and NaNs."""
    bits, exponent = 8 * SIZES[dtype], {"F64": 11, "F32": 8, "F16": 5, "BF16": 8}[dtype]
    fraction = bits - 1 - exponent
    hard = [0, 1, (1 << fraction) - 1, 1 << fraction, (1 << exponent - 1) - 1 << fraction]
    hard += [((1 << exponent) - 1 << fraction) + more for more in (-1, 0, 1, 1 << fraction - 1, (1 << fraction) - 1)]
    sign = st.sampled_from([0, 1 << bits - 1])
    return st.integers(0, (1 << bits) - 1) | st.builds(int.__or__, st.sampled_from(hard), sign)


@st.composite
def formulas(draw: Callable[..., Any]) -> tuple[str, ...]:
    """Draw the steps of a formula."""
    steps, depth = [draw(st.sampled_from(["old0", "new1"]))], 1
    for _ in range(draw(st.integers(0, 9))):
        pushed = ["old0", "new1", "copy", constant(draw(st.floats(allow_nan=False, allow_infinity=False)))]
        step = draw(st.sampled_from(pushed if depth == 1 else [*"+-*/"] if depth == 8 else [*"+-*/", *pushed]))
        steps += [step, *draw(st.lists(st.sampled_from(["sqrt", "F32", "F32", "F16", "BF16"]), max_size=2))]
        depth += -1 if step in "+-*/" else 1
    return (*steps, *["*"] * (depth - 1))


def array(found: list[int], dtype: str) -> Any:
    return np.array(found, f"<u{SIZES[dtype]}")


@pytest.mark.parametrize("dtype", sorted(FLOATS))
@given(steps=formulas(), sources=st.tuples(*[st.sampled_from(sorted(FLOATS))] * 2), data=st.data())
def test_a_formula_gives_what_is_specified(
    dtype: str, steps: tuple[str, ...], sources: tuple[str, str], data: st.DataObject
) -> None:
    pairs = data.draw(st.lists(st.tuples(*map(words, sources)), min_size=1, max_size=5))
    old, new = zip(*pairs, strict=True)
    numbers = {
        OLD: widened(array(list(old), sources[0]), sources[0]),
        NEW: widened(array(list(new), sources[1]), sources[1]),
    }
    found = compute(Formula(steps), dtype, numbers)
    floats = ((number(one, sources[0]), number(other, sources[1])) for one, other in pairs)
    expected = [predict(list(steps), dtype, {"old0": one, "new1": other}) for one, other in floats]
    assert found.dtype == np.dtype(f"<u{SIZES[dtype]}") and found.tolist() == expected


@pytest.mark.parametrize("step", ["+", "-", "*", "/"])
@pytest.mark.parametrize("seed", range(4))
def test_float32_is_a_short_cut_and_no_other_way(step: str, seed: int) -> None:
    """Where a rounding follows, 24 bits are enough; and subnormal numbers are no exception."""
    noise = np.random.default_rng(seed)
    small = np.uint32(0x83FFFFFF if seed % 2 else 0xFFFFFFFF)
    pair = [(np.frombuffer(noise.bytes(200_000), "<u4") & small).view("<f4") for _ in range(2)]
    with np.errstate(invalid="ignore"):
        wide = [each.astype(np.float64) for each in pair]
    found = [
        compute(Formula(("old0", "new1", step)), "F32", dict(zip((OLD, NEW), numbers, strict=True)))
        for numbers in (pair, wide)
    ]
    assert np.array_equal(*found)


@pytest.mark.parametrize(("dtype", "kind"), [("BF16", torch.bfloat16), ("F16", torch.float16)])
def test_narrow_numbers_are_rounded_as_torch_does(dtype: str, kind: torch.dtype) -> None:
    every = np.arange(1 << 16, dtype="<u4") << np.uint32(16)
    near = np.concatenate([every + np.uint32(more) for more in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)])
    found = compute(Formula(("old0",)), dtype, {OLD: near.view("<f4")})
    expected = torch.from_numpy(near.view("<f4").copy()).to(kind).view(torch.int16).numpy().view("<u2")
    nan = np.isnan(near.view("<f4"))
    assert np.array_equal(found[~nan], expected[~nan]) and set(found[nan].tolist()) == {nearest(np.nan, dtype)}


@pytest.mark.parametrize("rounding", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("step", ["+", "-", "*", "/"])
@pytest.mark.parametrize("pair", [(0.0, 0.0), (1e300, 1e-300), (1e300, -1e300), (1.5, -2.5)], ids=str)
def test_constants_are_numbers_too(pair: tuple[float, float], step: str, rounding: str) -> None:
    steps = ("old0", *map(constant, pair), step, rounding, "copy", "sqrt", "+", "+")
    for dtype in FLOATS:
        found = compute(Formula(steps), dtype, {OLD: np.arange(3, dtype="<f4")})
        assert found.tolist() == [predict(list(steps), dtype, {"old0": number}) for number in (0.0, 1.0, 2.0)]


def test_what_is_read_is_left_alone() -> None:
    numbers = np.array([1.5, np.nan, -0.0], "<f4")
    before = numbers.tobytes()
    for steps in (("old0",), ("old0", "BF16"), ("old0", "sqrt", "F32"), ("old0", "copy", "+")):
        compute(Formula(steps), "F32", {OLD: numbers})
    assert numbers.tobytes() == before


def test_no_elements_are_no_words() -> None:
    for dtype in FLOATS:
        assert len(compute(Formula(("old0", "BF16")), dtype, {OLD: np.empty(0, "<f4")})) == 0


@pytest.mark.parametrize(
    "steps",
    [
        (),
        ("pow",),
        ("old",),
        ("old8",),
        ("old00",),
        ("old0 ",),
        ("F64",),
        ("",),
        ("old0", "f7ff0000000000000", "+"),
        ("old0", "f3FE0000000000000", "+"),
        ("old0", "f3fe000000000000", "+"),
        ("old0", "i3", "+"),
        ("old0", "+"),
        ("old0", "old0"),
        ("copy",),
        ("sqrt",),
        ("F32", "old0"),
        (constant(1.0),),
        ("old0", *["copy"] * 8, *["+"] * 8),
        ("old0", *["F32"] * 64),
    ],
    ids=str,
)
def test_what_is_no_formula_is_refused(steps: tuple[str, ...]) -> None:
    with pytest.raises(ValueError) as caught:
        Formula(steps)
    assert "\n" not in str(caught.value)


def test_the_longest_formulas_are_taken() -> None:
    assert Formula(("old0", *["F32"] * 63)).sources == (OLD,)
    assert Formula(("old0", *["copy"] * 7, *["+"] * 7)).sources == (OLD,)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_constant_is_the_float_itself(value: float) -> None:
    (found,) = formula.parsed((constant(value),))
    assert isinstance(found, float) and struct.pack("<d", found) == struct.pack("<d", value)


def test_a_thread_that_flushes_subnormal_numbers_is_known() -> None:
    assert keeps_subnormals()
    if torch.set_flush_denormal(True):
        try:
            assert not keeps_subnormals()
        finally:
            torch.set_flush_denormal(False)
    assert keeps_subnormals()
