"""Look for segments that training is unlikely to have made, without replaying any: an order to replay them in.

No score but `reach` can convict, and that one only where the optimizer is known to be Adam or AdamW. A forger who knows
the scores can keep them ordinary: they say where to look first, never where not to look.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, median_low
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from polarchive.format.archive import Archive
from polarchive.format.entry import Hyper
from polarchive.format.schema import BOUNDED, values
from polarchive.format.tensors import Array
from polarchive.measures.names import is_statistic
from polarchive.measures.reach import Betas, Way, since, ways

State: TypeAlias = dict[str, Array]
Numbers: TypeAlias = npt.NDArray[np.float64]
AROUND: Final = 3  # spans on either side that a pace is compared with
_MOMENTUM, _FIRST, _SECOND = "momentum_buffer", "exp_avg", "exp_avg_sq"


@dataclass(frozen=True, slots=True)
class Span:
    """Hold what two stored states show of the segments between them; one segment, where every state is stored.

    - `length`: how far the weights went, in ℓ2; infinite where that is no number;
    - `rate`: the sum of the learning rates of all steps, each a mean over parameter groups;
    - `reach`: the largest change of a weight over what Adam can do in these steps, at `tensor`; None without moments;
    - `cosine`: between the way the weights went and the one that the closing momentum points; None without momentum.
    """

    segments: range
    length: float
    rate: float
    reach: float | None
    tensor: str | None
    cosine: float | None

    @property
    def pace(self) -> float:
        """Return the length per learning rate; any way at no rate is infinitely fast."""
        if self.rate:
            return self.length / self.rate
        return math.inf if self.length else 0.0


def spans(archive: Archive) -> Iterator[Span]:
    """Yield what the stored states show, two of them in memory at a time; DigestError if one is not as committed."""
    last, before = 0, archive.state(0)
    begun = frozenset(before)
    history: dict[str, Betas] = {}
    for index in filter(archive.is_stored, range(1, len(archive.segments) + 1)):
        after = archive.state(index)
        segments = range(last, index)
        hypers = [step.hyper for segment in segments for step in archive.steps(segment)]
        history = since(history, hypers)
        pair = _Pair(before, after, _weights(before, after), _kept(after))
        reach, tensor = max(_reached(pair, ways(history, hypers), begun), default=(None, None))
        yield Span(segments, _length(pair), math.fsum(map(_rate, hypers)), reach, tensor, _cosine(pair))
        last, before = index, after


def order(found: Sequence[Span]) -> list[int]:
    """Return all segments, those first that one of the scores finds least like training.

    The scores take turns, for none of them means as much as another.
    """
    scores = [
        [span.reach for span in found],
        profile(found),
        [None if span.cosine is None else -span.cosine for span in found],
    ]
    rankings = [_descending(each) for each in scores if set(each) != {None}]
    turns = dict.fromkeys(place for turn in zip(*rankings, strict=True) for place in turn)
    return list(chain.from_iterable(found[place].segments for place in turns))


def profile(found: Sequence[Span]) -> list[float | None]:
    """Return how far each pace is from the median of those around it, as the absolute logarithm of their ratio."""
    paces = [span.pace for span in found]
    around = [
        paces[max(place - AROUND, 0) : place] + paces[place + 1 : place + 1 + AROUND] for place in range(len(paces))
    ]
    return [_apart(pace, median_low(others)) if others else None for pace, others in zip(paces, around, strict=True)]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Hold two states, the weights that both have, and the names of what optimizers keep for each of them."""

    before: State
    after: State
    weights: list[str]
    kept: Mapping[str, list[str]]

    def moved(self, name: str) -> Numbers:
        with np.errstate(invalid="ignore"):
            return _numbers(self.after[name]) - _numbers(self.before[name])


def _length(pair: _Pair) -> float:
    square = sum(_dot(moved, moved) for moved in map(pair.moved, pair.weights))
    return math.sqrt(square) if math.isfinite(square) else math.inf


