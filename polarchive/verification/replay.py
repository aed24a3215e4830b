"""Replay segments: load an opening state, feed the batches, and compare where it ends with what was claimed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polarchive.errors import OpeningError, TrainerError
from polarchive.measures.distance import Distance, compare
from polarchive.verification.case import Case
from polarchive.verification.drift import Drift
from polarchive.verification.evidence import Evidence, largest_rate
from polarchive.verification.feeding import steps
from polarchive.verification.numerics import Numerics
from polarchive.verification.residual import Lone
from polarchive.verification.showing import Unfit
from polarchive.verification.states import Missing, state

State = dict[str, Tensor]


def replay(
    case: Case, index: int, in_a_row: int = 1, *, numerics: Sequence[Numerics] = (), drift: Drift | Lone | None = None
) -> Evidence:
    """Return the evidence on segment `index`; an opening that fails ends the replay and is part of the evidence.

    With `in_a_row` that many segments are replayed from the first one's opening state, without reloading. Under each
    of `numerics` the judge replays once more, to see how far its own replays lie apart. `drift` is told the residual.
    """
    chosen = case.archive.segments[index : index + in_a_row]
    evidence = Evidence(
        segment=index,
        first=chosen[0].first,
        steps=sum(segment.steps for segment in chosen),
        same_randomness=case.same_randomness,
        in_a_row=in_a_row,
        lr=largest_rate(step.hyper for segment in chosen for step in case.archive.steps(segment.index)),
        every=case.archive.header.every * in_a_row,
    )
    progress = _At(chosen[0].first)
    try:
        before, claimed = state(case, index), state(case, index + in_a_row)
        indices = range(index, index + in_a_row)
        replayed = _replayed(case, before, indices, progress)
        found = _compared(evidence, before, claimed, replayed)
        if drift is not None:
            drift.add(before, claimed, replayed, chosen[-1].first + chosen[-1].steps)
        own = [_again(case, before, indices, replayed, each) for each in numerics]
        return replace(found, own=tuple(own))
    except Missing as error:
        return replace(evidence, refused=str(error), refused_by="states", refused_at=progress.step)
    except Unfit as error:
        return replace(evidence, refused=str(error), refused_by="schema", refused_at=progress.step)
    except OpeningError as error:
        return replace(evidence, refused=str(error), refused_by="openings", refused_at=progress.step)
    except TrainerError as error:
        return replace(evidence, refused=str(error), refused_by="trainer", refused_at=progress.step)


@dataclass(slots=True)
class _At:
    """Remember which step is being taken."""

    step: int


def _replayed(case: Case, before: State, indices: Iterable[int], at: _At) -> State:
    case.trainer.load(before)
    for index in indices:
        for step in steps(case, index):
            at.step = step
    return case.trainer.save()


def _again(
    case: Case, before: State, indices: Sequence[int], replayed: State, numerics: Numerics
) -> Mapping[str, Distance]:
    """Return how far another replay of the judge's, under other numerics, comes out from the first."""
    with numerics.within():
        other = _replayed(case, before, indices, _At(0))
    return apart(before, other, replayed)


@torch.no_grad()
def apart(before: State, other: State, replayed: State) -> Mapping[str, Distance]:
    """Return how far two states of one trainer, which both began in `before`, lie apart."""
    names = sorted(other.keys() & replayed.keys())
    return {name: compare(_fitting(before.get(name), replayed[name]), other[name], replayed[name]) for name in names}


@torch.no_grad()
def _compared(evidence: Evidence, before: State, claimed: State, replayed: State) -> Evidence:
    misfits = claimed.keys() ^ replayed.keys()
    for name in claimed.keys() & replayed.keys():
        if (claimed[name].shape, claimed[name].dtype) != (replayed[name].shape, replayed[name].dtype):
            misfits.add(name)
    names = sorted(replayed.keys() - misfits)
    opened = {name: _fitting(before.get(name), replayed[name]) for name in names}
    distances = {name: compare(opened[name], claimed[name].to(replayed[name].device), replayed[name]) for name in names}
    return replace(evidence, distances=distances, misfits=tuple(sorted(misfits)))


def _fitting(before: Tensor | None, replayed: Tensor) -> Tensor | None:
    """Return a tensor of the opening state, unless it has grown since: then there is nothing to measure from."""
    return before.to(replayed.device) if before is not None and before.shape == replayed.shape else None
