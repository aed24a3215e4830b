"""Plan which tensors of a state a writer codes as one, and by which rules it tries to predict them.

What is planned is described in the coded state; a reader needs none of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from polarchive.format import bits
from polarchive.format.arithmetic import keeps_subnormals
from polarchive.format.entry import Hyper
from polarchive.format.predict import Prediction, Rule, State, Surroundings
from polarchive.format.roles import roles
from polarchive.format.rules import MOMENTS, Place, Settings, of_step
from polarchive.format.tensors import ITEMSIZE, Array, spec_of

_LARGEST: Final = 1 << 26  # bytes of a group, which take several times as much memory while they are coded
_HEAD: Final = 64  # words of a tensor that show which settings are its own


@dataclass(frozen=True, slots=True)
class Task:
    """Hold tensors to code as one, whether the base has them too, and the rules to try, the likeliest first."""

    names: tuple[str, ...]
    place: Place
    known: bool
    rules: tuple[Rule, ...]


def tasks(state: State, names: Iterable[str], base: State, hyper: Hyper) -> Iterator[Task]:
    """Yield what to code, in this order: no rule reads a tensor of the state itself before it is coded."""
    parts, predictable = sorted({name.partition("/")[0] for name in state}), keeps_subnormals()
    for role, members in roles(state, names, base):
        copied = tuple(role.copied(part for part in parts if part != role.part))
        place = role.place if predictable else Place(role.place.dtype)
        for group, rules in _by_rules(place, members, state, base, hyper):
            for some in _bounded(group, state):
                yield Task(tuple(some), place, role.known, (*copied, *rules) if predictable else ())


def _by_rules(
    place: Place, names: Sequence[str], state: State, base: State, hyper: Hyper
) -> Iterator[tuple[Sequence[str], tuple[Rule, ...]]]:
    """Yield names of one role by the rules that their own step and settings give."""
    groups: dict[float | None, list[str]] = {}
    for name in names:
        groups.setdefault(_step(place, name, state), []).append(name)
    for step, members in groups.items():
        found = (tuple(of_step(place, each, step)) for each in _settings(hyper, place.optimizer))
        options = list(dict.fromkeys(rules for rules in found if rules))
        if len(options) > 1:
            yield from _shared_out(members, options, state, base)
        else:
            yield members, options[0] if options else ()


def _step(place: Place, name: str, state: State) -> float | None:
    """Return how many steps the optimizer has taken with a parameter, if it counts them."""
    if "step" not in place.keys or place.key in MOMENTS:
        return None
    before, after = place.own
    array = state[name[len(before) : len(name) - len(after)].join(place.of("step"))]
    if array.shape or array.dtype not in ("F32", "F64"):
        return None
    return float(np.frombuffer(array.data, f"<f{ITEMSIZE[array.dtype]}")[0])


def _settings(hyper: Hyper, optimizer: str) -> list[Settings]:
    """Return the settings of each parameter group of an optimizer."""
    groups: dict[str, dict[str, float | bool | None]] = {}
    for path, value in hyper.items():
        name, _, rest = path.partition("/")
        group, _, setting = rest.partition("/")
        if name == optimizer:
            groups.setdefault(group, {})[setting] = value
    return [groups[group] for group in sorted(groups)]


def _shared_out(
    names: Sequence[str], options: Sequence[tuple[Rule, ...]], state: State, base: State
) -> Iterator[tuple[Sequence[str], tuple[Rule, ...]]]:
    """Yield names by the settings that suit the first words of each best."""
    heads = tuple(spec_of(name, _head(state[name])) for name in names)
    around = Surroundings(heads, _Heads(state), _Heads(base))
    owners = np.repeat(np.arange(len(heads)), [spec.shape[0] for spec in heads])
    costs = [_costs(around, option[0], owners) for option in options]
    chosen = np.argmin(costs, axis=0)
    for index, option in enumerate(options):
        if some := [name for name, each in zip(names, chosen, strict=True) if each == index]:
            yield some, option


@dataclass(frozen=True, slots=True)
class _Heads(Mapping[str, Array]):
    """Stand for a state of which only the first words of each tensor are there."""

    state: State

    def __getitem__(self, name: str) -> Array:
        return _head(self.state[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.state)

    def __len__(self) -> int:
        return len(self.state)


def _head(array: Array) -> Array:
    size = ITEMSIZE[array.dtype]
    data = memoryview(array.data)[: _HEAD * size]
    return Array(array.dtype, (data.nbytes // size,), data)


def _costs(around: Surroundings, rule: Rule, owners: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return how many bits the distances of each tensor's words take together."""
    try:
        predicted = Prediction.of(rule, around)[:]
    except ValueError:  # a tensor that it needs is not there
        return np.full(len(around.layout), np.inf)
    distances = bits.zigzag(around.words(new=True)[1][:] - predicted)
    found = np.bincount(owners, bits.lengths(distances), len(around.layout))
    return found.astype(np.float64)


def _bounded(names: Sequence[str], state: State) -> Iterator[list[str]]:
    """Yield names in groups that are not too large, or of one tensor."""
    group: list[str] = []
    size = 0
    for name in names:
        more = memoryview(state[name].data).nbytes
        if group and size + more > _LARGEST:
            yield group
            group, size = [], 0
        group.append(name)
        size += more
    if group:
        yield group
