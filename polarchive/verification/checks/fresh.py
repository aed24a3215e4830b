"""Give advice on whether state 0 looks like a fresh draw, where nothing shows that it is one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from polarchive.measures.laws import correlation, same_law
from polarchive.measures.symmetry import weights
from polarchive.training.arrays import to_tensors
from polarchive.verification.case import Case, built
from polarchive.verification.finding import Finding, advice

CHECK: Final = "fresh"
DRAWS: Final = 4
State: TypeAlias = Mapping[str, Tensor]
Numbers: TypeAlias = npt.NDArray[np.float64]
_ENOUGH: Final = 1 << 16  # elements of a tensor that are looked at
_FEWEST: Final = 32  # elements whose order says something


def fresh(case: Case) -> Iterator[Finding]:
    """Compare state 0 with draws of the judge's builder under other seeds, and with the last state; never a verdict.

    Nothing is said of a state 0 that a seed or a parent explains. Where neither does, it may have been chosen to look
    fresh: numbers of the right law, in the order of a stolen model's, pass the test of law, which is blind to order,
    and show in the rank correlation of first and last weights. That is about 1 for short honest runs too: measured for
    ResNet-20 at a rate of 0.1, at the median tensor, 0.99 after 10 steps, 0.91 after 30 and 0.80 after 400.
    """
    stated = case.archive.header.initial
    if stated.kind == "parent" or (stated.kind == "seeded" and case.same_randomness):
        return
    first = to_tensors(case.archive.state(0))
    drawn = [built(case.build, seed).save() for seed in range(1, DRAWS + 1)]
    fixed = [name for name, tensor in drawn[0].items() if all(tensor.equal(other[name]) for other in drawn)]
    yield from _not_constant(first, drawn[0], fixed)
    yield from _of_another_law(first, drawn, fixed)
    if case.archive.is_stored(len(case.archive.segments)):
        yield from _in_order(first, to_tensors(case.archive.state(-1)))


def _not_constant(first: State, drawn: State, fixed: list[str]) -> Iterator[Finding]:
    """Name what is there or not, or not as it is built without chance: batch norm begins at exactly 1 and 0."""
    odd = sorted(first.keys() ^ drawn.keys())
    odd += [name for name in fixed if name in first and not first[name].equal(drawn[name].cpu())]
    if odd:
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        yield advice(CHECK, f"state 0 has {odd[0]} otherwise than it is built under any seed{more}", odd[0])


def _of_another_law(first: State, drawn: Sequence[State], fixed: list[str]) -> Iterator[Finding]:
    found = {}
    for name in (name for name in drawn[0] if name in first and name not in fixed):
        p = same_law(_numbers(first[name]), np.concatenate([_numbers(each[name]) for each in drawn])).p
        found[name] = 0.0 if math.isnan(p) else p
    if found:
        name, p = min(found.items(), key=lambda item: item[1])
        what = f"the least p-value of {len(found)} tensors is {p:.2g}, that of {name}"
        yield advice(CHECK, f"state 0 against {DRAWS} fresh draws (Kolmogorov-Smirnov): {what}", name, p)


def _in_order(first: State, last: State) -> Iterator[Finding]:
    wide = weights(dict(first))
    names = [name for name in wide if name in last and last[name].shape == first[name].shape]
    long = [name for name in names if first[name].numel() >= _FEWEST]
    found = {name: correlation(_numbers(first[name]), _numbers(last[name])).statistic for name in long}
    known = {name: value for name, value in found.items() if not math.isnan(value)}
    if known:
        name, most = max(known.items(), key=lambda item: item[1])
        what = f"{median(known.values()):.3f} at the median of {len(known)} tensors, at most {most:.3f}, in {name}"
        message = f"rank correlation of first and last weights: {what}; about 1 for short honest runs too"
        yield advice(CHECK, message, name, most)


def _numbers(tensor: Tensor) -> Numbers:
    """Return the elements of a tensor, of a large one every so many-th."""
    flat = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).detach().reshape(-1)
    numbers: Numbers = flat[:: max(flat.numel() // _ENOUGH, 1)].double().cpu().numpy()
    return numbers
