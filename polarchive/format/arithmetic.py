"""Compute formulas, the same bits on every machine (SPEC.md, "Formulas"): IEEE 754 float64, and roundings.

Where a rounding to 24 bits or fewer follows an operation on numbers of 24 bits, float32 gives the same bits as float64,
since 53 ≥ 2 × 24 + 2, in a fraction of the time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from polarchive.format.bits import Words
from polarchive.format.formula import NARROW, TAKEN, Formula, Source, parsed

Numbers: TypeAlias = Mapping[Source, npt.NDArray[Any]]
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "sqrt": np.sqrt,
}
_NAN: Final = {"F64": 0x7FF8 << 48, "F32": 0x7FC0 << 16, "F16": 0x7E00, "BF16": 0x7FC0}


def compute(formula: Formula, dtype: str, numbers: Numbers) -> Words:
    """Return the result as words of `dtype`, in which all NaNs are one.

    `numbers` are arrays of float32 or float64 by the source they come from; they are left alone.
    """
    wide = frozenset(source for source, found in numbers.items() if found.dtype == np.float64)
    with np.errstate(all="ignore"):
        return _words(_run(_compiled(formula.steps, dtype, wide), numbers), dtype)


def widened(words: Words, dtype: str) -> npt.NDArray[Any]:
    """Return the numbers that words of a float dtype stand for, as float32 or float64."""
    if dtype == "BF16":
        return (words.astype(np.uint32) << np.uint32(16)).view(np.float32)
    numbers: npt.NDArray[Any] = words.view(f"<f{words.itemsize}")
    return numbers.astype(np.float32) if dtype == "F16" else numbers


def keeps_subnormals() -> bool:
    """Tell whether this thread computes as IEEE 754 says; some programs tell it to take tiny numbers for zero."""
    tiny = np.array([1, 1 << 23], np.uint32).view(np.float32)
    return bool(tiny[0] > 0 and (tiny * np.float32(0.5))[1] > 0)


@dataclass(frozen=True, slots=True)
class _Operation:
    """Apply a function to the topmost numbers, in float32 or float64, and write over one that nobody else needs."""

    function: Callable[..., Any]
    taken: int
    kind: type[np.floating[Any]]
    spare: int | None

    def __call__(self, operands: list[Any]) -> Any:
        out = None if self.spare is None else operands[self.spare]
        return self.function(*operands, dtype=self.kind, out=out)


@lru_cache(maxsize=256)
def _compiled(
    steps: tuple[str, ...], dtype: str, wide: frozenset[Source]
) -> tuple[_Operation | str | float | Source, ...]:
    """Return the steps of a formula with the operations that they are, given which sources are float64."""
    program, stack = list[_Operation | str | float | Source](), list[_Entry]()
    meant = parsed(steps)
    for step, after in zip(meant, [*meant[1:], dtype], strict=True):
        if isinstance(step, float):
            stack.append(_Entry(float(np.float32(step)) == step))
        elif isinstance(step, Source):
            stack.append(_Entry(step not in wide, is_array=True))
        elif step == "copy":
            stack[-1:] = [_Entry(stack[-1].single, stack[-1].is_array)] * 2
        elif step in NARROW:
            top = stack.pop()
            stack.append(_Entry(True, top.is_array, top.is_array and (top.is_spare or not top.single or step != "F32")))
        else:
            operands = [stack.pop() for _ in range(TAKEN[step])][::-1]
            single = after in NARROW and all(each.single for each in operands)
            spare = next((at for at, each in enumerate(operands) if each.is_spare and each.single == single), None)
            is_array = any(each.is_array for each in operands)
            stack.append(_Entry(single, is_array, is_array))
            program.append(_Operation(_FUNCTIONS[step], len(operands), np.float32 if single else np.float64, spare))
            continue
        program.append(step)
    return tuple(program)


@dataclass(frozen=True, slots=True)
class _Entry:
    """Say of a number on the stack whether it has 24 bits, is one of each element, and may be written over."""

    single: bool
    is_array: bool = False
    is_spare: bool = False


def _run(program: tuple[_Operation | str | float | Source, ...], numbers: Numbers) -> Any:
    stack: list[Any] = []
    for step in program:
        if isinstance(step, _Operation):
            operands = stack[-step.taken :]
            stack[-step.taken :] = [step(operands)]
        elif isinstance(step, str):
            stack.append(stack[-1] if step == "copy" else _rounded(stack.pop(), step))
        else:
            stack.append(numbers[step] if isinstance(step, Source) else step)
    return stack.pop()


def _rounded(value: npt.ArrayLike, dtype: str) -> npt.NDArray[Any]:
    """Return numbers rounded to a narrow dtype, as float32."""
    numbers = np.atleast_1d(value).astype(np.float32, copy=False)
    if dtype == "F16":
        return numbers.astype(np.float16).astype(np.float32)
    return _shortened(numbers) if dtype == "BF16" else numbers


def _shortened(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return float32 rounded to BF16; a NaN stays one, which the sum of its bits would not."""
    words = numbers.view(np.uint32)
    rounded = words >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += np.uint32(0x7FFF)
    rounded += words
    rounded &= np.uint32(0xFFFF0000)
    found = rounded.view(np.float32)
    if _has_nan(numbers):
        found[np.isnan(numbers)] = np.nan
    return found


def _words(numbers: npt.NDArray[Any], dtype: str) -> Words:
    """Return numbers rounded to a dtype, ties to even; what is narrower than F32 is rounded to that first."""
    numbers = numbers.astype(np.float64 if dtype == "F64" else np.float32, copy=False)
    words = _narrowed(numbers, dtype)
    return np.where(np.isnan(numbers), words.dtype.type(_NAN[dtype]), words) if _has_nan(numbers) else words


def _narrowed(numbers: npt.NDArray[Any], dtype: str) -> Words:
    if dtype == "BF16":
        return (_shortened(numbers).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    narrow = numbers.astype(np.float16) if dtype == "F16" else numbers
    words: Words = narrow.view(f"<u{narrow.itemsize}")
    return words


def _has_nan(numbers: npt.NDArray[Any]) -> bool:
    return bool(np.isnan(numbers.max(initial=0)))
