"""Measure how far a claimed tensor lies from a replayed one, how far both moved, and in which directions."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import torch
from torch import Tensor

from polarchive.errors import PolError

_CACHED: Final = 1 << 16  # elements measured at a time, so that their float64 copies stay in a processor's cache
_LAUNCHED: Final = 1 << 22  # and elsewhere, where every piece costs launches, so that they do not fill the memory
_WHOLE: Final = 2.0**53  # integers up to here are what float64 says they are


@dataclass(frozen=True, slots=True)
class Distance:
    """Hold norms over one tensor: of claimed − replayed (l1, l2, linf), of both updates and of what was replayed (l2).

    `inner` is the inner product of both updates, as real vectors. `equal` is equality of every element; NaN equals
    nothing, so a NaN anywhere shows as a NaN norm and as not equal. `whole` says that no tolerance applies: integers,
    and single numbers that the replay leaves whole, which count.
    """

    count: int
    equal: bool
    whole: bool
    l1: float
    l2: float
    linf: float
    claimed: float
    replayed: float
    size: float
    inner: float

    @property
    def cosine(self) -> float:
        """Return the cosine of the angle between both updates; 1 where nothing moved, NaN where only one did."""
        if self.claimed == self.replayed == 0:
            return 1.0
        if 0 in (self.claimed, self.replayed):
            return math.nan
        return _within(self.inner / self.claimed / self.replayed, -1.0, 1.0)

    @property
    def angle(self) -> float:
        """Return the angle between both updates in radians, 0 to π; 0 where nothing moved, NaN where only one did.

        It is taken from how far the longer update ends beside the line of the shorter: small angles keep their digits,
        as they would not by their cosine, but for 1e-7 at most, where the updates differ in little but length.
        """
        shorter = min(self.claimed, self.replayed)
        if not shorter:
            return 0.0 if self.claimed == self.replayed else math.nan
        along = self.inner / shorter
        beyond = along - shorter
        return math.atan2(math.sqrt(_within((self.l2 - beyond) * (self.l2 + beyond), 0.0, math.inf)), along)

    @property
    def relative(self) -> float:
        """Return ‖g − g'‖ / min(‖g‖, ‖g'‖) of both updates (Lemma 2); 0/0 is 0 for what is equal, else infinite."""
        shorter = min(self.claimed, self.replayed)
        if self.equal or math.isnan(self.l2):
            return self.l2
        return self.l2 / shorter if shorter else math.inf


def compare(before: Tensor | None, claimed: Tensor, replayed: Tensor) -> Distance:
    """Return the distance between tensors of one shape and device; a missing `before` counts as zeros.

    All is summed in float64, where the tensors are, and fetched at once. No norm of a narrower float or of an integer
    overflows or vanishes; of float64, squares above 1e308 are infinite, which never passes, and those below 1e-323
    nothing. Infinities that agree are at no distance.
    """
    found = _gathered(before, claimed, replayed, torch.sub)
    if not all(map(math.isfinite, found)):
        found = _gathered(before, claimed, replayed, _apart)
    l1, linf, *squares, inner = found
    l2, of_claimed, of_replayed, size = map(math.sqrt, squares)
    inexact = replayed.is_floating_point() or replayed.is_complex()
    certain = inexact or size < _WHOLE or torch.equal(claimed, replayed)
    return Distance(
        count=replayed.numel(),
        equal=claimed.dtype == replayed.dtype and linf == 0 and certain,
        whole=not inexact or (replayed.ndim == 0 and not replayed.is_complex() and size.is_integer()),
        l1=l1,
        l2=l2,
        linf=linf,
        claimed=of_claimed,
        replayed=of_replayed,
        size=size,
        inner=inner,
    )


def pool(distances: Iterable[Distance]) -> Distance:
    """Return the distance between states, or parts of them, from those of their tensors; of none, all is NaN."""
    each = list(distances)
    return Distance(
        count=sum(one.count for one in each),
        equal=bool(each) and all(one.equal for one in each),
        whole=bool(each) and all(one.whole for one in each),
        l1=sum(one.l1 for one in each) if each else math.nan,
        l2=_hypot(one.l2 for one in each),
        linf=_largest(one.linf for one in each),
        claimed=_hypot(one.claimed for one in each),
        replayed=_hypot(one.replayed for one in each),
        size=_hypot(one.size for one in each),
        inner=sum(one.inner for one in each) if each else math.nan,
    )


def normalised(distance: Distance, d_ref: float) -> float:
    """Return the ℓ2 distance over that between the ends of independent runs (section II-A); PolError if that is 0."""
    if not 0 < d_ref < math.inf:
        raise PolError(f"a reference distance is finite and above 0, not {d_ref}")
    return distance.l2 / d_ref


def angle_of(alpha: float) -> float:
    """Return what bounds the angle in radians of all g, g' with ‖g − g'‖ < α · min(‖g‖, ‖g'‖) (Lemma 2).

    With lengths m and xm, x ≥ 1, the law of cosines gives cos θ > (x + (1 − α²)/x) / 2, which grows with x: so vectors
    of one length are worst, and the sharp bound is 2 arcsin(α/2). The ball in the paper's proof gives arcsin α.
    """
    if not alpha >= 0:
        raise PolError(f"a share of an update is not negative, as {alpha} is")
    return 2 * math.asin(min(alpha / 2, 1.0))


def alpha_of(theta: float) -> float:
    """Return the largest α that bounds the angle by `theta` radians, 0 to π: the inverse of `angle_of`."""
    if not 0 <= theta <= math.pi:
        raise PolError(f"an angle between vectors is 0 to π, not {theta}")
    return 2 * math.sin(theta / 2)


Difference = Callable[[Tensor, Tensor], Tensor]


def _gathered(before: Tensor | None, claimed: Tensor, replayed: Tensor, minus: Difference) -> list[float]:
    """Return, over all elements: ℓ1, ℓ∞, the squares of l2, claimed, replayed and size, and the inner product."""
    starts = repeat(None) if before is None else _pieces(before)
    numbers = [_numbers(*piece, minus) for piece in zip(starts, _pieces(claimed), _pieces(replayed), strict=False)]
    found = torch.stack([number for piece in numbers for number in piece]).tolist()
    ones, largest, *sums = (found[first :: len(numbers[0])] for first in range(len(numbers[0])))
    return [sum(ones), _largest(largest), *map(sum, sums)]


def _pieces(tensor: Tensor) -> Sequence[Tensor]:
    size = _CACHED if tensor.device.type == "cpu" else _LAUNCHED
    return torch.split(tensor.flatten(), size) if tensor.numel() > size else [tensor.flatten()]


def _numbers(before: Tensor | None, claimed: Tensor, replayed: Tensor, minus: Difference) -> list[Tensor]:
    wide = torch.complex128 if replayed.is_complex() else torch.float64
    claim, replay = claimed.to(wide), replayed.to(wide)
    gap = minus(claim, replay).abs()
    size = _square(replay)
    if before is not None:
        start = before.to(wide)
        claim, replay = minus(claim, start), minus(replay, start)
    largest = gap.amax() if len(gap) else gap.sum()
    inner = torch.dot(_real(claim), _real(replay))
    return [gap.sum(), largest, _square(gap), _square(claim), _square(replay), size, inner]


def _apart(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).masked_fill(one == other, 0)


def _square(vector: Tensor) -> Tensor:
    return torch.dot(_real(vector), _real(vector))


def _real(vector: Tensor) -> Tensor:
    return torch.view_as_real(vector).reshape(-1) if vector.is_complex() else vector


def _largest(values: Iterable[float]) -> float:
    found = list(values)
    return math.nan if any(map(math.isnan, found)) else max(found, default=math.nan)


def _hypot(values: Iterable[float]) -> float:
    found = list(values)  # of which one that is NaN must show, even beside one that is infinite
    return math.hypot(*found) if found and not any(map(math.isnan, found)) else math.nan


def _within(value: float, low: float, high: float) -> float:
    return value if math.isnan(value) else min(max(value, low), high)
