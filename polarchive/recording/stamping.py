"""Have heads stamped while a run is recorded: what a recorder needs of whoever does that."""

from pathlib import Path
from typing import Protocol

from polarchive.format.merkle import Digest


class Stamper(Protocol):
    """Have heads stamped, elsewhere: no call waits for a network, and none fails because of one."""

    @property
    def latest(self) -> Digest | None:
        """Return the digest of the newest stamp that came and is on disk beside the log, if there is one."""

    def head(self, size: int, note: bytes) -> None:
        """Take notice of a head that is durable."""

    def stop(self) -> str:
        """Try for some time to have the last head stamped, then give up; return what to tell people then."""


class Stamping(Protocol):
    """Say how a run's heads are to be stamped; it is sent to the process that records."""

    def start(self, run: Path) -> Stamper:
        """Begin to have the heads of the run in this directory stamped."""
