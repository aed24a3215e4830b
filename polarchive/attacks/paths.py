"""Lay the states of a spoof on a way from fresh weights to stolen ones, straight or not."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor

from polarchive.attacks.line import between
from polarchive.measures.names import is_statistic
from polarchive.training.trainer import State

Way: TypeAlias = Callable[[State, State, int], Iterator[State]]


@dataclass(frozen=True, slots=True)
class Straight:
    """Go straight."""

    def __call__(self, start: State, end: State, pieces: int) -> Iterator[State]:
        """Yield the states that cut a line into so many pieces, both ends included."""
        for place in range(pieces + 1):
            yield between(start, end, place / pieces)


straight: Final = Straight()


@dataclass(frozen=True, slots=True)
class Arc:
    """Go round: half a wave off the line, in a random direction, as high as `height` times the line is long.

    Of each weight tensor by itself, so that none leaves its scale; batch statistics stay on the line.
    """

    height: float = 0.25
    seed: int = 1

    def __call__(self, start: State, end: State, pieces: int) -> Iterator[State]:
        """Yield the states in which the pieces of the way end, both ends included."""
        aside = _aside(start, end, torch.Generator().manual_seed(self.seed))
        for place, state in enumerate(straight(start, end, pieces)):
            off = self.height * math.sin(math.pi * place / pieces) if place < pieces else 0.0
            yield _added(state, aside, off)


@dataclass(frozen=True, slots=True)
class Wander:
    """Walk at random, of which only the drift leads to the end: each step goes `stray` times as far aside as on.

    Source: Fang et al., section VI-A: any way in small steps does. With `stray` 1 the longest step is about twice as
    long as those of a line.
    """

    stray: float = 1.0
    seed: int = 1

    def __call__(self, start: State, end: State, pieces: int) -> Iterator[State]:
        """Yield the states in which the steps end, both ends included."""
        generator, state = torch.Generator().manual_seed(self.seed), between(start, start, 0.0)
        yield state
        for left in range(pieces, 0, -1):
            aside = _aside(state, end, generator)
            state = _added(between(state, end, 1 / left), aside, self.stray / left if left > 1 else 0.0)
            yield state


def _aside(start: State, end: State, generator: torch.Generator) -> State:
    """Return a random direction for each weight tensor, as long as the way that the tensor has before it."""
    return {name: _random(end[name] - start[name], generator) for name in end if _moves_freely(name, end[name])}


def _random(way: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(way.shape, generator=generator, dtype=torch.float64).to(way.dtype)
    return drawn.mul_(float(way.norm() / drawn.norm()))


def _moves_freely(name: str, tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not is_statistic(name)


def _added(state: State, aside: State, off: float) -> State:
    return {**state, **{name: state[name] + off * aside[name] for name in aside}} if off else state
