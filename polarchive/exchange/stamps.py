"""Have the heads of a run stamped while it is recorded, which neither waits for an authority nor fails with one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import Any, Final, TypeAlias

from cryptography.x509 import Certificate, load_pem_x509_certificates

from polarchive.errors import PolError
from polarchive.exchange import authority
from polarchive.exchange.attempts import Attempts, Due
from polarchive.format import attach, marks
from polarchive.format.marks import Mark
from polarchive.format.merkle import Digest
from polarchive.format.stamp import Stamp

Root: TypeAlias = bytes | str | Path
TIMEOUT: Final = 10.0
PATIENCE: Final = 15.0


@dataclass(frozen=True, slots=True)
class StampClient:
    """Say which timestamp authorities are to stamp the heads of a run: `Writer(…, stamps=StampClient(urls))`.

    The first head is stamped, then one in `every`, and the last; an authority that is slower gets the newest one.
    `roots` (PEM, or files of it) and `policies`, if given, are what a stamp must have to be kept. An answer is waited
    for `timeout` seconds and, when recording ends, the last stamps `patience` seconds in all. What does not come is
    asked for again, then noted in the run directory and given up.
    """

    urls: str | Sequence[str] = field(repr=False)  # which may name a user and a password
    every: int = 1
    roots: Root | Sequence[Root] = field(default=(), repr=False)
    policies: str | Sequence[str] = ()
    timeout: float = TIMEOUT
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        """Read the roots, and refuse what could only fail later."""
        object.__setattr__(self, "urls", _several(self.urls))
        object.__setattr__(self, "policies", _several(self.policies))
        object.__setattr__(self, "roots", tuple(map(_pem, _several(self.roots))))
        if not self.urls or self.every < 1 or self.timeout <= 0 or self.patience < 0:
            raise ValueError("at least one URL, every at least 1, timeout above 0 and patience not below it")
        for url in self.urls:
            authority.require_url(url)

    def start(self, run: Path) -> "Stamps":
        """Begin to have the heads of the run in this directory stamped."""
        return Stamps(self, run)

    def ask(self, url: str, message: bytes, left: float = float("inf")) -> Stamp:
        """Return a stamp over `message` by the authority at `url`; AuthorityError or StampError if there is none."""
        wait = min(left, self.timeout)
        return authority.ask(url, message, timeout=wait, roots=self.certificates, policies=_several(self.policies))

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Return the roots."""
        return tuple(each for pem in _several(self.roots) for each in load_pem_x509_certificates(pem))


class Stamps:
    """Have the heads of one run stamped, by threads that end with this process."""

    def __init__(self, client: StampClient, run: Path) -> None:
        self.latest: Digest | None = None
        self._client, self._run = client, run
        self._last: Due | None = None
        self._seen = 0
        self._attempts = [self._begun(url, authority.shown(url)) for url in client.urls]

    def head(self, size: int, note: bytes) -> None:
        """Take notice of a head that is durable."""
        self._last = Due(size, note)
        if self._seen % self._client.every == 0:
            for each in self._attempts:
                each.take(self._last)
        self._seen += 1

    def stop(self) -> str:
        """Try for some time to have the last head stamped; return what to tell people if it was not."""
        until = monotonic() + self._client.patience
        for each in self._attempts:
            each.finish(self._last, until)
        missing = "; ".join(filter(None, (each.wait() for each in self._attempts)))
        later = f"polarc stamp {self._run} --tsa URL adds one later"
        return missing and f"{self._run}: the last head lacks a stamp: {missing}; {later}"

    def _begun(self, url: str, name: str) -> Attempts:
        return Attempts(name, partial(self._client.ask, url), self._keep, partial(self._mark, name))

    def _keep(self, size: int, found: Stamp) -> None:
        attach.attach_stamp(self._run, size, found.raw)
        self.latest = found.digest  # now that it is on disk

    def _mark(self, name: str, size: int, error: Exception) -> None:
        marks.append(self._run, Mark(size, name, authority.reason_of(error), str(error), int(time())))


def _several(given: Any) -> tuple[Any, ...]:
    """Return what was given, or the one thing that stands alone, as a tuple."""
    return (given,) if isinstance(given, str | bytes | Path) else tuple(given)


def _pem(given: Root) -> bytes:
    pem = given if isinstance(given, bytes) else Path(given).read_bytes()
    try:
        load_pem_x509_certificates(pem)
    except ValueError:
        raise PolError(f"{'roots' if isinstance(given, bytes) else given}: no certificate in PEM") from None
    return pem
