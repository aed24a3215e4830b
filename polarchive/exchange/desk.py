"""Decide what a judge is shown: only what its own signed, unexpired request about this run names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from threading import Lock
from time import time
from typing import Final, TypeAlias

from polarchive.errors import FormatError, OpeningError, PolError
from polarchive.exchange.releases import Admitted, Fact, Refused, Released, Releases
from polarchive.format import part, request
from polarchive.format.archive import Archive
from polarchive.format.commitment import Opening
from polarchive.format.merkle import Digest
from polarchive.format.note import Signer, VerifierKey
from polarchive.format.opening import spread
from polarchive.format.part import BatchPart, Part, StatePart
from polarchive.format.request import Request
from polarchive.format.tensors import Array

Content: TypeAlias = Mapping[str, Array]
Openings: TypeAlias = Callable[[int], Sequence[Opening]]
States: TypeAlias = Callable[[int], Content]
Tell: TypeAlias = Callable[[Fact], None]
MAX_REASON: Final = 200


class Refusal(Exception):
    """Refuse a request or a part, with a status of HTTP and a reason that the judge is told."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason.encode("unicode_escape").decode("ascii")[:MAX_REASON])
        self.status = status


@dataclass(frozen=True, slots=True)
class Shown:
    """Hold a part that may leave: its tensors, the size of its bytes, and the prover's signature."""

    content: Content
    size: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class _Asked:
    """Hold an admitted request, ready for looking things up in it."""

    digest: Digest
    request: Request
    segments: frozenset[int]
    states: frozenset[int]


