"""Measure how far a claimed tensor lies from a replayed one, and how far both moved."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Distance:
    """Hold norms over one tensor: of claimed − replayed (l1, l2, linf), of both updates and of what was replayed (l2).

    `equal` is equality of every element; NaN equals nothing, so a NaN anywhere shows as a NaN norm and as not equal.
    `whole` says that no tolerance applies: integers, and single numbers that the replay leaves whole, which count.
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


def compare(before: Tensor | None, claimed: Tensor, replayed: Tensor) -> Distance:
    """Return the distance between tensors of one shape, in float64; a missing `before` counts as zeros."""
    equal = claimed.dtype == replayed.dtype and torch.equal(claimed, replayed)
    wide = torch.complex128 if replayed.is_complex() else torch.float64
    claim, replay = claimed.to(wide), replayed.to(wide)
    start = torch.zeros_like(replay) if before is None else before.to(wide)
    gap = (claim - replay).abs()
    return Distance(
        count=replay.numel(),
        equal=equal,
        whole=not (replayed.is_floating_point() or replayed.is_complex()) or _is_counter(replayed),
        l1=gap.sum().item(),
        l2=gap.norm().item(),
        linf=gap.max().item() if gap.numel() else 0.0,
        claimed=(claim - start).norm().item(),
        replayed=(replay - start).norm().item(),
        size=replay.norm().item(),
    )


def _is_counter(replayed: Tensor) -> bool:
    return replayed.ndim == 0 and not replayed.is_complex() and bool(replayed == replayed.round())
