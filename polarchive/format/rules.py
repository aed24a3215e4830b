"""State how torch's optimizers compute tensors from others, as formulas (SPEC.md, "Formulas", says what they mean).

The formulas round where torch does on a CPU, or contract as compilers do for a GPU. Where they are wrong by a bit, or
altogether, a state takes more bytes and is the same. `D` rounds to the dtype of what is predicted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from polarchive.format.formula import Formula, constant
from polarchive.format.predict import PLAIN, Affixes, Rule

Settings = Mapping[str, float | bool | None]
MOMENTUM, FIRST, SECOND, LARGEST = "momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"
MOMENTS: Final = frozenset((MOMENTUM, FIRST, SECOND, LARGEST, "step"))


@dataclass(frozen=True, slots=True)
class Place:
    """Say where tensors stand: their dtype, the name of their optimizer, their key there (parameters: ""), all keys."""

    dtype: str
    optimizer: str = ""
    key: str = ""
    keys: tuple[str, ...] = ()

    @property
    def own(self) -> Affixes:
        """Return what stands around a parameter's name in those of the tensors."""
        return self.of(self.key) if self.key else PLAIN

    def of(self, key: str) -> Affixes:
        """Return what stands around a parameter's name in those of the optimizer's tensors."""
        return f"{self.optimizer}/", f"/{key}"

    def single(self, value: float) -> str:
        """Return the constant as which an optimizer multiplies with a number: it computes in F32 or F64."""
        with np.errstate(over="ignore"):  # what is infinite then is no constant
            return constant(value if self.dtype == "F64" else float(np.float32(value)))

    def rule(self, formula: str, *keys: str) -> Rule:
        """Return the rule of a formula whose names are the tensors' own and those of the keys."""
        steps = [self.dtype if step == "D" else step for step in formula.split()]
        steps = [step for step in steps if step != "F64" and not (self.dtype == "F64" and step == "F32")]
        return Rule((self.own, *map(self.of, keys)), Formula(tuple(steps)))


def of_step(place: Place, settings: Settings, step: float | None) -> Iterator[Rule]:
    """Yield how tensors may follow from one step with these settings, the likeliest first."""
    try:
        if place.key == SECOND and FIRST in place.keys:
            yield from _second(place, settings)
        elif place.key in MOMENTS:
            return
        elif MOMENTUM in place.keys:
            yield from _sgd(place, settings)
        elif {FIRST, SECOND} <= {*place.keys} and step:
            yield from _adam(place, settings, step)
    except (KeyError, TypeError, ValueError, ArithmeticError):  # a setting that is missing, or that no formula can hold
        return


def features(place: Place) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return formulas whose multiples, added to the base's tensors, come near after several steps; and their keys."""
    if place.key == SECOND and FIRST in place.keys:
        return ("new1 copy * F32", "old1 copy * F32", "new1 old1 * F32"), (FIRST,)
    if place.key in MOMENTS:
        return (), ()
    if MOMENTUM in place.keys:
        return ("new1", "old1"), (MOMENTUM,)
    if {FIRST, SECOND} <= {*place.keys}:
        tiny = place.single(1e-8)
        return tuple(f"{at}1 {at}2 sqrt F32 {tiny} + F32 / F32" for at in ("new", "old")), (FIRST, SECOND)
    return (), ()


def _sgd(place: Place, settings: Settings) -> Iterator[Rule]:
    rate = _number(settings, "lr")
    if not settings.get("nesterov"):
        yield place.rule(f"old0 new1 {place.single(-rate)} * +", MOMENTUM)
        yield place.rule(f"old0 new1 {place.single(-rate)} * F32 +", MOMENTUM)
        return
    keep, damp = _number(settings, "momentum"), 1 - _number(settings, "dampening")
    gradient = f"new1 old1 {constant(keep)} * - {constant(damp)} / F32"
    yield place.rule(f"old0 {gradient} new1 {place.single(keep)} * + F32 {place.single(-rate)} * +", MOMENTUM)


def _second(place: Place, settings: Settings) -> Iterator[Rule]:
    first, second = _number(settings, "betas/0"), _number(settings, "betas/1")
    gradient = f"new1 old1 - F32 {place.single(1 - first)} / F32 old1 + F32 copy"
    yield place.rule(f"old0 {place.single(second)} * D {gradient} {place.single(1 - second)} * F32 * F32 +", FIRST)


def _adam(place: Place, settings: Settings, step: float) -> Iterator[Rule]:
    rate, decay, first, second, tiny = (
        _number(settings, name) for name in ("lr", "weight_decay", "betas/0", "betas/1", "eps")
    )
    size, scale = rate / (1 - first**step), (1 - second**step) ** 0.5
    root = LARGEST if settings.get("amsgrad") else SECOND
    below = f"new2 sqrt F32 {place.single(scale)} / F32 {place.single(tiny)} + F32"
    kept = [f"old0 {place.single(1 - rate * decay)} * F32", "old0"]
    for base in kept if decay else kept[1:]:
        yield place.rule(f"{base} new1 {place.single(-size)} * F32 {below} / F32 +", FIRST, root)
        yield place.rule(f"{base} new1 {below} / F32 {place.single(-size)} * +", FIRST, root)


def _number(settings: Settings, name: str) -> float:
    value = settings[name]
    if value is None:
        raise KeyError(name)
    return float(value)
