"""Find out which tensors of a state go together, and by which rules they may follow (SPEC.md, "Names of tensors")."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from polarchive.format.formula import Formula
from polarchive.format.predict import Rule, State
from polarchive.format.rules import Place
from polarchive.format.tensors import ITEMSIZE

_Standing: TypeAlias = tuple[str, str, str, tuple[str, ...]]  # part, optimizer, key there ("": a parameter), all keys


@dataclass(frozen=True, slots=True)
class Role:
    """Say what tensors are alike: where they stand, in which part, and whether the base has them too."""

    place: Place
    part: str
    known: bool

    @property
    def order(self) -> tuple[Any, ...]:
        """Return what puts tensors before those that follow from them: moments, parameters, narrower copies."""
        place = self.place
        return not place.key, -ITEMSIZE[place.dtype], place.dtype, self.part, place.key, place.keys, self.known

    def copied(self, parts: Iterable[str]) -> Iterator[Rule]:
        """Yield how narrow tensors may be copies: of the parameters of other parts, or of what the optimizer holds."""
        if self.place.dtype in ("F16", "BF16") and not self.place.key:
            yield from (self.place.rule("new1", key) for key in self.place.keys)
            for part in parts:
                yield Rule(((f"{self.part}/", ""), (f"{part}/", "")), Formula(("new1",)))


def roles(state: State, names: Iterable[str], base: State) -> list[tuple[Role, list[str]]]:
    """Return the roles of some tensors of a state, each with their names, in the order in which to code them."""
    found: dict[tuple[int, str, bool], list[str]] = {}
    standings, where = _standings(tuple(sorted(state)))
    for name in names:
        array, before = state[name], base.get(name)
        known = before is not None and before.dtype == array.dtype and before.shape == array.shape
        found.setdefault((where[name], array.dtype, known), []).append(name)
    roles = [
        (Role(Place(dtype, *standings[index][1:]), standings[index][0], known), members)
        for (index, dtype, known), members in found.items()
    ]
    return sorted(roles, key=lambda item: item[0].order)


@lru_cache(maxsize=4)
def _standings(names: tuple[str, ...]) -> tuple[list[_Standing], Mapping[str, int]]:
    """Return where some names stand, and for each name which of these is its own; an optimizer holds NAME/P/KEY."""
    known = frozenset(names)
    owned = {name: owner for name in names if (owner := _owner(name))[1] in known}
    keys: dict[str, dict[str, tuple[str, ...]]] = {}
    for optimizer, parameter, key in owned.values():
        held = keys.setdefault(parameter, {})
        held[optimizer] = (*held.get(optimizer, ()), key)
    found = {name: _standing(name, owned.get(name), keys) for name in names}
    standings = sorted(set(found.values()))
    return standings, {name: standings.index(each) for name, each in found.items()}


def _standing(
    name: str, owner: tuple[str, str, str] | None, keys: Mapping[str, Mapping[str, tuple[str, ...]]]
) -> _Standing:
    part = name.partition("/")[0]
    if owner is not None:
        optimizer, parameter, key = owner
        return part, optimizer, key, keys[parameter][optimizer]
    optimizer, held = min(keys.get(name, {"": ()}).items())
    return part, optimizer, "", held


def _owner(name: str) -> tuple[str, str, str]:
    optimizer, _, rest = name.partition("/")
    parameter, _, key = rest.rpartition("/")
    return optimizer, parameter, key
