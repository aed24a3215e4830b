"""Ask whether the run was finished."""

from collections.abc import Iterator

from polarchive.format.archive import Archive
from polarchive.verification.finding import Finding, Outcome, passed


def end(archive: Archive) -> Iterator[Finding]:
    """Report an archive without an end as unknown: what it would have ended in, nobody can say."""
    if archive.end is None:
        yield Finding("end", Outcome.UNKNOWN, "unfinished: the log has no end")
    else:
        yield passed("end", f"{archive.end.steps} steps over {archive.end.records} records")
