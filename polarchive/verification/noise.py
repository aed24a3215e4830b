"""Measure honest noise: how far a judge's own replays come out apart when it computes otherwise.

Compared are replays with replays, never with what was claimed: of the run only the opening states and the batches are
taken. So it may be a run of the judge's own, or the very one that is judged (README.md, "Calibration").
"""

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from polarchive.errors import PolError
from polarchive.format.archive import Archive
from polarchive.verification.case import Case
from polarchive.verification.drift import Drift, Unexplained
from polarchive.verification.evidence import largest_rate
from polarchive.verification.feeding import steps
from polarchive.verification.numerics import Numerics, one_by_one
from polarchive.verification.replay import apart
from polarchive.verification.residual import Way
from polarchive.verification.states import state
from polarchive.verification.thresholds import shares

State: TypeAlias = dict[str, Tensor]
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Noise:
    """Hold how far a replay under other numerics came out from the usual one, `steps` steps after step `first`.

    `errors` are shares of each tensor's update, `counts` their elements. `gap` is ε_repr, the ℓ2 distance of the
    weights, and `push` how far that carries the run toward its end.
    """

    source: str
    segment: int
    first: int
    steps: int
    lr: float
    errors: Mapping[str, float]
    counts: Mapping[str, int]
    gap: float
    push: float


@dataclass(frozen=True, slots=True)
class Source:
    """Name a way to replay a segment once more: with other numerics, or as a case on another device."""

    name: str
    case: Case
    numerics: Numerics

    def ends(self, before: State, indices: Iterable[int]) -> list[State]:
        """Return the state after each segment, replayed in a row from `before`, on the device of the case."""
        found = []
        self.case.trainer.load(_on(self.case.device, before))
        with self.numerics.within():
            for index in indices:
                for _ in steps(self.case, index):
                    pass
                found.append(self.case.trainer.save())
        return found


@dataclass(frozen=True, slots=True)
class Measurement:
    """Hold all noise that was measured on a run, and for each source what the residuals of its segments add up to."""

    noises: tuple[Noise, ...]
    joint: Mapping[str, Unexplained]


def sources(case: Case, kinds: Collection[str] = (), elsewhere: Iterable[Case] = ()) -> tuple[Source, ...]:
    """Return what can be varied one by one, and the same again, which on a deterministic stack is no noise at all."""
    again = Source("the same again", case, Numerics())
    own = (Source(str(each), case, each) for each in one_by_one(case.device, kinds))
    return (again, *own, *(Source(f"on {other.device}", other, Numerics()) for other in elsewhere))


def drawn(archive: Archive, count: int, seed: int = 0) -> list[int]:
    """Return so many segments at random, of those whose opening state is stored, and that another as long follows."""
    whole = [each.index for each in archive.segments if each.steps == archive.header.every]
    fit = [index for index in whole if index + 1 in set(whole) and archive.is_stored(index)]
    return sorted(random.Random(seed).sample(fit, min(count, len(fit))))


def measure(
    case: Case, indices: Sequence[int], sources: Sequence[Source], progress: Progress = lambda done, total: None
) -> Measurement:
    """Return the noise of every source on segments, and on each together with the one that follows it, in a row.

    OpeningError if a batch is not the committed one; PolError if the steps draw random numbers on one of the devices.
    """
    final = state(case, _last_stored(case.archive))
    drifts = {source.name: Drift(Way(state(case, 0), final)) for source in sources}
    noises: list[Noise] = []
    for done, index in enumerate(indices):
        progress(done, len(indices))
        noises += _of_segment(case, index, sources, drifts, final)
    progress(len(indices), len(indices))
    return Measurement(tuple(noises), {name: drift.found for name, drift in drifts.items()})


def _of_segment(
    case: Case, index: int, sources: Sequence[Source], drifts: Mapping[str, Drift], final: State
) -> Iterator[Noise]:
    before = state(case, index)
    chain = [index, index + 1]
    usual = Source("", case, Numerics()).ends(before, chain)
    for source in sources:
        others = [_on(case.device, end) for end in source.ends(before, chain)]
        if source.case is not case:
            _require_no_draws()
        drifts[source.name].add(before, others[0], usual[0])
        for count, (other, first) in enumerate(zip(others, usual, strict=True), 1):
            yield _noise(case.archive, source.name, chain[:count], (before, other, first), final)


def _noise(
    archive: Archive, source: str, chain: Sequence[int], states: tuple[State, State, State], final: State
) -> Noise:
    before, other, usual = states
    found = apart(before, other, usual)
    drift = Drift(Way(before, final))
    drift.add(before, other, usual)
    chosen = [archive.segments[index] for index in chain]
    return Noise(
        source=source,
        segment=chosen[0].index,
        first=chosen[0].first,
        steps=sum(segment.steps for segment in chosen),
        lr=largest_rate(step.hyper for index in chain for step in archive.steps(index)) or 0.0,
        errors=shares(found),
        counts={name: distance.count for name, distance in found.items()},
        gap=drift.found.length,
        push=drift.found.projection,
    )


def _last_stored(archive: Archive) -> int:
    return max(index for index in range(len(archive.segments) + 1) if archive.is_stored(index))


def _on(device: str, state: State) -> State:
    return {name: tensor.to(device) for name, tensor in state.items()}


def _require_no_draws() -> None:
    """Raise PolError if a step drew random numbers on a GPU, where others come: another mask is no noise."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    for generator in torch.cuda.default_generators:
        drawn = generator.get_state()
        if not torch.equal(drawn, generator.manual_seed(generator.initial_seed()).get_state()):
            raise PolError("the steps draw random numbers on the device: leave the other device out")
