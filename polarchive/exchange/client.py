"""Get from a prover's server what a request asks for, once, whatever happens on the way."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from time import monotonic, time
from typing import Final

from polarchive.errors import OpeningError, PolError, SignatureError, Unreachable
from polarchive.exchange.kept import Kept
from polarchive.exchange.tls import Tls
from polarchive.exchange.wire import Lost, Wire
from polarchive.format import part, request
from polarchive.format.commitment import Opening
from polarchive.format.note import Signer, VerifierKey
from polarchive.format.part import MAX_PART, BatchPart, Part, StatePart
from polarchive.format.tensors import Array

PATIENCE: Final = 300.0
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0
GRACE: Final = 5.0


class Channel:
    """Ask the server at `url`, which holds the key `prover`, for the parts that a request names.

    Every part is checked against the prover's signature and kept in `folder`; what lies there is never asked for
    again. `patience` is for how many seconds one part is tried for, never beyond the time when the request expires.
    """

    def __init__(
        self,
        url: str,
        signer: Signer,
        prover: VerifierKey,
        document: bytes,
        folder: Path,
        *,
        limit: int = MAX_PART,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time,
    ) -> None:
        """Open the folder; nobody is asked for anything yet."""
        self._expires = request.open_request(document).expires
        self._kept = Kept(folder, document, prover)
        self._wire = Wire(url, Tls(signer, [prover], server=False))
        self._document, self._url = document, url
        self._limit, self._patience, self._clock = limit, patience, clock
        self._ahead = ThreadPoolExecutor(1, "polarchive prefetch")
        self._lock, self._closing = Lock(), Event()

    def batch(self, step: int, micro: int) -> Opening:
        """Return one batch; OpeningError if the prover does not show it, or shows what is none; Unreachable."""
        shown = BatchPart(step, micro)
        self._fetch(shown)
        with self._kept.open(shown) as blob, part.blamed(shown):
            return part.read_opening(blob)

    def state(self, index: int) -> dict[str, Array]:
        """Return one state; OpeningError if the prover does not show it, or shows what is none; Unreachable."""
        shown = StatePart(index)
        self._fetch(shown)
        with self._kept.open(shown) as blob, part.blamed(shown):
            return part.read_state(blob)

    def prefetch(self, parts: Iterable[Part]) -> None:
        """Fetch parts behind the caller's back, after those that are being fetched already.

        A judge names the next segment's when it begins to replay one: more ahead would be shown for nothing if the
        verdict fell earlier.
        """
        self._ahead.submit(self._fetch_all, tuple(parts))

    def close(self) -> None:
        """Close the connection, soon: what is on its way is taken in, or the prover would have to show it again."""
        self._closing.set()
        with self._wire.within(GRACE):
            self._ahead.shutdown(cancel_futures=True)
        self._wire.close()

    def __enter__(self) -> "Channel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fetch_all(self, parts: Iterable[Part]) -> None:
        with suppress(PolError, OSError):  # whoever needs the part meets the same
            for shown in parts:
                if not self._closing.is_set():
                    self._fetch(shown)

    def _fetch(self, shown: Part) -> None:
        with self._lock:
            if not self._kept.has(shown):
                self._try(shown)

    def _try(self, shown: Part) -> None:
        """Ask until there is an answer, with longer and longer pauses."""
        pause, until = FIRST_PAUSE, monotonic() + self._patience
        while True:
            left = min(until - monotonic(), self._expires - self._clock())
            try:
                return self._ask(shown, left)
            except (OpeningError, SignatureError) as error:
                self._wire.close()
                raise OpeningError(f"{_place(shown)}{error}") from None
            except Lost as lost:
                self._wire.close()
                if lost.final or left <= pause or self._closing.wait(pause):
                    raise Unreachable(f"{shown}: no answer from {self._url}: {lost}") from None
            pause = min(2 * pause, LONGEST_PAUSE)

    def _ask(self, shown: Part, left: float) -> None:
        if left <= 0:
            raise Lost("the time for it is over", final=True)
        with self._wire.within(left):
            if not self._wire.is_open:
                self._wire.open(self._document)
            with self._wire.get(self._kept.digest, shown.name, self._limit) as (signature, chunks):
                self._kept.keep(shown, signature, chunks)


def _place(shown: Part) -> str:
    """Name a part, but for its step: whoever takes that knows it."""
    if isinstance(shown, StatePart):
        return f"{shown}: "
    return f"batch {shown.micro}: " if shown.micro else ""
