"""Replay one segment: load its opening state, feed it its batches, and compare where it ends with what was claimed."""

from dataclasses import replace

import torch
from torch import Tensor

from polarchive.errors import OpeningError, TrainerError
from polarchive.measures.distance import compare
from polarchive.verification.case import Case
from polarchive.verification.evidence import Evidence
from polarchive.verification.feeding import steps
from polarchive.verification.states import Missing, state

State = dict[str, Tensor]


def replay(case: Case, index: int) -> Evidence:
    """Return the evidence on segment `index`; an opening that fails ends the replay and is part of the evidence."""
    segment, trainer = case.archive.segments[index], case.trainer
    evidence = Evidence(index, segment.first, segment.steps, same_randomness=case.same_randomness)
    at = segment.first
    try:
        before, claimed = state(case, index), state(case, index + 1)
        trainer.load(before)
        for step in steps(case, index):
            at = step
        return _compared(evidence, before, claimed, trainer.save())
    except Missing as error:
        return replace(evidence, refused=str(error), refused_by="states", refused_at=at)
    except OpeningError as error:
        return replace(evidence, refused=str(error), refused_by="openings", refused_at=at)
    except TrainerError as error:
        return replace(evidence, refused=str(error), refused_by="trainer", refused_at=at)


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
