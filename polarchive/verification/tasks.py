"""Replay what policies ask for, each thing once however many ask for it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import torch

from polarchive.training import stack
from polarchive.verification.case import Case
from polarchive.verification.evidence import Evidence
from polarchive.verification.numerics import others
from polarchive.verification.replay import replay
from polarchive.verification.residual import Lone, Residual, Way

Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """Ask for one replay: of `in_a_row` segments from `index` on, and `own` times more under other numerics."""

    index: int
    in_a_row: int = 1
    own: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Return what tells a task from others: how many segments in a row, and the first of them."""
        return self.in_a_row, self.index


@dataclass(frozen=True, slots=True)
class Done:
    """Hold what a replay showed, and how the states were come by that it needed and that are not stored.

    `residual` is None of segments in a row, and where nothing was compared; `stack` is what computed it.
    """

    evidence: Evidence
    residual: Residual | None
    obtained: Mapping[int, str]
    stack: Mapping[str, str]

    @property
    def place(self) -> tuple[int, int]:
        """Return what task it was: how many segments in a row, and the first of them."""
        return self.evidence.in_a_row, self.evidence.segment


Run: TypeAlias = Callable[[Sequence[Task]], Iterator[Done]]  # in any order


def together(tasks: Iterable[Task]) -> list[Task]:
    """Return each task once, with the most replays that anyone asks for, in the order in which they are to be done.

    No segment is replayed right after the one before it: else undeclared state would be carried on as recorded.
    """
    own: dict[tuple[int, int], int] = {}
    for task in tasks:
        own[task.place] = max(task.own, own.get(task.place, 0))
    alone = sorted(index for in_a_row, index in own if in_a_row == 1)
    order = [(1, index) for index in (*alone[1::2], *alone[::2])]
    order += sorted(place for place in own if place[0] > 1)
    return [Task(index, in_a_row, own[in_a_row, index]) for in_a_row, index in order]


def replays(run: Run, tasks: Sequence[Task], progress: Progress) -> Iterator[Done]:
    """Yield what comes of all tasks, in their order; a segment that cannot be replayed is not tried again in a pair."""
    total = len(tasks)
    refused: set[int] = set()
    progress(0, total)
    alone = [task for task in tasks if task.in_a_row == 1]
    for done in ordered(alone, told(run(alone), 0, total, progress)):
        if done.evidence.refused is not None:
            refused.add(done.evidence.segment)
        yield done
    rest = [task for task in tasks if task.in_a_row > 1 and not refused & {task.index, task.index + 1}]
    yield from ordered(rest, told(run(rest), total - len(rest), total, progress))
    if len(alone) < total > 0 == len(rest):
        progress(total, total)


def told(found: Iterable[Done], before: int, total: int, progress: Progress) -> Iterator[Done]:
    """Yield what comes, and tell how much has, where so much came `before`."""
    for count, done in enumerate(found, before + 1):
        progress(count, total)
        yield done


def ordered(tasks: Iterable[Task], found: Iterator[Done]) -> Iterator[Done]:
    """Yield what comes of tasks in the order of these, which is not that in which it comes."""
    waiting: dict[tuple[int, int], Done] = {}
    for task in tasks:
        while task.place not in waiting:
            done = next(found)
            waiting[done.place] = done
        yield waiting.pop(task.place)


@dataclass(frozen=True, slots=True)
class Here:
    """Do tasks one after the other, in this process."""

    case: Case
    way: Way

    def __call__(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """Yield what comes of each in turn, while the batches of the next are on their way."""
        for task, following in pairwise([*tasks, None]):
            assert task is not None
            if following is not None and following.in_a_row == 1:
                self.case.showing.expect(self.case.archive.segments[following.index])
            yield perform(self.case, self.way, task)


def perform(case: Case, way: Way, task: Task) -> Done:
    """Do one task."""
    case.obtained.clear()
    numerics = others(case.device)[: task.own]
    kept = Lone(way)
    drift = kept if task.in_a_row == 1 else None  # segments in a row are judged alone too
    evidence = replay(case, task.index, task.in_a_row, numerics=numerics, drift=drift)
    return Done(evidence, kept.residual, dict(case.obtained), stack.describe([torch.device(case.device)]))
