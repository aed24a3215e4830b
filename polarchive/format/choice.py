"""Choose the model under which tensors are smallest (SPEC.md, "Coded states").

What is chosen here is described in the coded state; a reader needs none of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from polarchive.format import cuts
from polarchive.format.arithmetic import widened
from polarchive.format.formula import FLOATS
from polarchive.format.joined import Joined
from polarchive.format.models import Below, Model, Near
from polarchive.format.predict import Prediction, Rule, Surroundings
from polarchive.format.rules import Place, features

_SAMPLE: Final = 1 << 11
_FEW: Final = 1 << 8  # words, for which every choice costs more time than bytes
_EXACT: Final = 0.5  # bits per word, below which nothing better is looked for
_WORTH: Final = 0.003  # of all bits, which a rule that is not exact must save to be worth its time


@dataclass(frozen=True, slots=True)
class Choice:
    """Hold a model, what a sample says it costs in bits per word, and its rule if it has one."""

    cost: float
    model: Model
    rule: Rule | None = None


def choose(words: Joined, around: Surroundings, known: bool, place: Place, rules: Iterable[Rule]) -> Choice:
    """Return the cheapest model of the words of tensors that the base has too (`known`) or not."""
    if len(words) < _FEW:
        return Choice(0, Near(around.words(new=False)[1]) if known else Below.of(words.pieces))
    sample = slice(0, len(words), max(1, len(words) // _SAMPLE))
    best = _best_rule(words, sample, around, rules)
    if best is not None and best.cost < _EXACT:
        return best
    choices = [_choice(words, sample, Below.of([words[sample]]))]
    if known:
        fitted = _best_rule(words, sample, around, _fitted(words, sample, around, place))
        choices += [_choice(words, sample, Near(around.words(new=False)[1])), *([fitted] if fitted else [])]
    worth = _WORTH * 8 * words.dtype.itemsize
    choice = min([*choices, *([best] if best else [])], key=lambda each: each.cost + (worth if each.rule else 0))
    return Choice(choice.cost, Below.of(words.pieces)) if isinstance(choice.model, Below) else choice


def _best_rule(words: Joined, sample: slice, around: Surroundings, rules: Iterable[Rule]) -> Choice | None:
    best: Choice | None = None
    for rule in rules:
        try:
            choice = _choice(words, sample, Near(Prediction.of(rule, around)), rule)
        except ValueError:  # a tensor that it needs is not there
            continue
        best = choice if best is None or choice.cost < best.cost else best
        if best.cost < _EXACT:
            break
    return best


def _choice(words: Joined, sample: slice, model: Model, rule: Rule | None = None) -> Choice:
    distances = words[sample].copy()
    model.distances(distances, sample, distances)
    return Choice(cuts.estimate(distances), model, rule)


def _fitted(words: Joined, sample: slice, around: Surroundings, place: Place) -> Iterator[Rule]:
    """Yield the rule that adds multiples of what is there, by least squares over a sample."""
    terms, keys = features(place)
    if not terms or place.dtype not in FLOATS:
        return
    try:
        columns = [_numbers(place.rule(term, *keys), around, sample) for term in ("old0", *terms)]
    except ValueError:  # a tensor that it needs is not there
        return
    with np.errstate(invalid="ignore"):  # a signalling NaN, from which no factor follows
        wanted = widened(words[sample], place.dtype).astype(np.float64)
    factors = _least_squares(np.stack(columns, axis=1), wanted)
    if factors is not None:
        first, *others = (place.single(float(factor)) for factor in factors)
        added = " ".join(f"{term} {factor} * F32 + F32" for term, factor in zip(terms, others, strict=True))
        yield place.rule(f"old0 {first} * F32 {added}", *keys)


def _numbers(rule: Rule, around: Surroundings, sample: slice) -> npt.NDArray[np.float64]:
    return replace(Prediction.of(rule, around), dtype="F64")[sample].view(np.float64)


def _least_squares(columns: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> npt.NDArray[Any] | None:
    """Return the factors of columns (samples, features) that come nearest to what is wanted, if there are any."""
    usable = np.isfinite(columns).all(axis=1) & np.isfinite(wanted)
    scale = np.abs(columns[usable]).max(axis=0, initial=0)
    if usable.sum() <= len(scale) or not scale.all():
        return None
    try:
        factors, *_ = np.linalg.lstsq(columns[usable] / scale, wanted[usable], rcond=None)
    except np.linalg.LinAlgError:
        return None
    return factors / scale if np.isfinite(factors / scale).all() else None
