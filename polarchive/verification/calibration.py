"""Fit what honest noise may come to: limits for every tensor that keep a required TPR (Definition 3, Corollary 1)."""

import random
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Final

from polarchive.errors import PolError
from polarchive.measures.laws import conformal, replays_needed
from polarchive.verification.drift import Unexplained
from polarchive.verification.noise import Measurement, Noise
from polarchive.verification.reference import Reference

LEAST: Final = 1e-6  # of an update: below it, noise is not told apart
_QUIET: Final = 0.1  # of the median tensor's noise: what is quieter is so only most of the time
_WIDTH: Final = 2.0  # learning rates that are fitted together lie within this factor, if there are enough of each
_SPREAD: Final = 4.0  # standard deviations that sums of many projections stay within
_NOTHING: Final = 1e-4  # of the way: less is worth no forger's while, and rounding is not quite without direction
_WANDERING: Final = 2.0  # times a random walk's expected length that it stays within


@dataclass(frozen=True, slots=True)
class Limits:
    """Hold the largest error that is allowed to each tensor after so many steps at a learning rate of at most `lr`.

    Errors are shares of a tensor's update. `segments` of honest noise say so.
    """

    steps: int
    lr: float
    segments: int
    errors: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """Hold what one source of noise did to single segments.

    `median` and `largest` are of the worst tensor's error in each segment, `worst` is where the largest was. `steps`
    and `gaps` are first steps and ε_repr, the ℓ2 distance of the weights. `toward`, `total` and `coherence` are those
    of `Unexplained`, for all measured segments; `gap` and `push` the root mean squares of a segment's residual, and of
    how far it pushes the run toward its end.
    """

    name: str
    median: float
    largest: float
    worst: str
    steps: tuple[int, ...]
    gaps: tuple[float, ...]
    toward: float
    total: float
    coherence: float
    gap: float
    push: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Hold what a judge measured of honest noise, and the limits that follow from it.

    `run` is the run that was replayed, `stack` what it was replayed on, `tensors` the elements of each tensor. `digest`
    names the calibration in reports.
    """

    run: str
    stack: Mapping[str, str]
    tau: float
    margin: float
    tensors: Mapping[str, int]
    limits: tuple[Limits, ...]
    spreads: tuple[Spread, ...]
    d_ref: Reference

    def limits_for(self, steps: int, lr: float) -> Limits | None:
        """Return the limits for so many steps at the next learning rate not below `lr`; None if there are none."""
        fitting = [each for each in self.limits if each.steps == steps and each.lr * (1 + 1e-9) >= lr]
        return min(fitting, key=lambda each: each.lr, default=None)

    def displacement(self, segments: int, distance: float) -> tuple[float, float]:
        """Return what noise may displace a run of so many segments and this length: toward its end, and in all."""
        paths = sqrt(segments) / distance if distance else 0.0
        push = max(each.push for each in self.spreads)
        walk = max(each.gap * max(each.coherence, 1.0) for each in self.spreads)
        toward, total = _SPREAD * push * paths, _WANDERING * walk * paths
        return max(_NOTHING, self.margin * toward), max(_NOTHING, self.margin * total)


def fit(noises: Sequence[Noise], tau: float, margin: float) -> tuple[Limits, ...]:
    """Return limits for every number of steps and range of learning rates; PolError if there are too few segments.

    Half of the segments, drawn at random, say how noisy each tensor is. The others say by what factor all of these must
    be widened together, so that of honest segments τ stay within on average, all tensors at once and whatever the
    source: a conformal quantile, so that no law of noise is assumed, only that segments are drawn alike.
    """
    found = []
    for steps in sorted({noise.steps for noise in noises}):
        of_segment: dict[int, list[Noise]] = defaultdict(list)
        for noise in noises:
            if noise.steps == steps:
                of_segment[noise.segment].append(noise)
        require_enough(len(of_segment), steps, tau)
        for group in _by_rate(list(of_segment.values()), _needed(tau)):
            found.append(_limits(group, tau, margin))
    return tuple(found)


def require_enough(segments: int, steps: int, tau: float) -> None:
    """Raise PolError if there are fewer segments than limits at this rate take."""
    if segments < _needed(tau):
        lack = f"τ = {tau:g} needs {_needed(tau)} segments of {steps} steps, and there are {segments}"
        raise PolError(f"{lack}; lower --tau, raise --sample, or record more or shorter segments")


def spreads(measured: Measurement) -> tuple[Spread, ...]:
    """Return what each source did; PolError if it did as much as training does, which is no noise."""
    least = min(noise.steps for noise in measured.noises)
    return tuple(
        _spread(name, [noise for noise in measured.noises if (noise.source, noise.steps) == (name, least)], found)
        for name, found in measured.joint.items()
    )


def _needed(tau: float) -> int:
    return 2 * replays_needed(tau)


def _by_rate(segments: Collection[list[Noise]], needed: int) -> Iterator[list[list[Noise]]]:
    """Yield segments of like learning rates, from the highest rate down; what is too few goes with the rates above."""
    ordered = sorted(segments, key=lambda of: -of[0].lr)
    group: list[list[Noise]] = []
    for place, segment in enumerate(ordered):
        if len(group) >= needed and segment[0].lr * _WIDTH < group[0][0].lr and len(ordered) - place >= needed:
            yield group
            group = []
        group.append(segment)
    yield group


def _limits(segments: list[list[Noise]], tau: float, margin: float) -> Limits:
    """Fit one group; each segment counts once, by its noisiest source.

    A tensor that is much quieter than others has no noise of one size: batch statistics of one channel repeat to the
    last digits until a rounding upstream reaches them. So the median tensor's noise bounds every scale from below.
    """
    drawn = random.Random(0).sample(segments, len(segments))
    shaping, widening = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    scales = dict.fromkeys((name for segment in segments for noise in segment for name in noise.errors), LEAST)
    for noise in (noise for segment in shaping for noise in segment):
        for name, error in noise.errors.items():
            scales[name] = max(scales[name], error)
    least = _QUIET * statistics.median(scales.values())
    scales = {name: max(scale, least) for name, scale in scales.items()}
    scores = [max(score(noise.errors, scales) for noise in segment) for segment in widening]
    factor = margin * conformal(scores, tau)
    if not isfinite(factor):
        raise PolError("replays lie apart without bound, which no noise does")
    first = segments[0][0]
    lr = max(segment[0].lr for segment in segments)
    return Limits(first.steps, lr, len(segments), {name: factor * scale for name, scale in scales.items()})


def score(errors: Mapping[str, float], scales: Mapping[str, float]) -> float:
    """Return the largest error in multiples of the scale of its tensor."""
    return max(error / scales[name] for name, error in errors.items())


def _spread(name: str, noises: Sequence[Noise], found: Unexplained) -> Spread:
    worst = [max(noise.errors.items(), key=lambda item: item[1]) for noise in noises]
    tensor, largest = max(worst, key=lambda item: item[1])
    if not isfinite(largest):
        raise PolError(f"{name}: replays of {tensor} lie apart without bound, which no noise does")
    if statistics.median(statistics.median(noise.errors.values()) for noise in noises) >= 1:
        raise PolError(f"{name}: replays come out as far apart as their updates are long: that is not noise")
    return Spread(
        name=name,
        median=statistics.median(error for _, error in worst),
        largest=largest,
        worst=tensor,
        steps=tuple(noise.first for noise in noises),
        gaps=tuple(noise.gap for noise in noises),
        toward=found.toward,
        total=found.total,
        coherence=found.coherence,
        gap=sqrt(statistics.fmean(noise.gap**2 for noise in noises)),
        push=sqrt(statistics.fmean(noise.push**2 for noise in noises)),
    )
