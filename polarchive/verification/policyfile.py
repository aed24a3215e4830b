"""Read a policy of one's own from TOML (examples/policy.toml): a named one, and what to change in it."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from polarchive.errors import PolError
from polarchive.trust import settings
from polarchive.trust.settings import Table
from polarchive.verification import calibrationfile, policies
from polarchive.verification.checks.indices import Indices
from polarchive.verification.checks.joint import Joint
from polarchive.verification.checks.reachable import reachable
from polarchive.verification.checks.schedule import Schedule
from polarchive.verification.fitted import PerStep
from polarchive.verification.policy import Policy, name_of
from polarchive.verification.selecting import selection
from polarchive.verification.selections import Selection
from polarchive.verification.thresholds import Fixed, Lp, PooledRelative, Relative, Threshold

T = TypeVar("T")
_TOP: Final = (
    *("like", "name", "select", "in_a_row", "without", "epoch", "adam"),
    *("threshold", "joint", "schedule", "calibration"),
)
_THRESHOLDS: Final[Mapping[str, tuple[Callable[..., Threshold], tuple[str, ...]]]] = {
    "fixed": (Fixed, ("limit",)),
    "lp": (Lp, ("p", "limit")),
    "pooled": (PooledRelative, ("alpha",)),
    "per_step": (PerStep, ("tau", "replays", "margin")),
    "relative": (Relative, ("alpha", "floor")),
}


def named(text: str) -> Policy:
    """Return the policy of this name, or the one in the TOML file of this name; PolError if there is neither."""
    if text in policies.NAMED:
        return policies.NAMED[text]()
    if not text.endswith(".toml"):
        raise PolError(
            f"{text}: no policy has this name (known are {', '.join(policies.NAMED)}), nor is it a TOML file"
        )
    return load(text)


def load(path: str | Path) -> Policy:
    """Return the policy that the file at `path` describes; PolError names what in it is wrong."""
    top = settings.read(path).only(*_TOP)
    like = top.get("like", str, "strict", "a string")
    if like not in policies.NAMED:
        raise top.error("like", f"is none of {', '.join(policies.NAMED)}")
    found = replace(policies.NAMED[like](), name=top.get("name", str, Path(path).stem, "a string"))
    if "select" in top.values:
        found = replace(found, selection=_selection(top))
    if "in_a_row" in top.values:
        found = replace(found, in_a_row=top.count("in_a_row", 0))
    if "threshold" in top.values:
        found = replace(found, threshold=_threshold(top.table("threshold"), found.threshold))
    if "joint" in top.values:
        found = replace(found, of_whole=(_joint(top.table("joint"), _own(found.of_whole, Joint())),))
    if "schedule" in top.values:
        schedule = _schedule(top.table("schedule"), _own(found.of_case, Schedule()))
        found = replace(found, of_case=_instead(found.of_case, schedule))
    if "epoch" in top.values:
        found = replace(found, of_archive=_instead(found.of_archive, Indices(top.count("epoch", 0))))
    if top.get("adam", bool, False, "true or false"):
        found = replace(found, of_archive=(*found.of_archive, reachable))
    if "calibration" in top.values:
        file = Path(path).parent / top.get("calibration", str, "", "a string")
        found = policies.calibrated(found, calibrationfile.load(file))
    return _without(found, top)


def _selection(top: Table) -> Selection:
    try:
        return selection(top.get("select", str, "every", "a string"))
    except PolError as error:
        raise top.error("select", f"= {error}") from None


def _threshold(table: Table, before: Any) -> Threshold:
    """Return a threshold of the kind that the table names; without one, that of before with what is changed in it."""
    own = next(name for name, (make, _) in _THRESHOLDS.items() if make is type(before))
    kind = table.get("kind", str, own, "a string")
    if kind not in _THRESHOLDS:
        raise table.error("kind", f"is none of {', '.join(_THRESHOLDS)}")
    make, keys = _THRESHOLDS[kind]
    table.only("kind", *keys)
    given = {key: _number(table, key) for key in keys if key in table.values}
    try:
        return make(**given) if "kind" in table.values else replace(before, **given)
    except TypeError:
        raise table.error("kind", f"= {kind} takes {' and '.join(keys)}") from None


def _own(checks: tuple[Any, ...], usual: T) -> T:
    """Return what a policy has of a kind of check, which a table changes in part; the usual one if it has none."""
    return next((check for check in checks if isinstance(check, type(usual))), usual)


def _joint(table: Table, before: Joint) -> Joint:
    table.only("toward", "total", "kept")
    return replace(before, **{key: _number(table, key) for key in table.values})


def _schedule(table: Table, before: Schedule) -> Schedule:
    table.only(*(field.name for field in fields(Schedule)))
    whole = ("records", "steps")
    bounds: dict[str, Any] = {key: table.count(key, 0) if key in whole else _number(table, key) for key in table.values}
    return replace(before, **bounds)


def _instead(checks: tuple[T, ...], new: T) -> tuple[T, ...]:
    """Return the checks with `new` in the place of the one of its name, or at the end."""
    return (*(check for check in checks if _short(check) != _short(new)), new)


def _number(table: Table, key: str) -> float:
    value: float = table.get(key, (int, float), 0.0, "a number")
    if not 0 <= value < float("inf"):
        raise table.error(key, "is not a number from 0 on")
    return float(value) if key != "replays" else int(value)


def _without(found: Policy, top: Table) -> Policy:
    """Leave out checks by name; what is left out is named in the report as not checked."""
    names = top.texts("without")
    parts = ("of_archive", "of_case", "of_segment", "of_whole")
    known = {_short(check) for part in parts for check in getattr(found, part)}
    if strange := sorted(set(names) - known):
        raise top.error("without", f"names {strange[0]}, and the checks are {', '.join(sorted(known))}")
    kept: dict[str, Any] = {
        part: tuple(check for check in getattr(found, part) if _short(check) not in names) for part in parts
    }
    return replace(found, **kept)


def _short(check: object) -> str:
    """Return a check's name without its settings."""
    return name_of(check).partition("(")[0].lower()
