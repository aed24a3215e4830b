"""Ask whether Adam could have made every recorded change: of all stored states, without a replay."""

from collections.abc import Iterator
from typing import Final

from polarchive.format.archive import Archive
from polarchive.measures.detectors import Span, spans
from polarchive.verification.finding import Finding, Outcome, passed

CHECK: Final = "reachable"


def reachable(archive: Archive) -> Iterator[Finding]:
    """Report every segment in which a weight changed more than Adam's bound allows at the recorded rates.

    Only for a judge whose trainer takes one step of torch's Adam or AdamW for each recorded one, and changes weights in
    no other way: from the names in a state an optimizer without that bound (RAdam, LAMB) looks the same. Segments that
    are not replayed are judged too, which is what it is for; what was possible may still be forged.
    """
    used = [span for span in spans(archive) if span.reach is not None]
    wrong = [_beyond(span) for span in used if not (span.reach or 0.0) <= 1]
    yield from wrong
    if not used:
        yield Finding(CHECK, Outcome.UNKNOWN, "no weight has moments of Adam that began at zero")
    elif not wrong:
        most = max(span.reach or 0.0 for span in used)
        yield passed(CHECK, f"no weight used more than {most:.2g} of what Adam can do")


def _beyond(span: Span) -> Finding:
    last = span.segments[-1]
    where = "" if span.segments[0] == last else f" by segment {last}"
    message = f"{span.tensor} changed {span.reach:.3g} times as far as Adam can go{where}"
    return Finding(CHECK, Outcome.FAILED, message, span.segments[0], None, span.tensor, span.reach, 1.0)
