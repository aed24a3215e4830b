"""Keep what a judge must not forget: which nonce it drew for which head, and how each challenge ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_bytes
from time import time
from typing import Any, Final, TypeAlias

from polarchive.exchange.facts import Facts
from polarchive.format import fields as f
from polarchive.format.challenge import NONCE_SIZE
from polarchive.format.note import Head
from polarchive.format.request import head_fields

FILE: Final = "ledger.jsonl"


@dataclass(frozen=True, slots=True)
class Drawn:
    """Record that a nonce was drawn for a head of a run."""

    at: int
    run: bytes
    head: Head
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """Record what the verdict was on the challenge about a head."""

    at: int
    run: bytes
    head: Head
    verdict: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """Hold a challenge about another head of the same run; without a verdict it was left unfinished."""

    head: Head
    nonce: bytes
    verdict: str | None


Fact: TypeAlias = Drawn | Finished
_run: Final = f.hexadecimal(16)
_codecs: Final[Mapping[str, f.Codec[Any]]] = {
    "drawn": f.fields(Drawn, at=f.u64, run=_run, head=head_fields, nonce=f.hexadecimal(NONCE_SIZE)),
    "finished": f.fields(Finished, at=f.u64, run=_run, head=head_fields, verdict=f.text),
}


class Ledger:
    """Hold the judge's memory, a folder that outlives every verdict and every archive.

    `clock` gives seconds since 1970, which are noted and decide nothing.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time) -> None:
        """Open or begin the ledger in `folder`, which only its owner can look into."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._clock = folder, clock

    def nonce(self, run: bytes, head: Head) -> bytes:
        """Return the nonce for the last head of a run: a new one the first time, on disk before it is told."""
        with self._open() as facts:
            for fact in facts.found:
                if isinstance(fact, Drawn) and (fact.run, fact.head) == (run, head):
                    return fact.nonce
            drawn = Drawn(int(self._clock()), run, head, token_bytes(NONCE_SIZE))
            facts.add(drawn)
            return drawn.nonce

    def finished(self, run: bytes, head: Head, verdict: str) -> None:
        """Note what came of the challenge about a head."""
        with self._open() as facts:
            facts.add(Finished(int(self._clock()), run, head, verdict))

    def earlier(self, run: bytes, head: Head) -> tuple[Earlier, ...]:
        """Return the challenges about other heads of the run, in the order drawn, each with its last verdict."""
        with self._open() as facts:
            verdicts = {fact.head: fact.verdict for fact in facts.found if isinstance(fact, Finished)}
            drawn = [fact for fact in facts.found if isinstance(fact, Drawn)]
        others = [fact for fact in drawn if fact.run == run and fact.head != head]
        return tuple(Earlier(fact.head, fact.nonce, verdicts.get(fact.head)) for fact in others)

    def folder(self, run: bytes, head: Head) -> Path:
        """Return where to keep the answer to the challenge about a head: resuming finds it there."""
        return self._folder / f"{run.hex()}-{sha256(head.text).hexdigest()[:16]}"

    def _open(self) -> Facts[Fact]:
        return Facts(self._folder / FILE, _codecs, wait=True)
