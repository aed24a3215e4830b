"""Ask a timestamp authority for a stamp: one request by RFC 3161 over HTTP, and the answer held to what was asked."""

import http.client
import ssl
from base64 import b64encode
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from hashlib import sha256
from http import HTTPStatus
from typing import Final
from urllib.error import URLError
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import Request

from cryptography.x509 import Certificate

from polarchive.errors import FormatError, PolError, Reason, StampError
from polarchive.exchange.timed import Deadline
from polarchive.format import stamp
from polarchive.format.limits import MAX_STAMP
from polarchive.format.stamp import Stamp

QUERY: Final = "application/timestamp-query"
REPLY: Final = "application/timestamp-reply"


class Failure(StrEnum):
    """Enumerate why there is no stamp, other than what is wrong with one that came, which is a `Reason`."""

    UNREACHABLE = "unreachable"  # nobody answers
    TLS = "tls"  # who answers cannot show that it is who was asked
    SLOW = "slow"  # the answer was not whole in time
    HTTP = "http"  # what came is not HTTP, or not whole
    REDIRECT = "redirect"  # another place is named
    STATUS = "status"  # any other status than 200
    CONTENT_TYPE = "content-type"  # a page, say
    TOO_LARGE = "too-large"  # more bytes than a stamp has
    DISK = "disk"  # it came, and could not be kept
    UNEXPECTED = "unexpected"  # an error of this program


class AuthorityError(PolError):
    """Report that an authority gave no answer; `reason` is the code."""

    def __init__(self, reason: Failure, url: str, message: str) -> None:
        super().__init__(f"{shown(url)}: {message} [{reason.value}]")
        self.reason = reason


def reason_of(error: Exception) -> str:
    """Return the code of whatever kept a stamp from coming or from being kept."""
    if isinstance(error, AuthorityError | FormatError):
        return error.reason.value
    return Failure.DISK if isinstance(error, OSError) else Failure.UNEXPECTED


def require_url(url: str) -> None:
    """Raise PolError unless `url` is one of http or https."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not url.isascii() or not url.isprintable() or " " in url:
        raise PolError(f"{shown(url)}: not the URL of a timestamp authority, https://HOST/PATH or http://HOST/PATH")


def shown(url: str) -> str:
    """Return a URL without what may be secret in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a malformed URL"
    public = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
    return ascii(public.geturl())[1:-1]


def ask(
    url: str, message: bytes, *, timeout: float, roots: Sequence[Certificate] = (), policies: Collection[str] = ()
) -> Stamp:
    """Return a stamp over `message` by the authority at `url`, checked as far as `roots` and `policies` are given.

    AuthorityError if it does not answer within `timeout` seconds, StampError if what it answers is not to be kept.
    """
    asked, nonce = stamp.request(message)
    found = stamp.read(post(url, asked, timeout), shown(url))
    if roots:
        stamp.check(found, sha256(message).digest(), roots, policies=policies, nonce=nonce, place=shown(url))
        return found
    stamp.require_over(found, sha256(message).digest(), shown(url))
    if found.nonce != nonce:
        raise StampError(Reason.STAMP_NONCE, shown(url), "the answer to another request")
    if policies and found.policy not in policies:
        raise StampError(Reason.STAMP_POLICY, shown(url), f"policy {found.policy} is none that is accepted")
    return found


def post(url: str, body: bytes, timeout: float) -> bytes:
    """Return what the authority at `url` answers; AuthorityError unless all of it comes within `timeout` seconds."""
    with Deadline(max(timeout, 0.001)) as deadline, _failures(url, deadline):
        with deadline.opener().open(_request(url, body), timeout=deadline.seconds) as response:
            deadline.require()  # for what was cut off may look whole
            _require_reply(url, response)
            data: bytes = response.read(MAX_STAMP + 1)
        if len(data) > MAX_STAMP:
            raise AuthorityError(Failure.TOO_LARGE, url, f"more than {MAX_STAMP} bytes")
        deadline.require()
        if response.length:
            raise http.client.IncompleteRead(data, response.length)
        return data


def _request(url: str, body: bytes) -> Request:
    parts = urlsplit(url)
    headers = {"Content-Type": QUERY, "Accept": REPLY, "User-Agent": "polarchive"}
    if parts.username is not None:
        headers["Authorization"] = _basic(parts)
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return Request(parts.geturl(), body, headers, method="POST")


def _basic(parts: SplitResult) -> str:
    said = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(said.encode()).decode()


def _require_reply(url: str, response: http.client.HTTPResponse) -> None:
    """Raise AuthorityError unless an answer begins as one with a stamp does."""
    status, kind = response.status, response.headers.get_content_type()
    if 300 <= status < 400:
        place = shown(response.headers.get("Location", "nowhere")[:200])
        raise AuthorityError(Failure.REDIRECT, url, f"status {status}; name {place} instead, if you trust it")
    if status != HTTPStatus.OK:
        raise AuthorityError(Failure.STATUS, url, f"status {status}: {ascii(response.reason)[1:-1][:200]}")
    if kind != REPLY:
        raise AuthorityError(Failure.CONTENT_TYPE, url, f"an answer of type {ascii(kind)[1:-1][:100]}, not {REPLY}")
    if response.length is not None and response.length > MAX_STAMP:
        raise AuthorityError(Failure.TOO_LARGE, url, f"{response.length} bytes, at most {MAX_STAMP} are taken")


@contextmanager
def _failures(url: str, deadline: Deadline) -> Iterator[None]:
    """Turn what a connection meets into what it means."""
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
        if deadline.over or isinstance(cause, TimeoutError):
            raise AuthorityError(Failure.SLOW, url, f"no whole answer in {deadline.seconds:g} seconds") from None
        said = ascii(str(cause) or type(cause).__name__)[1:-1][:200]
        raise AuthorityError(_failure(cause), url, said) from None


def _failure(cause: Exception) -> Failure:
    if isinstance(cause, ssl.SSLError):
        return Failure.TLS
    if isinstance(cause, OSError):  # the end of a connection before an answer among them
        return Failure.UNREACHABLE
    return Failure.HTTP