def _cosine(pair: _Pair) -> float | None:
    """Return the cosine between the way that weights went and the one that their momentum points, over all of them."""
    along, gone, pointed = 0.0, 0.0, 0.0
    for name in pair.weights:
        for momentum in _pointing(name, pair):
            moved = pair.moved(name)
            along -= _dot(momentum, moved)
            gone += _dot(moved, moved)
            pointed += _dot(momentum, momentum)
    return along / math.sqrt(gone) / math.sqrt(pointed) if gone and pointed else None


def _pointing(name: str, pair: _Pair) -> Iterator[Numbers]:
    """Yield what optimizers keep that points against a weight's next update, scaled as they scale it."""
    for key in pair.kept.get(name, []):
        momentum = _numbers(pair.after[key])
        if key.endswith(f"/{_FIRST}") and (second := pair.after.get(key.removesuffix(_FIRST) + _SECOND)):
            momentum = momentum / np.maximum(np.sqrt(abs(_numbers(second))), np.finfo(np.float32).tiny)
        if not key.endswith(f"/{_SECOND}"):
            yield momentum


def _reached(pair: _Pair, way: Mapping[str, Way], begun: frozenset[str]) -> Iterator[tuple[float, str]]:
    """Yield the share of Adam's reach that each weight used, where its moments began at zero and are not rounded much.

    Which group a parameter is in is not recorded: the one that it fits best is taken.
    """
    for name in pair.weights:
        for key in pair.kept.get(name, []):
            exact = key not in begun and pair.after[key].dtype in ("F32", "F64")
            if exact and key.endswith(f"/{_SECOND}"):
                optimizer = key.partition("/")[0]
                own = [each for group, each in way.items() if group.partition("/")[0] == optimizer]
                yield from [(min(each.used(pair.before[name], pair.after[name]) for each in own), name)] if own else []


def _weights(before: State, after: State) -> list[str]:
    """Return the floating tensors of one kind in both states, without batch statistics and what optimizers keep."""
    kept = {key for keys in _kept(before).values() for key in keys}
    both = [name for name in before if name in after and name not in kept]
    return [name for name in both if _is_weight(name, before[name], after[name])]


def _is_weight(name: str, old: Array, new: Array) -> bool:
    same = (old.dtype, old.shape) == (new.dtype, new.shape)
    return same and old.dtype in BOUNDED and old.dtype.startswith(("F", "BF")) and not is_statistic(name)


def _kept(state: State) -> dict[str, list[str]]:
    """Return, for each parameter, the names of its moments: OPTIMIZER/PARAMETER/KEY, of the parameter's shape."""
    found: dict[str, list[str]] = {}
    for name, array in state.items():
        parameter, _, key = name.partition("/")[2].rpartition("/")
        if key in (_MOMENTUM, _FIRST, _SECOND) and parameter in state and state[parameter].shape == array.shape:
            found.setdefault(parameter, []).append(name)
    return found


def _rate(hyper: Hyper) -> float:
    rates = [float(value) for name, value in hyper.items() if name.endswith("/lr") and value is not None]
    return fmean(rates) if rates else 0.0


def _numbers(array: Array) -> Numbers:
    return values(array).astype(np.float64).reshape(-1)


def _dot(one: Numbers, other: Numbers) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.dot(one, other))


def _apart(pace: float, usual: float) -> float:
    if pace == usual:
        return 0.0
    if not (0 < pace < math.inf and 0 < usual < math.inf):
        return math.inf
    return abs(math.log(pace / usual))


def _descending(scores: Sequence[float | None]) -> list[int]:
    """Return the places of scores, the greatest first; NaN counts as greatest, and none as least."""
    known = [-math.inf if score is None else math.inf if math.isnan(score) else score for score in scores]
    return sorted(range(len(known)), key=lambda place: (-known[place], place))
