"""Formulas of polarchive/v1, computed one number at a time as SPEC.md alone says: a part of the independent reader."""

import math
import struct
from typing import Any

SIZES = dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1) | dict.fromkeys(("U16", "I16", "F16", "BF16"), 2)
SIZES |= dict.fromkeys(("U32", "I32", "F32"), 4) | dict.fromkeys(("U64", "I64", "F64", "C64"), 8)


class Refused(Exception):
    """The format is broken; the argument is the reason code."""


def need(fact: Any, code: str) -> Any:
    if not fact:
        raise Refused(code)
    return fact


def number(word: int, dtype: str) -> float:
    """Return the float that a word stands for."""
    if dtype == "BF16":
        word, dtype = word << 16, "F32"
    size, form = {"F64": (8, "<d"), "F32": (4, "<f"), "F16": (2, "<e")}[dtype]
    (found,) = struct.unpack(form, word.to_bytes(size, "little"))
    return found


def nearest(value: float, dtype: str) -> int:
    """Return the word of the nearest number of a dtype; there is one NaN."""
    if math.isnan(value):
        return {"F64": 0x7FF8 << 48, "F32": 0x7FC00000, "F16": 0x7E00, "BF16": 0x7FC0}[dtype]
    if dtype == "F64":
        return int(struct.pack(">d", value).hex(), 16)
    if dtype == "BF16":
        word = nearest(value, "F32")
        return word + 0x7FFF + (word >> 16 & 1) >> 16
    value = number(nearest(value, "F32"), "F32") if dtype == "F16" else value
    try:
        return int(struct.pack({"F32": ">f", "F16": ">e"}[dtype], value).hex(), 16)
    except OverflowError:
        return nearest(math.copysign(math.inf, value), dtype)


def operate(step: str, a: float, b: float) -> float:
    match step:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
    if b:
        return a / b
    return math.nan if not a or math.isnan(a) else math.copysign(math.inf, math.copysign(1, a) * math.copysign(1, b))


def predict(formula: list[str], dtype: str, elements: dict[str, float]) -> int:
    stack: list[float] = []
    for step in formula:
        if step in elements:
            stack.append(elements[step])
        elif step == "copy":
            stack.append(stack[-1])
        elif step == "sqrt":
            top = stack.pop()
            stack.append(math.sqrt(top) if top >= 0 else top if not top else math.nan)
        elif step in "+-*/":
            b, a = stack.pop(), stack.pop()
            stack.append(operate(step, a, b))
        elif step in ("F32", "F16", "BF16"):
            stack.append(number(nearest(stack.pop(), step), step))
        else:
            stack.append(struct.unpack(">d", bytes.fromhex(step[1:]))[0])
    return nearest(stack.pop(), dtype)


def check_rule(rule: dict[str, Any]) -> None:
    depth, formula, names = 0, rule["formula"], rule["names"]
    need(names and all(len(pair) == 2 for pair in names), "field")
    for step in formula:
        needed = 2 if step in ("+", "-", "*", "/") else int(step in ("copy", "sqrt", "F32", "F16", "BF16"))
        need(depth >= needed and not (step[:3] in ("old", "new") and int(step[3]) >= len(names)), "field")
        depth += (2 if step == "copy" else 1) - needed
        need(depth <= 8, "field")
    need(depth == 1 and any(step[:3] in ("old", "new") for step in formula), "field")
