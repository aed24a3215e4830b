"""Say how numbers follow from others, in postfix notation (SPEC.md, "Formulas").

Sources and constants are put on a stack, operations take what lies on top. There are + − × ÷ √ and roundings, element
by element, and nothing that repeats or decides.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from polarchive.format import fields as f
from polarchive.format.limits import MAX_SOURCES, MAX_STACK, MAX_STEPS

FLOATS: Final = frozenset(("F64", "F32", "F16", "BF16"))
NARROW: Final = FLOATS - {"F64"}
TAKEN: Final = {**dict.fromkeys("+-*/", 2), **dict.fromkeys(("sqrt", "copy", *NARROW), 1)}  # numbers that a step takes
_SOURCE: Final = re.compile(f"(old|new)([0-{MAX_SOURCES - 1}])")


@dataclass(frozen=True, slots=True)
class Source:
    """Stand for a tensor of the state itself (`new`) or of its base, by the index of its name."""

    new: bool
    index: int


@dataclass(frozen=True, slots=True)
class Formula:
    """Hold steps that leave one number; ValueError if they do not."""

    steps: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise ValueError unless the formula can be computed."""
        depth = 0
        for step in parsed(self.steps):
            taken = TAKEN[step] if isinstance(step, str) else 0
            left = 2 if step == "copy" else 1
            if not taken <= depth <= MAX_STACK - left + taken:
                raise ValueError(f"a step that finds {depth} numbers")
            depth += left - taken
        if depth != 1 or not self.sources or len(self.steps) > MAX_STEPS:
            raise ValueError(f"{len(self.steps)} steps that leave {depth} numbers, or read nothing")

    @property
    def sources(self) -> tuple[Source, ...]:
        """Return the sources that the formula reads, each once."""
        return tuple(dict.fromkeys(step for step in parsed(self.steps) if isinstance(step, Source)))


@lru_cache(maxsize=256)
def parsed(steps: tuple[str, ...]) -> tuple[str | float | Source, ...]:
    """Return what each step means; ValueError for one that means nothing."""
    return tuple(map(_parsed, steps))


def constant(value: float) -> str:
    """Return the step that puts a finite number on the stack."""
    return str(f.setting.write(value))


def _parsed(step: str) -> str | float | Source:
    if step in TAKEN:
        return step
    if source := _SOURCE.fullmatch(step):
        return Source(source[1] == "new", int(source[2]))
    value = f.setting.read(step)
    if not isinstance(value, float):
        raise ValueError("a constant that is no float")
    return value
