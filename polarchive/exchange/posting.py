"""Post a few bytes to an HTTP service that anyone may ask, within a time and up to a size."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request

from polarchive.errors import PolError, Unreachable
from polarchive.exchange.timed import Deadline

MAX_REASON: Final = 300
HEADERS: Final = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "polarchive"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what a service answered; `kind` is its content type, `str()` one line for people."""

    status: int
    kind: str
    body: bytes

    def __str__(self) -> str:
        reason = self.body[:MAX_REASON].decode("ascii", "backslashreplace").strip()
        return f"{self.status} {reason if reason.isprintable() else ascii(reason)}".strip()


def post(url: str, body: bytes, timeout: float, limit: int) -> Answer:
    """Return what the service at `url` answers, whatever its status.

    Unreachable unless all of it comes within `timeout` seconds, PolError if it is more than `limit` bytes. Redirections
    are not followed: a service that has moved is a matter for whoever named it.
    """
    request = Request(url, body, HEADERS, method="POST")
    with Deadline(max(timeout, 0.001)) as deadline, _network(url, deadline):
        with deadline.opener().open(request, timeout=deadline.seconds) as response:
            data: bytes = response.read(limit + 1)
        deadline.require()  # what was cut off may look whole
        if len(data) <= limit and response.length:
            raise http.client.IncompleteRead(data, response.length)
    if len(data) > limit:
        raise PolError(f"{url}: an answer of more than {limit} bytes")
    return Answer(response.status, response.headers.get("Content-Type", ""), data)


def require_url(url: str) -> None:
    """Raise PolError unless `url` is one of http or https, to whose path something can be added."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    plain = url.isascii() and url.isprintable() and not set(url) & set(" ?#@")
    if not host or not plain or parts.scheme not in ("http", "https"):
        raise PolError(f"{url!a}: not of the form https://HOST/PATH")


@contextmanager
def _network(url: str, deadline: Deadline) -> Iterator[None]:
    """Turn what a connection meets into what it means."""
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
        late = deadline.over or isinstance(cause, TimeoutError)
        why = f"none in {deadline.seconds:.3g} seconds" if late else str(cause) or type(cause).__name__
        raise Unreachable(f"{url}: no answer: {ascii(why)[1:-1][:MAX_REASON]}") from None
