"""Predict tensors of a state from its base and from others of its own (SPEC.md, "Formulas")."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from polarchive.format.arithmetic import compute, widened
from polarchive.format.bits import Words
from polarchive.format.formula import FLOATS, Formula, Source
from polarchive.format.joined import Joined
from polarchive.format.tensors import Array, Layout

State: TypeAlias = Mapping[str, Array]
Affixes: TypeAlias = tuple[str, str]
PLAIN: Final[Affixes] = ("", "")


@dataclass(frozen=True, slots=True)
class Rule:
    """Say by what formula tensors follow from others.

    `names` are what stands before and after the name of a parameter in the name of a tensor: first of those that are
    predicted, then of others. A source of the formula is a place in `names`.
    """

    names: tuple[Affixes, ...]
    formula: Formula

    def __post_init__(self) -> None:
        """Raise ValueError if the formula reads what has no name."""
        if not self.names or any(source.index >= len(self.names) for source in self.formula.sources):
            raise ValueError("a source without a name")


@dataclass(slots=True)
class Surroundings:
    """Hold tensors that are coded as one, and the states in which others are found that go with them."""

    layout: Layout
    new: State
    old: State
    _found: dict[tuple[bool, Affixes, Affixes], tuple[str, Joined]] = field(default_factory=dict)

    def words(self, new: bool, own: Affixes = PLAIN, other: Affixes = PLAIN) -> tuple[str, Joined]:
        """Return the dtype and the words of the tensors that are named alike; ValueError if they are not all there."""
        key = new, own, other
        if key not in self._found:
            arrays = self._arrays(self.new if new else self.old, own, other)
            if len({array.dtype for array in arrays}) != 1:
                raise ValueError(f"{other[0]}…{other[1]} has several dtypes")
            self._found[key] = arrays[0].dtype, Joined.of(arrays)
        return self._found[key]

    def _arrays(self, state: State, own: Affixes, other: Affixes) -> list[Array]:
        (before, after), (first, last) = own, other
        found = []
        for spec in self.layout:
            name = spec.name
            if not (name.startswith(before) and name.endswith(after) and len(name) >= len(before) + len(after)):
                raise ValueError(f"{name} is not named {before}…{after}")
            array = state.get(first + name[len(before) : len(name) - len(after)] + last)
            if array is None or array.shape != spec.shape:
                raise ValueError(f"{first}…{last} of {name} is not there, or has another shape")
            found.append(array)
        return found


@dataclass(frozen=True, slots=True)
class Prediction:
    """Give the words that a rule predicts, a part at a time; `sources` are the dtypes and words it reads."""

    formula: Formula
    dtype: str
    sources: Mapping[Source, tuple[str, Joined]]

    @classmethod
    def of(cls, rule: Rule, around: Surroundings) -> "Prediction":
        """Return what a rule predicts; ValueError if it needs tensors that are not there, or are not floats."""
        dtype, own = around.layout[0].dtype, rule.names[0]
        sources = {s: around.words(s.new, own, rule.names[s.index]) for s in rule.formula.sources}
        if any(each not in FLOATS for each in (dtype, *(found for found, _ in sources.values()))):
            raise ValueError("a prediction from or of what is no float")
        return cls(rule.formula, dtype, sources)

    def __getitem__(self, part: slice, /) -> Words:
        """Return the predicted words of a part."""
        numbers = {source: widened(words[part], dtype) for source, (dtype, words) in self.sources.items()}
        return compute(self.formula, self.dtype, numbers)