class Desk:
    """Answer judges about one archive, one at a time, and put every answer on record before it is given.

    `openings(step)` returns the openings of a step's batches, `states(index)` a state that is not stored; both raise
    OpeningError for what they cannot show. `tell` hears of every fact that goes on record.
    """

    def __init__(
        self,
        archive: Archive,
        signer: Signer,
        openings: Openings,
        states: States,
        releases: Releases,
        *,
        tell: Tell = lambda fact: None,
        clock: Callable[[], float] = time,
    ) -> None:
        """Take the place of the prover; ValueError if `signer` is not the one of the run."""
        if signer.key != archive.header.key:
            raise ValueError(f"the run is {archive.header.key.name}'s, and the signer {signer.key.name}")
        self._archive, self._signer, self._releases = archive, signer, releases
        self._openings, self._states = openings, states
        self._tell, self._clock = tell, clock
        self._asked: dict[VerifierKey, _Asked] = {}
        self._last: tuple[int, Sequence[Opening]] = (-1, ())
        self._lock = Lock()

    def admit(self, document: bytes, judge: VerifierKey, address: str) -> Digest:
        """Take a judge's request and return its digest; Refusal if it is not one that may be answered.

        One request about one head: a judge who draws again until it likes the draw gets no answers. The dates may
        differ, so that a request can be renewed.
        """
        digest = request.digest(document)
        with self._lock, self._on_record(judge, address, digest, None):
            asked = self._opened(document, judge)
            head, substance = sha256(asked.head.text).digest(), asked.substance
            if self._releases.substance(judge, head) not in (None, substance):
                raise Refusal(HTTPStatus.CONFLICT, "another request about this head was admitted before")
            if not self._releases.was_admitted(digest):
                self._record(Admitted(self._now, judge, digest, head, substance))
            self._asked[judge] = _Asked(digest, asked, frozenset(asked.segments), frozenset(asked.states))
        return digest

    def show(self, digest: Digest, name: str, judge: VerifierKey, address: str) -> Shown:
        """Return the part of that name, signed and on record; Refusal if the judge's request does not name it."""
        with self._lock, self._on_record(judge, address, digest, name):
            asked = self._asked.get(judge)
            if asked is None or asked.digest != digest:
                raise Refusal(HTTPStatus.FORBIDDEN, "not an admitted request of this judge")
            self._require_fresh(asked.request)
            shown = _parsed(name)
            content = self._batch(shown, asked) if isinstance(shown, BatchPart) else self._state(shown, asked)
            found, size = part.digest(content), sum(map(len, part.chunks(content)))
            again = self._releases.was_released(judge, name)
            self._record(Released(self._now, judge, digest, name, found, size, again))
            return Shown(content, size, part.sign(shown, digest, found, self._signer))

    def turn_away(self, address: str, reason: str) -> None:
        """Put on record that somebody who is no judge was not let in."""
        with self._lock:
            self._record(Refused(self._now, None, address, None, None, str(Refusal(HTTPStatus.FORBIDDEN, reason))))

    @property
    def _now(self) -> int:
        return int(self._clock())

    def _record(self, fact: Fact) -> None:
        try:
            self._releases.add(fact)
        except OSError as error:
            raise PolError(f"the record of releases cannot be written, so nothing leaves: {error}") from error
        self._tell(fact)

    @contextmanager
    def _on_record(self, judge: VerifierKey, address: str, digest: Digest, name: str | None) -> Iterator[None]:
        try:
            yield
        except Refusal as refusal:
            self._record(Refused(self._now, judge, address, digest, name, str(refusal)))
            raise

    def _opened(self, document: bytes, judge: VerifierKey) -> Request:
        try:
            asked = request.open_request(document)
        except FormatError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        if asked.key != judge:
            raise Refusal(HTTPStatus.FORBIDDEN, f"a request by {asked.key.name}, sent by another")
        if asked.head != self._archive.heads[-1]:
            raise Refusal(HTTPStatus.FORBIDDEN, "not about this run and its last head")
        count = len(self._archive.segments)
        if any(index >= count for index in asked.segments[-1:]):
            raise Refusal(HTTPStatus.FORBIDDEN, f"about segments of a run that has {count}")
        if not set(asked.states) <= {end for index in asked.segments for end in (index, index + 1)}:
            raise Refusal(HTTPStatus.FORBIDDEN, "about states that are not those of its segments")
        self._require_fresh(asked)
        return asked

    def _require_fresh(self, asked: Request) -> None:
        if self._clock() >= asked.expires:
            raise Refusal(HTTPStatus.GONE, "the request has expired")

    def _batch(self, shown: BatchPart, asked: _Asked) -> Content:
        header = self._archive.header
        if shown.micro >= header.micro or self._segment_of(shown.step) not in asked.segments:
            raise Refusal(HTTPStatus.FORBIDDEN, f"{shown} is not in the segments of the request")
        if shown.step != self._last[0]:
            with _withheld(shown):
                self._last = shown.step, self._openings(shown.step)
        if len(self._last[1]) != header.micro:
            raise Refusal(HTTPStatus.NOT_FOUND, f"{shown} cannot be shown")
        return spread(self._last[1][shown.micro])

    def _segment_of(self, step: int) -> int | None:
        index = step // self._archive.header.every  # only the last segment may have fewer steps
        last = self._archive.segments[-1]
        return index if step < last.first + last.steps else None

    def _state(self, shown: StatePart, asked: _Asked) -> Content:
        if shown.index not in asked.states:
            raise Refusal(HTTPStatus.FORBIDDEN, f"{shown} is not among the states of the request")
        with _withheld(shown):
            return self._states(shown.index)


def _parsed(name: str) -> Part:
    try:
        return part.parse(name)
    except FormatError as error:
        raise Refusal(HTTPStatus.NOT_FOUND, str(error)) from None


@contextmanager
def _withheld(shown: Part) -> Iterator[None]:
    """Refuse what the prover's own code cannot show; a judge counts both as withheld."""
    try:
        yield
    except OpeningError as error:
        raise Refusal(HTTPStatus.NOT_FOUND, f"{shown} cannot be shown: {error}") from error
    except Exception as error:
        raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"{shown}: {type(error).__name__}: {error}") from error
