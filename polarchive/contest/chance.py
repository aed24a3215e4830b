"""Say how likely it is that a policy's challenge meets what is wrong with a spoof."""

from polarchive.format.archive import Archive
from polarchive.measures.odds import detection
from polarchive.verification.finding import Outcome
from polarchive.verification.selections import Sample, Selection, TopQ
from polarchive.verification.verdict import Verdict


def caught(archive: Archive, selection: Selection, drawn: Verdict, whole: Verdict) -> float:
    """Return the probability over all challenges that a selection finds something against a spoof.

    `drawn` is the verdict on the segments of one challenge, and `whole` that of the same policy on all of them.
    """
    if any(finding.outcome in (Outcome.FAILED, Outcome.UNKNOWN) for finding in drawn.findings):
        return 1.0  # what is wrong with the archive as a whole is met by every challenge
    bad = {each.index for each in whole.judged if each.outcome is not Outcome.PASSED}
    if not isinstance(selection, Sample | TopQ):
        return float(bool(drawn.reasons))
    always = _always(archive, selection)
    if bad & always:
        return 1.0
    others = len(archive.segments) - len(always)
    count = selection.count if isinstance(selection, Sample) else selection.drawn
    return detection(others, len(bad), min(count, others)) if bad else 0.0


def _always(archive: Archive, selection: Sample | TopQ) -> set[int]:
    """Return what a selection takes whatever the challenge."""
    if isinstance(selection, Sample):
        return set(Sample(0)(archive, bytes(32)))
    return set(TopQ(selection.count, 0, selection.epoch)(archive, bytes(32)))
