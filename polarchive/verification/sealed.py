"""Tell of an archive whose seal alone was checked, without torch: nothing was replayed, so nothing is accepted."""

from collections.abc import Iterator
from typing import Any

from polarchive.format.archive import Archive
from polarchive.trust import telling
from polarchive.trust.demands import Seen
from polarchive.verification.checks.demands import demands
from polarchive.verification.finding import Outcome
from polarchive.verification.plain import VERSION, plain


def text(archive: Archive, seen: Seen) -> Iterator[str]:
    """Yield the lines of a report."""
    cover = f"{len(archive.heads)} heads signed by {archive.header.key.name} cover every byte"
    yield f"the seal holds: {cover} of {len(archive.segments)} segments"
    yield from telling.lines(seen)
    yield from (f"REJECTED: {reason}" for reason in seen.unmet)
    if not seen.unmet:
        yield "no verdict: nothing was replayed (--trainer FILE.py:function does that)"


def as_json(archive: Archive, seen: Seen) -> dict[str, Any]:
    """Return the same as plain JSON values, in the shape of a report (SPEC.md, "Reports")."""
    findings = list(demands(seen))
    return {
        "version": VERSION,
        "kind": "seal",
        "verdict": "rejected" if seen.unmet else None,
        "reasons": [plain(each) for each in findings if each.outcome is Outcome.FAILED],
        "findings": [plain(each) for each in findings],
        "segments": [],
        "total_segments": len(archive.segments),
        "archive": archive.digest.hex() if archive.digest else None,
        "run": archive.header.run.hex(),
        "signer": str(archive.header.key),
        "heads": len(archive.heads),
        "times": telling.as_json(seen),
    }
