"""Keep the record of what was shown to whom, and of what was refused: on disk before anything leaves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from polarchive.exchange.facts import Facts
from polarchive.format import fields as f
from polarchive.format.merkle import Digest
from polarchive.format.note import VerifierKey
from polarchive.format.spelling import verifier_key


@dataclass(frozen=True, slots=True)
class Admitted:
    """Record that a judge's request was taken; `head` and `substance` are digests of what it is about and asks."""

    at: int
    judge: VerifierKey
    request: Digest
    head: Digest
    substance: Digest


@dataclass(frozen=True, slots=True)
class Released:
    """Record that a part went to a judge; `again` if that judge was shown it before."""

    at: int
    judge: VerifierKey
    request: Digest
    part: str
    sha256: Digest
    size: int
    again: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """Record that a request or a part was refused, to a judge or (None) to somebody at an `address`."""

    at: int
    judge: VerifierKey | None
    address: str
    request: Digest | None
    part: str | None
    reason: str


Fact: TypeAlias = Admitted | Released | Refused
_codecs: Final[Mapping[str, f.Codec[Any]]] = {
    "admitted": f.fields(Admitted, at=f.u64, judge=verifier_key, request=f.digest, head=f.digest, substance=f.digest),
    "released": f.fields(
        Released,
        at=f.u64,
        judge=verifier_key,
        request=f.digest,
        part=f.text,
        sha256=f.digest,
        size=f.u64,
        again=f.boolean,
    ),
    "refused": f.fields(
        Refused,
        at=f.u64,
        judge=f.optional(verifier_key),
        address=f.text,
        request=f.optional(f.digest),
        part=f.optional(f.text),
        reason=f.text,
    ),
}


class Releases:
    """Hold the record, open for adding, and remember from it what decides what may be shown."""

    def __init__(self, path: Path) -> None:
        """Open or begin the record at `path`; PolError if another server writes to it."""
        self._facts: Facts[Fact] = Facts(path, _codecs, wait=False)
        self._released: set[tuple[VerifierKey, str]] = set()
        self._admitted: dict[tuple[VerifierKey, Digest], Digest] = {}
        self._requests: set[Digest] = set()
        while self._facts.found:
            self._remember(self._facts.found.pop())

    def add(self, fact: Fact) -> None:
        """Add a fact; it is on disk when this returns."""
        self._facts.add(fact)
        self._remember(fact)

    def was_released(self, judge: VerifierKey, part: str) -> bool:
        """Tell whether a judge was shown a part before."""
        return (judge, part) in self._released

    def was_admitted(self, request: Digest) -> bool:
        """Tell whether the request of that digest was taken before."""
        return request in self._requests

    def substance(self, judge: VerifierKey, head: Digest) -> Digest | None:
        """Return what the requests of a judge about a head ask for, all of them the same."""
        return self._admitted.get((judge, head))

    def close(self) -> None:
        """Close the file."""
        self._facts.close()

    def _remember(self, fact: Fact) -> None:
        if isinstance(fact, Released):
            self._released.add((fact.judge, fact.part))
        elif isinstance(fact, Admitted):
            self._admitted[fact.judge, fact.head] = fact.substance
            self._requests.add(fact.request)


def read(path: Path) -> list[Fact]:
    """Return all facts of the record at `path`, which no server may have open at that time."""
    facts: Facts[Fact]
    with Facts(path, _codecs, wait=False) as facts:
        return facts.found
