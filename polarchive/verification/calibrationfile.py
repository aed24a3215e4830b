"""Write a calibration as JSON that can be compared line by line, and read it back strictly."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from polarchive.errors import PolError
from polarchive.format import disk, fields
from polarchive.format.canonical import Json
from polarchive.format.fields import Codec
from polarchive.format.limits import MAX_TENSORS
from polarchive.verification.calibration import Calibration, Limits, Spread
from polarchive.verification.reference import Reference

VERSION: Final = "polarchive-calibration/v1"
_MOST: Final = 1 << 26  # bytes
_FEW: Final = 1 << 10  # entries, sources, facts about a stack
_POINTS: Final = 1 << 20


def _number(value: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise ValueError("expected a finite number")
    return float(value)


def _amount(value: Any) -> Any:
    if _number(value) < 0:
        raise ValueError("expected a number from 0 on")
    return float(value)


def _count(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise ValueError("expected a whole number from 0 on")
    return value


def _rate(value: Any) -> Any:
    if not 0 < _number(value) < 1:
        raise ValueError("expected a number between 0 and 1")
    return float(value)


number: Final[Codec[float]] = Codec(_number, cast(Any, _number))
amount: Final[Codec[float]] = Codec(_amount, _amount)
count: Final[Codec[int]] = Codec(_count, _count)
rate: Final[Codec[float]] = Codec(_rate, _rate)
named: Final = fields.mapping(amount, MAX_TENSORS)
CODEC: Final = fields.fields(
    Calibration,
    run=fields.text,
    stack=fields.mapping(fields.text, _FEW),
    tau=rate,
    margin=amount,
    tensors=fields.mapping(count, MAX_TENSORS),
    limits=fields.sequence(fields.fields(Limits, steps=count, lr=amount, segments=count, errors=named), _FEW),
    spreads=fields.sequence(
        fields.fields(
            Spread,
            name=fields.text,
            median=amount,
            largest=amount,
            worst=fields.text,
            steps=fields.sequence(count, _POINTS),
            gaps=fields.sequence(amount, _POINTS),
            toward=number,
            total=amount,
            coherence=amount,
            gap=amount,
            push=amount,
        ),
        _FEW,
    ),
    d_ref=fields.fields(Reference, mean=amount, sd=amount, runs=count),
)


def spell(calibration: Calibration) -> bytes:
    """Return the bytes of a calibration's file; the same for the same calibration."""
    value = {"version": VERSION, **cast(dict[str, Json], CODEC.write(calibration))}
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def save(calibration: Calibration, path: str | Path) -> None:
    """Write a calibration to `path`, whole or not at all."""
    with disk.replacing(Path(path)) as file:
        file.write(spell(calibration))


def load(path: str | Path) -> Calibration:
    """Return the calibration in the file at `path`; PolError says in one line what is wrong with it."""
    with Path(path).open("rb") as file:
        data = file.read(_MOST + 1)
    try:
        return _read(data)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PolError(f"{path}: not a calibration: {reason}") from None


def _read(data: bytes) -> Calibration:
    if len(data) > _MOST:
        raise ValueError(f"more than {_MOST} bytes")
    value = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_refuse)
    if not isinstance(value, dict) or value.pop("version", None) != VERSION:
        raise ValueError(f"version: expected {VERSION}")
    found = CODEC.read(value)
    for spread in found.spreads:
        if len(spread.steps) != len(spread.gaps):
            raise ValueError(f"spreads: {spread.name} has not one gap for each step")
    if not found.spreads or not found.limits:
        raise ValueError("limits: expected some, and a source that they rest on")
    return found


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name that is there twice")
    return value


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no number here")
