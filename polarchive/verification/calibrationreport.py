"""Tell a calibration to people, as text, and to programs, as JSON."""

import statistics
from collections.abc import Iterator
from typing import Any, Final

from polarchive.verification.calibration import Calibration, Limits, Spread
from polarchive.verification.fitted import MOST

_WORST: Final = 3


def text(calibration: Calibration) -> Iterator[str]:
    """Yield the lines of a summary: what each source did, what is allowed, and how far noise may carry a run."""
    yield f"run {calibration.run}: errors are shares of a tensor's update, the worst tensor of each segment counts"
    yield f"{'source':24} {'median':>9} {'largest':>9}  in"
    yield from map(_source, calibration.spreads)
    for limits in calibration.limits:
        yield from _limits(limits)
    yield f"these are {calibration.margin:g} times what {calibration.tau:.3g} of honest segments stay within"
    toward, total = calibration.displacement(*_size(calibration))
    yield f"as many segments may displace a run as long as d_ref by {toward:.2g} toward its end, {total:.2g} in all"
    yield str(calibration.d_ref)


def as_json(calibration: Calibration) -> dict[str, Any]:
    """Return a summary as plain JSON values; the calibration's own file holds all of it."""
    toward, total = calibration.displacement(*_size(calibration))
    return {
        "run": calibration.run,
        "tau": calibration.tau,
        "margin": calibration.margin,
        "sources": [
            {"name": each.name, "median": each.median, "largest": each.largest, "worst": each.worst}
            for each in calibration.spreads
        ],
        "limits": [_limits_json(each) for each in calibration.limits],
        "joint": {"toward": toward, "total": total},
        "d_ref": {"mean": calibration.d_ref.mean, "sd": calibration.d_ref.sd, "runs": calibration.d_ref.runs},
    }


def _size(calibration: Calibration) -> tuple[int, float]:
    return len(calibration.spreads[0].steps), calibration.d_ref.mean


def _source(spread: Spread) -> str:
    where = spread.worst if spread.largest else "exact"
    return f"{spread.name:24} {spread.median:9.2g} {spread.largest:9.2g}  {where}"


def _limits(limits: Limits) -> Iterator[str]:
    middle = statistics.median(limits.errors.values())
    yield f"k = {limits.steps}, lr up to {limits.lr:g}, {limits.segments} segments: median limit {middle:.2g}, widest"
    yield from (f"  {error:9.2g}  {name}" for name, error in _widest(limits))
    if idle := sum(error > MOST for error in limits.errors.values()):
        yield f"  noise in {idle} tensors may be as large as their update, where replay shows nothing: lower k"


def _limits_json(limits: Limits) -> dict[str, Any]:
    return {
        "steps": limits.steps,
        "lr": limits.lr,
        "segments": limits.segments,
        "median": statistics.median(limits.errors.values()),
        "widest": dict(_widest(limits)),
    }


def _widest(limits: Limits) -> list[tuple[str, float]]:
    return sorted(limits.errors.items(), key=lambda item: -item[1])[:_WORST]
