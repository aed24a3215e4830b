"""Decide which of an archive's stamps count: by whom they are, over what, and whether they still hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Final

from polarchive.errors import Reason, StampError
from polarchive.format import stamp
from polarchive.format.attached import Attached, Stamped
from polarchive.format.certificate import signer_of
from polarchive.format.merkle import Digest
from polarchive.trust.trust import Authority, Trust

_STRANGE: Final = (Reason.STAMP_ROOT, "by no authority that you believe")


@dataclass(frozen=True, slots=True)
class Dated:
    """Hold a stamp that counts: the head of tree size `size` existed at some time from `earliest` to `latest`.

    `expires` is when the authority's certificate ends; a renewal made by then keeps the stamp as good as it was.
    """

    size: int
    number: int
    time: datetime
    accuracy: timedelta
    authority: str
    digest: Digest
    expires: datetime
    renewal: bool

    @property
    def earliest(self) -> datetime:
        """Return the time before which the stamp was not made."""
        return self.time - self.accuracy

    @property
    def latest(self) -> datetime:
        """Return the time by which the stamp was made, and so by which the head existed."""
        return self.time + self.accuracy


@dataclass(frozen=True, slots=True)
class Refused:
    """Say why a stamp does not count."""

    name: str
    reason: Reason
    message: str


def judged(attached: Attached, trust: Trust, now: datetime | None = None) -> tuple[list[Dated], list[Refused]]:
    """Return the stamps that count, in order of size and number, and those that do not."""
    now = now or datetime.now(UTC)
    dated: list[Dated] = []
    refused: list[Refused] = []
    for _, group in groupby(attached.stamps, lambda each: each.size):
        found = [_dated(each, trust) for each in group]
        sound = [each for each in found if isinstance(each, Dated)]
        refused += [each for each in found if isinstance(each, Refused)]
        lost = list(_lost(sound, now)) if trust.renewed else []
        dated += [each for each in sound if each not in lost]
        refused += [_expired(each) for each in lost]
    return dated, refused


def unrenewed(dated: Sequence[Dated], now: datetime | None = None) -> list[Dated]:
    """Return the stamps whose authority's certificate has ended, and that no renewal covers that was made in time."""
    now = now or datetime.now(UTC)
    return [each for _, group in groupby(dated, lambda each: each.size) for each in _lost(list(group), now)]


def _dated(stamped: Stamped, trust: Trust) -> Dated | Refused:
    """Return what a stamp comes to under the first authority that vouches for it, or why none does."""
    why = Refused(stamped.name, *_STRANGE)
    for authority in trust.authorities:
        try:
            stamp.check(stamped.stamp, stamped.over, authority.roots, policies=authority.policies, place=stamped.name)
        except StampError as error:
            if error.reason is not Reason.STAMP_ROOT:
                why = Refused(stamped.name, error.reason, f"{authority.name}: {error}")
        else:
            return _within(_as_dated(stamped, authority), trust)
    return why


def _as_dated(stamped: Stamped, authority: Authority) -> Dated:
    said = stamped.stamp
    return Dated(
        size=stamped.size,
        number=stamped.number,
        time=said.time,
        accuracy=authority.accuracy if said.accuracy is None else said.accuracy,
        authority=authority.name,
        digest=said.digest,
        expires=signer_of(said.raw).not_valid_after_utc,
        renewal=stamped.renewal,
    )


def _within(dated: Dated, trust: Trust) -> Dated | Refused:
    limit = trust.limits.accuracy
    if limit is None or dated.accuracy <= limit:
        return dated
    name = f"stamp {dated.number} over the head of {dated.size}"
    return Refused(name, Reason.LIMIT, f"accurate to {dated.accuracy}, and {limit} is asked for")


def _lost(dated: Sequence[Dated], now: datetime) -> Iterator[Dated]:
    """Yield the stamps over one head that have expired with nothing to show that they are older than that.

    A renewal counts while it holds itself, so the last one decides.
    """
    holds: list[Dated] = []
    for each in sorted(dated, key=lambda each: each.number, reverse=True):
        if now <= each.expires or any(other.renewal and other.latest <= each.expires for other in holds):
            holds.append(each)
        else:
            yield each


def _expired(each: Dated) -> Refused:
    name = f"stamp {each.number} over the head of {each.size}"
    return Refused(
        name, Reason.STAMP_EXPIRED, f"{each.authority}'s certificate ended {each.expires}, and no renewal covers it"
    )
