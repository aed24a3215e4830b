"""Say whom a judge believes: provers' keys, timestamp authorities, witnesses, and what it demands of them."""

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Final

from cryptography.x509 import Certificate

from polarchive.format.cosignature import WitnessKey
from polarchive.format.note import VerifierKey

ASSUMED: Final = timedelta(seconds=60)  # how far off a clock may be whose token does not say


class Require(IntEnum):
    """Order what may be demanded of stamps; each demands what the ones before it do.

    END: the last head is stamped. GROWTH: the first segment existed before the last one is known to have. BOUNDED: from
    some segment on, each says which stamp it was made after.
    """

    NONE = 0
    END = 1
    GROWTH = 2
    BOUNDED = 3


@dataclass(frozen=True, slots=True)
class Authority:
    """Name a timestamp authority by the roots its certificates lead to, and the policies it is believed under.

    `accuracy` is taken where a token states none. Without `policies` any will do.
    """

    name: str
    roots: tuple[Certificate, ...]
    policies: frozenset[str] = frozenset()
    accuracy: timedelta = ASSUMED


@dataclass(frozen=True, slots=True)
class Limits:
    """Bound what stamps may tell: a judge finds against a run beyond them. None is no bound.

    `accuracy` of a stamp that counts; `gap` between stamped heads; `rate` in steps per hour between two of them, where
    both its ends are known; `share` of all steps that the first stamped head covers.
    """

    accuracy: timedelta | None = None
    gap: timedelta | None = None
    rate: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """Hold whom a judge believes. `agree` authorities must have stamped a head, `quorum` witnesses cosigned the last.

    With `renewed` a stamp whose authority's certificate has since expired counts only if a renewal was made in time.
    """

    keys: tuple[VerifierKey, ...]
    authorities: tuple[Authority, ...] = ()
    agree: int = 1
    require: Require = Require.NONE
    renewed: bool = False
    witnesses: tuple[WitnessKey, ...] = ()
    quorum: int = 0
    limits: Limits = Limits()
