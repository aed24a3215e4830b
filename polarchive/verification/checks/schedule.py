"""Ask whether the hyper-parameters are sane and, where the judge knows the schedule, the right ones."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Final

from polarchive.format.entry import Hyper
from polarchive.format.log import Step
from polarchive.verification.case import Case
from polarchive.verification.finding import Finding, Outcome, passed

CHECK: Final = "schedule"
TOLERANCE: Final = 1e-12  # a schedule written in another order of operations is not another schedule
Setting = float | bool | None
_STEADY: Final = frozenset(("eps", "dampening", "nesterov", "amsgrad", "maximize"))


@dataclass(frozen=True, slots=True, repr=False)
class Schedule:
    """Hold every step to bounds, and to the trainer's own `schedule(step)`, if it has one, to 1e-12.

    What no schedule changes (the last beta, eps, dampening, and switches) stays as it was at the first step, unless the
    trainer's own schedule says otherwise. Rates and decay are at least 0, momentum and betas in [0, 1), dampening in
    [0, 1]. Further, if the judge says so:

    - `decay`: most of the weights that weight decay could take at once, lr · weight decay / (1 − momentum)², each the
      largest of the run so far: momentum that decay has filled at one rate is spent at another;
    - `records`: fewest of a step; batches without records by their schema have none to count;
    - `steps`: most of a segment, whose end is all that a replay compares;
    - `lr`: the greatest learning rate;
    - `change`: how many times a step's rate may be that of the step before, either way; from or to 0 is beyond any.
    """

    decay: float = 0.5  # honest runs are far below; beyond 1 weights can change sign, and grow
    records: int = 1
    steps: int | None = None
    lr: float | None = None
    change: float | None = None

    def __repr__(self) -> str:
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        told = ", ".join(f"{name}={value:g}" for name, value in own.items() if value is not None)
        return f"{CHECK}({told})"

    def __call__(self, case: Case) -> Iterator[Finding]:
        """Report every setting that is wrong at the first step where it is, with the number of further ones."""
        expected: Callable[[int], Hyper] | None = getattr(case.trainer, "schedule", None)
        first: dict[str, Finding] = {}
        counts: dict[str, int] = {}
        for segment, step, what, problem in self._problems(case, expected):
            first.setdefault(what, Finding(CHECK, Outcome.FAILED, problem, segment, step))
            counts[what] = counts.get(what, 0) + 1
        yield from (_counted(found, counts[what] - 1) for what, found in first.items())
        if not first:
            how = "and as the judge's schedule has them" if expected else "(the judge gave no schedule to compare with)"
            yield passed(CHECK, f"the hyper-parameters of every step are within bounds {how}")

    def _problems(self, case: Case, expected: Callable[[int], Hyper] | None) -> Iterator[tuple[int, int, str, str]]:
        """Yield segment, step, what is wrong, and that in words."""
        counted = any(field.level == "record" for field in case.archive.header.schema.fields)
        before: Hyper = {}
        most: dict[str, float] = {}
        start: Hyper | None = None
        for segment in case.archive.segments:
            if self.steps is not None and segment.steps > self.steps:
                yield segment.index, segment.first, "steps", f"a segment of {segment.steps} steps, {self.steps} at most"
            for step in case.archive.steps(segment.index):
                wrong = [
                    *_out_of_bounds(step.hyper),
                    *self._erasing(step.hyper, most),
                    *self._beyond(step.hyper, before),
                ]
                wrong += self._too_few(step) if counted else []
                start = start or step.hyper
                wrong += _differences(step.hyper, expected(step.step)) if expected else _unsteady(step.hyper, start)
                yield from ((segment.index, step.step, *each) for each in wrong)
                before = step.hyper

    def _beyond(self, hyper: Hyper, before: Hyper) -> Iterator[tuple[str, str]]:
        for name in hyper:
            if key(name) != "lr":
                continue
            rate = _number(hyper[name])
            if self.lr is not None and not rate <= self.lr:
                yield f"most {name}", f"{name} = {rate}, the judge allows {self.lr}"
            if self.change is not None and name in before and not _near(rate, _number(before[name]), self.change):
                yield f"change {name}", f"{name} = {rate} after {before[name]}, not within {self.change} times"

    def _erasing(self, hyper: Hyper, most: dict[str, float]) -> Iterator[tuple[str, str]]:
        """Report decay that forgets the weights; `most` are the largest settings so far, which it is told."""
        for name, value in hyper.items():
            most[name] = max(most.get(name, 0.0), _number(value))
        for name in (name for name in hyper if key(name) == "lr"):
            group = name.removesuffix("lr")
            kept = max(1 - most.get(f"{group}momentum", 0.0), 0.0) ** 2
            decay = most[name] * most.get(f"{group}weight_decay", 0.0)
            if not decay <= self.decay * kept:
                share = decay / kept if kept else math.inf
                yield f"decay {name}", f"{name} times weight decay comes to {share:.3g}: such steps forget the weights"

    def _too_few(self, step: Step) -> Iterator[tuple[str, str]]:
        records = sum(batch.count for batch in step.batches)
        if records < self.records:
            yield "records", f"a step on {records} records, {self.records} at least"


schedule: Final = Schedule()


def key(name: str) -> str:
    """Return which setting a hyper-parameter's name is about: lr of optimizer/0/lr, betas of optimizer/0/betas/1."""
    return next((word for word in reversed(name.split("/")) if not word.isdecimal()), "")


def _out_of_bounds(hyper: Hyper) -> Iterator[tuple[str, str]]:
    for name, value in hyper.items():
        number = _number(value)
        if key(name) in ("lr", "weight_decay", "eps") and number < 0:
            yield name, f"{name} = {number} is negative"
        if key(name) in ("momentum", "betas") and not 0 <= number < 1:
            yield name, f"{name} = {number} is not in [0, 1): it would never forget what the prover put there"
        if key(name) == "dampening" and not 0 <= number <= 1:
            yield name, f"{name} = {number} is not between 0 and 1"


def _unsteady(hyper: Hyper, start: Hyper) -> Iterator[tuple[str, str]]:
    for name, value in hyper.items():
        if (key(name) in _STEADY or name.endswith("betas/1")) and name in start and value != start[name]:
            yield f"steady {name}", f"{name} = {value}, at first {start[name]}: no schedule of the judge's changes it"


def _differences(hyper: Hyper, expected: Hyper) -> Iterator[tuple[str, str]]:
    for name in sorted(hyper.keys() | expected.keys()):
        left, right = hyper.get(name), expected.get(name)
        if name not in hyper or name not in expected or not _same(left, right):
            yield f"schedule {name}", f"{name} = {left}, the judge's schedule has {right}"


def _same(left: Setting, right: Setting) -> bool:
    if left is None or right is None:
        return left is right
    return left == right or math.isclose(left, right, rel_tol=TOLERANCE)


def _near(rate: float, before: float, times: float) -> bool:
    low, high = sorted((rate, before))
    return high == low or high <= times * low


def _number(value: Setting) -> float:
    return float(value) if value is not None else 0.0


def _counted(found: Finding, more: int) -> Finding:
    message = f"{found.message} (and so at {more} more steps)" if more else found.message
    return Finding(CHECK, found.outcome, message, found.segment, found.step)
