"""Hold what a contest came to, and spell it as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from polarchive.contest.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Spoof:
    """Hold what was forged.

    `lands` is the ℓ2 distance from its last weights to the victim's, and `errors` are those of each replayed segment
    between claimed and replayed weights, all in multiples of d_ref. `flops` and `seconds` are what forging took,
    `passes` the same operations in forward passes of a batch, and `counted` the passes that Appendix B counts for the
    attack, None where it does not know it. `data` are the records made that are not of the public set.
    """

    attack: str
    challenged: bool
    lands: float
    flops: int
    seconds: float
    passes: float
    counted: float | None
    data: int
    errors: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """Hold what one policy made of a spoof under one protocol.

    `by` are the checks whose findings keep it from being accepted, `why` is the first of them in words. `caught` is the
    probability, over the judge's challenges, that what keeps it from being accepted is met at all.
    """

    attack: str
    protocol: Protocol
    policy: str
    verdict: str
    by: tuple[str, ...]
    why: str
    caught: float


@dataclass(frozen=True, slots=True)
class Match:
    """Hold all that came of one attack."""

    spoofs: tuple[Spoof, ...]
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the match as plain JSON values."""
        return asdict(self)

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> "Match":
        """Return what `as_json` gave."""
        spoofs = [Spoof(**{**each, "errors": _by_segment(each["errors"])}) for each in told["spoofs"]]
        return cls(tuple(spoofs), tuple(map(_row, told["rows"])))


def _row(told: Mapping[str, Any]) -> Row:
    return Row(**{**told, "protocol": Protocol(told["protocol"]), "by": tuple(told["by"])})


def _by_segment(errors: Mapping[Any, float]) -> dict[int, float]:
    return {int(segment): error for segment, error in errors.items()}
