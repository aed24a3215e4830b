"""Measure how near two trained models lie to each other, as they are and with permutations and scales undone."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from polarchive.errors import TrainerError
from polarchive.measures.alignment import canonical
from polarchive.measures.matching import match
from polarchive.measures.symmetry import Group, State, weights

LIMIT: Final = 0.1


@dataclass(frozen=True, slots=True)
class Gap:
    """Hold an ℓ2 distance, and in `reference` the distance that independent models would have."""

    distance: float
    reference: float

    @property
    def multiple(self) -> float:
        """Return the distance in multiples of the reference, 0 if there is no distance; NaN stays NaN."""
        if not self.distance:
            return 0.0
        return self.distance / self.reference if self.reference else math.inf


@dataclass(frozen=True, slots=True)
class Kinship:
    """Hold how near two models lie.

    - `comparable`: their weights have the same names and shapes. Where not, `plain` is None.
    - `identical`: all tensors are equal bit for bit, batch statistics and counters too.
    - `copied`, `alike`: how much of the model with fewer matrices is in the other, bit for bit (under any name), or
      within LIMIT of its own reference. Matrices are tensors of two or more dimensions that are not constant.
    - `plain`: the gap between the weights as they are. Its reference is d_ref, `estimated` where nobody gave it.
    - `aligned`: the gap between canonical weights after matching, on a scale of its own. None is unchecked: the
      symmetries are not known, or the models are not comparable.
    - `noise`: how far off honest replay may be (ℓ2 over the weights as they are).
    """

    comparable: bool
    identical: bool
    copied: float
    alike: float
    plain: Gap | None
    aligned: Gap | None
    estimated: bool
    noise: float | None

    @property
    def least(self) -> float | None:
        """Return the lesser multiple of both gaps, None where there is none; NaN is never the lesser."""
        found = [gap.multiple for gap in (self.plain, self.aligned) if gap is not None]
        return min(found, key=lambda multiple: (math.isnan(multiple), multiple), default=None)

    @property
    def of_noise(self) -> float | None:
        """Return the distance (where aligning lessens it, in proportion) over the noise, None where none was given."""
        if self.plain is None or self.least is None or self.noise is None:
            return None
        return Gap(self.least * self.plain.reference, self.noise).multiple

    def near(self, limit: float = LIMIT) -> bool:
        """Tell whether the models are one, or nearer than `limit` times what independent models are."""
        return self.identical or (self.least is not None and self.least <= limit)


def kinship(
    a: State,
    b: State,
    *,
    symmetries: Sequence[Group] | None = None,
    d_ref: float | None = None,
    noise: float | None = None,
    part: str = "model",
) -> Kinship:
    """Return how near two states lie in the tensors of `part`.

    Weights are its floating tensors without batch statistics, which are told by their names. Other buffers count as
    weights: leave out those that the architecture fixes (position encodings). TrainerError if the symmetries do not
    fit the states.
    """
    a, b = _part(a, part), _part(b, part)
    left, right = weights(a), weights(b)
    shared = sorted(name for name in left.keys() & right.keys() if left[name].shape == right[name].shape)
    comparable = bool(shared) and len(shared) == len(left) == len(right)
    plain = _gaps(left, right, shared)
    groups = _fitting(symmetries or [], a.keys() | b.keys(), shared)
    aligned = {} if symmetries is None else _aligned(left, right, shared, groups)
    return Kinship(
        comparable=comparable,
        identical=bool(a) and a.keys() == b.keys() and all(_digest(a[name]) == _digest(b[name]) for name in a),
        copied=_copied(a, b),
        alike=_alike(a, b, plain, aligned),
        plain=_whole(plain.values(), d_ref) if comparable else None,
        aligned=_whole(aligned.values()) if comparable and aligned else None,
        estimated=d_ref is None,
        noise=noise,
    )


def _part(state: State, part: str) -> State:
    return {name: tensor for name, tensor in state.items() if name.partition("/")[0] == part}


def _fitting(groups: Sequence[Group], known: Iterable[str], shared: Sequence[str]) -> list[Group]:
    """Return what the groups have in shared weights; TrainerError for a name that neither model knows."""
    strange = sorted({axis.tensor for group in groups for axis in group.axes} - set(known))
    if strange:
        raise TrainerError(f"a symmetry names {strange[0]}, which neither model has")
    return [group.within(shared) for group in groups]


def _gaps(left: State, right: State, names: Iterable[str]) -> dict[str, Gap]:
    return {name: _gap(left[name], right[name]) for name in names}


def _gap(a: Tensor, b: Tensor) -> Gap:
    """Return the distance of two tensors, and what it would be on average if the elements of one were shuffled.

    What all models share (weights of batch norm near 1) is thus no part of how far independent ones are apart.
    """
    square = a.square().sum() + b.square().sum() - 2 * a.sum() * b.sum() / max(a.numel(), 1)
    return Gap((a - b).norm().item(), square.clamp(min=0).sqrt().item())


def _whole(gaps: Iterable[Gap], reference: float | None = None) -> Gap:
    gaps = list(gaps)
    expected = math.hypot(*(gap.reference for gap in gaps)) if reference is None else reference
    return Gap(math.hypot(*(gap.distance for gap in gaps)), expected)


def _aligned(left: State, right: State, names: Sequence[str], groups: Sequence[Group]) -> dict[str, Gap]:
    """Return the gaps of canonical weights after matching, so that neither side's choice of scales is in them."""
    home, away = (canonical({name: state[name] for name in names}, groups)[0] for state in (left, right))
    if all(math.isfinite(math.hypot(*(tensor.norm().item() for tensor in state.values()))) for state in (home, away)):
        away = match(home, away, groups)
    return _gaps(home, away, names)


def _copied(a: State, b: State) -> float:
    """Return how many matrices of the model with fewer are in the other, bit for bit."""
    left, right = ({_digest(state[name]) for name in _matrices(state)} for state in (a, b))
    return len(left & right) / max(min(len(left), len(right)), 1)


def _alike(a: State, b: State, *found: Mapping[str, Gap]) -> float:
    """Return how many matrices of the model with fewer are near those of the same name, by any of the gaps found."""
    left, right = _matrices(a), _matrices(b)
    near = {name for gaps in found for name, gap in gaps.items() if gap.multiple <= LIMIT}
    return len(near & left & right) / max(min(len(left), len(right)), 1)


def _matrices(state: State) -> set[str]:
    """Name the floating tensors that initialisation draws at random, as far as can be seen: not biases, not zeros."""
    return {name for name, tensor in weights(state).items() if state[name].ndim > 1 and not _is_constant(tensor)}


def _is_constant(tensor: Tensor) -> bool:
    return not tensor.numel() or bool((tensor == tensor.flatten()[0]).all())


def _digest(tensor: Tensor) -> bytes:
    """Return a digest of the tensor's dtype, shape and bits."""
    plain = tensor.detach().cpu().contiguous()
    bits = plain.reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)} ".encode() + bits.tobytes()).digest()
