"""Ask whether the hyper-parameters are sane and, where the judge knows the schedule, the right ones."""

import math
from collections.abc import Iterator
from typing import Final

from polarchive.format.entry import Hyper
from polarchive.verification.case import Case
from polarchive.verification.finding import Finding, Outcome, passed

CHECK: Final = "schedule"
MOST_DECAY: Final = 0.1  # of the weights, in one step; honest runs are far below
TOLERANCE: Final = 1e-12  # a schedule written in another order of operations is not another schedule


def schedule(case: Case) -> Iterator[Finding]:
    """Check every step's settings against their bounds and against the trainer's own `schedule`, if it has one."""
    expected = getattr(case.trainer, "schedule", None)
    refused = False
    for segment in case.archive.segments:
        for step in case.archive.steps(segment.index):
            for problem in (
                *_out_of_bounds(step.hyper),
                *(_differences(step.hyper, expected(step.step)) if expected else ()),
            ):
                refused = True
                yield Finding(CHECK, Outcome.FAILED, problem, segment.index, step.step)
    if not refused:
        how = "and as the judge's schedule has them" if expected else "(the judge gave no schedule to compare with)"
        yield passed(CHECK, f"the hyper-parameters of every step are within bounds {how}")


def _out_of_bounds(hyper: Hyper) -> Iterator[str]:
    for name, value in hyper.items():
        key = next((word for word in reversed(name.split("/")) if not word.isdecimal()), "")
        number = value if isinstance(value, float | int) else 0.0
        if key in ("lr", "weight_decay", "eps") and number < 0:
            yield f"{name} = {number} is negative"
        if key in ("momentum", "betas") and not 0 <= number < 1:
            yield f"{name} = {number} is not in [0, 1): it would never forget what the prover put there"
        if key == "dampening" and not 0 <= number <= 1:
            yield f"{name} = {number} is not between 0 and 1"
        if key == "lr" and number * _number(hyper.get(f"{name.removesuffix('lr')}weight_decay")) > MOST_DECAY:
            yield f"{name} times weight decay is above {MOST_DECAY}: such a step forgets the weights"


def _differences(hyper: Hyper, expected: Hyper) -> Iterator[str]:
    for name in sorted(hyper.keys() | expected.keys()):
        left, right = hyper.get(name), expected.get(name)
        if not (left == right or math.isclose(_number(left), _number(right), rel_tol=TOLERANCE)) or (
            (name in hyper) != (name in expected)
        ):
            yield f"{name} = {left}, the judge's schedule has {right}"


def _number(value: float | bool | None) -> float:
    return float(value) if value is not None else 0.0
