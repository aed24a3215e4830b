"""Find which unit of one network is which of another, by weight matching (Ainsworth et al. 2023, section 3.2)."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from polarchive.measures.symmetry import Group, State, weights

_SWEEPS: Final = 100
_STILL: Final = 1e-9  # a gain below this is rounding


def match(home: State, away: State, groups: Sequence[Group]) -> State:
    """Return `away` with every group's units permuted, and their signs chosen, to agree with `home`.

    Scales should be settled before, in both. Each group in turn takes the assignment that maximises the inner product,
    all others held fixed, until none gains (a hundred sweeps at most). Complex tensors are moved, not looked at.
    """
    seen = {name: tensor for name, tensor in weights(home).items() if not home[name].is_complex()}
    away = _seeded(home, away, _moves(groups, {name for name, tensor in seen.items() if tensor.ndim > 1}))
    moves = _moves(groups, seen)
    for _ in range(_SWEEPS):
        before = away
        for move in moves:
            moved, _ = move.made(home, away)
            away = moved if _gains(seen, away, moved) else away
        if away is before:
            break
    return away


@dataclass(frozen=True, slots=True)
class _Seen:
    """Hold a group, and which of its axes to judge it by."""

    group: Group
    by: Group

    def among(self, waiting: Iterable["_Move"]) -> "_Seen":
        """Return the group judged by tensors that nothing waiting moves along another dimension; by all if none is."""
        moving = set().union(*(move.places for move in waiting))
        clear = [axis for axis in self.by.axes if not any(t == axis.tensor and d != axis.dim for t, d in moving)]
        return replace(self, by=replace(self.by, axes=tuple(clear) or self.by.axes))

    def squares(self, state: State) -> Tensor:
        """Return the squared norm of every unit."""
        return torch.stack([axis.slices(state[axis.tensor]).square().sum(1) for axis in self.by.axes]).sum(0)

    def signs(self, home: State, away: State) -> Tensor:
        """Return −1 for each unit that agrees better when flipped."""
        products = torch.zeros(self.group.units(away), dtype=torch.float64)
        for axis in self.by.axes:
            if axis.power % 2:
                products += (axis.slices(home[axis.tensor]) * axis.slices(away[axis.tensor])).sum(1)
        return torch.where(products < 0, -1.0, 1.0).double()


@dataclass(frozen=True, slots=True)
class _Move:
    """Hold a group to permute, if it may be, and the groups of signs that are free at its places."""

    own: _Seen
    signs: tuple[_Seen, ...]

    @property
    def places(self) -> set[tuple[str, int]]:
        """Return the tensors and dimensions that the move moves."""
        moved = self.own.group.axes if self.own.group.permuted else ()
        return {(axis.tensor, axis.dim) for axis in moved}.union(*(_flipped(sign.group) for sign in self.signs))

    def among(self, waiting: Sequence["_Move"]) -> "_Move":
        """Return the move as judged while others wait."""
        return _Move(self.own.among(waiting), tuple(sign.among(waiting) for sign in self.signs))

    def made(self, home: State, away: State) -> tuple[State, float]:
        """Return `away` with the best order, then the best signs, and by how clear a margin the order was the best."""
        margin = 0.0
        if self.own.group.permuted and self.own.by.axes:
            products = self._products(home, away)
            order = torch.from_numpy(linear_sum_assignment(products.numpy(), maximize=True)[1])
            gaps = self.own.squares(home)[:, None] + self.own.squares(away) - 2 * products
            away, margin = self.own.group.permute(away, order), _margin(gaps, order)
        for sign in self.signs:
            away = sign.group.scale(away, sign.signs(home, away))
        return away, margin

    def _products(self, home: State, away: State) -> Tensor:
        """Return the inner products of all units with all (units of home, units of away), whatever signs are best."""
        free = [_flipped(sign.group) for sign in self.signs]
        sums: dict[int | None, Tensor] = {}
        for axis in self.own.by.axes:
            sign = next((index for index, places in enumerate(free) if (axis.tensor, axis.dim) in places), None)
            product = axis.slices(home[axis.tensor]) @ axis.slices(away[axis.tensor]).T
            sums[sign] = sums[sign] + product if sign in sums else product
        return torch.stack([each if sign is None else each.abs() for sign, each in sums.items()]).sum(0)


def _moves(groups: Sequence[Group], names: Container[str]) -> list[_Move]:
    """Return a move for each permuted group, with the signs at its places, and for each group of signs elsewhere."""
    seen = [_Seen(group, group.within(names)) for group in groups]
    signed = [each for each in seen if each.group.signed]
    found = []
    for each in seen:
        own = {(axis.tensor, axis.dim) for axis in each.group.axes}
        if each.group.permuted:
            found.append(_Move(each, tuple(sign for sign in signed if own & _flipped(sign.group))))
    taken = {sign for move in found for sign in move.signs}
    return found + [_Move(sign, (sign,)) for sign in signed if sign not in taken]


def _seeded(home: State, away: State, moves: Sequence[_Move]) -> State:
    """Return `away` with every move made once, the clearest first: from what both share, on to what follows from it.

    A move is judged by tensors that nothing waiting moves along another dimension, so that a copy's units fit at sight;
    and by matrices alone, as vectors can always be sorted to agree.
    """
    waiting = list(moves)
    margins: dict[_Move, float] = {}
    while waiting:
        seen = [move.among(waiting) for move in waiting]
        margins |= {move: move.made(home, away)[1] for move in seen if move not in margins}
        best = max(range(len(seen)), key=lambda index: margins[seen[index]])
        away, _ = seen[best].made(home, away)
        del waiting[best]
    return away


def _margin(gaps: Tensor, order: Tensor) -> float:
    """Return by how much a unit is nearer to its own than to any other, over the mean gap (median over units).

    Independent units have a margin near 0 or below it.
    """
    taken = gaps.gather(1, order[:, None])
    nearest = gaps.scatter(1, order[:, None], torch.inf).amin(1, keepdim=True)
    return ((nearest - taken) / gaps.mean()).nan_to_num(0.0, posinf=1.0).median().item()


def _flipped(group: Group) -> set[tuple[str, int]]:
    return {(axis.tensor, axis.dim) for axis in group.axes if group.signed and axis.power % 2}


def _gains(home: State, away: State, moved: State) -> bool:
    changed = [name for name in home if moved[name] is not away[name]]
    before, after = (sum(torch.sum(home[name] * state[name]).item() for name in changed) for state in (away, moved))
    return after > before + _STILL * abs(before)
