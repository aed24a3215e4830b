"""Analyse which segments stand for all of them (Fang et al., Definition 4 and Lemma 3), once all are known.

Definition 4 speaks of which segments are invalid. A judge learns that by replaying them all, and then needs no subset;
before that, to know a representative one is to know where a forgery is. So nothing here selects: it tells afterwards
how often a selection would have led to the verdict of a full replay.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from polarchive.errors import PolError
from polarchive.format.archive import Archive
from polarchive.measures.laws import clopper_pearson
from polarchive.verification.finding import Outcome
from polarchive.verification.selections import Selection
from polarchive.verification.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Rate:
    """Hold how often something was so, and the interval that holds its probability with 95 % confidence."""

    found: int
    trials: int
    low: float
    high: float

    @classmethod
    def of(cls, found: int, trials: int) -> "Rate":
        """Return the rate with its exact interval; PolError if there were no trials."""
        return cls(found, trials, *clopper_pearson(found, trials))

    @property
    def share(self) -> float:
        """Return the rate as a number from 0 to 1."""
        return self.found / self.trials


def invalid_in(verdict: Verdict) -> frozenset[int]:
    """Return the segments whose replay failed; PolError unless every segment was replayed and came to something."""
    replayed = {judged.index for judged in verdict.judged if judged.outcome is not Outcome.UNKNOWN}
    if len(replayed) < verdict.segments:
        raise PolError(
            f"{len(replayed)} of {verdict.segments} segments are known: a full replay tells what stands for all"
        )
    return frozenset(judged.index for judged in verdict.judged if judged.outcome is Outcome.FAILED)


def is_representative(selected: Collection[int], invalid: Collection[int]) -> bool:
    """Tell whether a subset has an invalid segment if there is any (Definition 4).

    If so, replaying it leads to the verdict that replaying everything does (Lemma 3), and else it does not.
    """
    return not invalid or not set(invalid).isdisjoint(selected)


def smallest(invalid: Collection[int]) -> frozenset[int]:
    """Return a smallest representative subset: nothing of a valid run, of an invalid one the first invalid segment.

    So Assumption 2 holds of every proof of more than one segment, and does not help to find the subset.
    """
    return frozenset(sorted(invalid)[:1])


def rate(selection: Selection, archive: Archive, invalid: Collection[int], challenges: Iterable[bytes]) -> Rate:
    """Return over how many challenges a selection is representative of an archive whose invalid segments are known."""
    hits = [is_representative(selection(archive, challenge), invalid) for challenge in challenges]
    return Rate.of(sum(hits), len(hits))
