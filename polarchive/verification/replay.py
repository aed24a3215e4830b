"""Replay one segment: load its opening state, feed it its batches, and compare where it ends with what was claimed."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from polarchive.errors import OpeningError, TrainerError
from polarchive.format.commitment import Opening
from polarchive.format.entry import Segment
from polarchive.format.log import Step
from polarchive.measures.distance import compare
from polarchive.training import seeds
from polarchive.training.arrays import to_tensors
from polarchive.training.batches import to_batch
from polarchive.verification.case import Case
from polarchive.verification.evidence import Evidence

State = dict[str, Tensor]


def replay(case: Case, index: int) -> Evidence:
    """Return the evidence on segment `index`; an opening that fails ends the replay and is part of the evidence."""
    segment, trainer = case.archive.segments[index], case.trainer
    evidence = Evidence(index, segment.first, segment.steps, same_randomness=case.same_randomness)
    at = segment.first
    try:
        before, claimed = _state(case, index), _state(case, index + 1)
        trainer.load(before)
        for step in case.archive.steps(index):
            at = step.step
            trainer.impose(step.hyper)
            _take(case, step, segment)
        return _compared(evidence, before, claimed, trainer.save())
    except OpeningError as error:
        return replace(evidence, refused=str(error), refused_by="openings", refused_at=at)
    except TrainerError as error:
        return replace(evidence, refused=str(error), refused_by="trainer", refused_at=at)


def _take(case: Case, step: Step, segment: Segment) -> None:
    feed = _Feed(case, step, segment.epoch)
    case.trainer.step(iter(feed))
    if not feed.done:
        raise TrainerError("the trainer's step did not take all batches of its update")


class _Feed:
    """Give a step its batches, each checked against its commitment, and seed what it does with each."""

    def __init__(self, case: Case, step: Step, epoch: int) -> None:
        self.done = False
        self._case, self._step, self._epoch = case, step, epoch

    def __iter__(self) -> Iterator[Any]:
        header = self._case.archive.header
        fed = self._case.batches(self._step.step)
        start = 0
        for micro, (batch, row) in enumerate(zip(_parts(fed, header.micro), self._step.batches, strict=True)):
            columns = to_batch(batch, header.schema)
            header.schema.check(columns)
            salts = self._case.salts.of(self._epoch, self._step.step, start, 1 + columns.count)
            Opening(columns, salts).check(row)
            start += 1 + columns.count
            seeds.apply(seeds.derive(header.run, self._step.step, micro))
            self.done = micro + 1 == header.micro
            yield batch


def _parts(fed: Any, micro: int) -> list[Any]:
    parts = [fed] if micro == 1 else list(fed)
    if len(parts) != micro:
        raise OpeningError(f"{len(parts)} batches were shown for a step of {micro}")
    return parts


def _state(case: Case, index: int) -> State:
    return {name: tensor.to(case.device) for name, tensor in to_tensors(case.archive.state(index)).items()}


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
