"""Train in a few segments of each epoch, so hard that a judge who replays the largest updates sees nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.line import between, distance
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.training.trainer import State


@dataclass(frozen=True, slots=True)
class Blindfold(Attack):
    """Begin each epoch on a line to the victim with Q true segments at large rates, and interpolate the rest of it.

    Source: Fang et al., section VI-B and Fig. 5. Assumes that the judge replays at most `known.rules.top` updates of an
    epoch, the longest, takes any learning rate, and that an epoch has well more segments than that. Each true step
    takes the rate that makes it as long as the others, `growth` times longer until every true update is longer than
    those which lead on to the next epoch; after `trials` the last is taken. Batch statistics, which this judge ranks
    but does not compare, go to the next epoch's at once. Expected: passes `jia2021_topq` for Q or fewer, where replay
    of true steps is exact enough; fails for more. Costs kQ steps an epoch, and 2kQ for each trial.
    """

    growth: float = 2.0
    trials: int = 8

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take the true steps of each epoch at the rates that hide the others, then go on to the next anchor."""
        usual, fresh = trainer.rate, trainer.weights()
        for epoch in _epochs(known):
            true, rest = epoch[: known.rules.top], epoch[known.rules.top :]
            anchor = between(fresh, known.weights, (epoch[-1] + 1) / known.segments)
            for step, rate in self._rates(known, trainer, anchor, true, len(rest)).items():
                trainer.claim(lr=rate)
                trainer.step([log.record(rows=known.rows(step))])
            trainer.claim({name: anchor[name] for name in anchor.keys() - set(trainer.parameters)}, lr=usual)
            _interpolate(known, trainer, log, anchor, rest)
        trainer.claim(known.weights)

    def _rates(self, known: Known, trainer: Puppet, anchor: State, true: list[int], rest: int) -> dict[int, float]:
        """Return the rates of true steps that hide the rest, found by training; the weights are left as they were."""
        before, steps = trainer.save(), list(_steps(known, true))
        goal = {name: anchor[name] for name in trainer.parameters}
        length = distance(before, goal) / max(len(steps), 1)
        rates: dict[int, float] = {}
        for trial in range(self.trials):
            rates, states = _strides(known, trainer, steps, length * self.growth**trial)
            trainer.load(before)
            if _hide(states, goal, rest):
                break
        return rates


def _epochs(known: Known) -> Iterator[list[int]]:
    """Yield the segments of each epoch; one that reaches into the next belongs to the first."""
    for _, segments in groupby(range(known.segments), lambda segment: segment * known.every // known.workload.epoch):
        yield list(segments)


def _steps(known: Known, segments: list[int]) -> Iterator[int]:
    for segment in segments:
        yield from range(segment * known.every, min((segment + 1) * known.every, known.steps))


def _strides(known: Known, trainer: Puppet, steps: list[int], length: float) -> tuple[dict[int, float], list[State]]:
    """Train in steps of one length; return their rates, and the weights where segments begin and at the end."""
    rates, states = {}, []
    for step in steps:
        before, batch = trainer.save(), known.batch(step)
        if step % known.every == 0:
            states.append(trainer.weights())
        trainer.step([batch])
        moved = distance(
            before, {name: tensor for name, tensor in trainer.save().items() if name in trainer.parameters}
        )
        rates[step] = trainer.rate * length / moved
        trainer.load(before)
        trainer.claim(lr=rates[step])
        trainer.step([batch])
    return rates, [*states, trainer.weights()]


def _hide(states: list[State], goal: State, rest: int) -> bool:
    """Tell whether updates are longer, in the tensors of the goal, than `rest` equal ones that lead on to it."""
    lengths = [distance(one, {name: other[name] for name in goal}) for one, other in pairwise(states)]
    return min(lengths, default=0.0) * rest > distance(states[-1], goal)


def _interpolate(known: Known, trainer: Puppet, log: Log, anchor: State, segments: list[int]) -> None:
    """Go to the anchor in segments that nobody trained."""
    start = trainer.weights()
    for place, segment in enumerate(segments):
        trainer.claim(between(start, anchor, place / len(segments)))
        for step in _steps(known, [segment]):
            log.record(rows=known.rows(step))
    trainer.claim(anchor)
