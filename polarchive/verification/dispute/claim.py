"""Hold what one side of a dispute brings: an archive, and the judge's own verdict on it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polarchive.errors import FormatError, PolError
from polarchive.format.archive import Archive, open_archive
from polarchive.trust.demands import Seen
from polarchive.trust.timeline import Moment
from polarchive.trust.trust import Trust
from polarchive.verification.verdict import ACCEPTED, REJECTED

_MOST: Final = 1 << 30  # bytes of a report
_RESULTS: Final = (ACCEPTED, REJECTED, "inconclusive", None)


@dataclass(frozen=True, slots=True)
class Report:
    """Hold what a judge's `polarc verify --json` came to about one archive; `noise` is the largest residual it met."""

    archive: str
    verdict: str | None
    replayed: int
    segments: int
    noise: float | None

    @classmethod
    def read(cls, path: Path) -> "Report":
        """Read a report; PolError if the file is none."""
        try:
            if path.stat().st_size > _MOST:
                raise ValueError(f"more than {_MOST} bytes")
            return cls._of(json.loads(path.read_bytes()))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise PolError(f"{path}: not a report of polarc verify --json about an archive ({error})") from None

    @classmethod
    def _of(cls, said: Mapping[str, Any]) -> "Report":
        archive, verdict = said["archive"], said["verdict"]
        if not isinstance(archive, str) or verdict not in _RESULTS:
            raise ValueError("it names no archive, or no verdict")
        residuals = [float(each["residual"]) for each in said["segments"]]
        total = int(said.get("total_segments", 0))
        noise = max(filter(math.isfinite, residuals), default=None)
        return cls(archive, verdict, len(residuals), total, noise)


@dataclass(frozen=True, slots=True)
class Claim:
    """Hold one side: its archive and what stamps show of it, or why it is no proof; and the judge's report on it."""

    name: str
    archive: Archive | None
    seen: Seen | None
    broken: str | None
    report: Report | None

    @classmethod
    def of(cls, name: str, path: Path, trust: Trust, reports: Sequence[Report]) -> "Claim":
        """Open an archive and read every byte of it; what breaks the format or is by no trusted key is no proof."""
        try:
            archive = open_archive(path, trusted=None)
        except FormatError as error:
            return cls(name, None, None, str(error), None)
        digest = archive.digest.hex() if archive.digest else ""
        report = next((each for each in reports if each.archive == digest), None)
        try:
            archive.require_signer(trust.keys)
            archive.seal()
            return cls(name, archive, Seen.of(archive, trust), None, report)
        except FormatError as error:
            archive.close()
            return cls(name, None, None, str(error), report)

    @property
    def verdict(self) -> str | None:
        """Return what replay came to, None if nothing was replayed."""
        return self.report.verdict if self.report else None

    @property
    def stands(self) -> bool:
        """Tell whether nothing shows the claim to be false."""
        return self.archive is not None and self.verdict != REJECTED

    @property
    def replays(self) -> bool:
        """Tell whether the judge accepted the log."""
        return self.verdict == ACCEPTED

    @property
    def grew(self) -> bool:
        """Tell whether stamps show the log growing."""
        return bool(self.seen and self.seen.timeline and self.seen.timeline.grew)

    def existed(self, state: int) -> Moment | None:
        """Return by when a claim to state `state` existed: the first stamp over the segment that closes with it."""
        return self.seen.timeline.existed(state) if self.seen and self.seen.timeline else None
