"""Ask a prover's server, over one connection that both sides have authenticated.

What is refused here as an opening comes from the prover itself. All that somebody on the way can do is to keep the two
apart: the connection is lost, which says nothing about the prover.
"""

import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from threading import Timer
from typing import Final
from urllib.parse import urlsplit

from polarchive.errors import OpeningError, PolError, SignatureError
from polarchive.exchange.handler import REQUESTS, SIGNATURE
from polarchive.exchange.tls import Tls
from polarchive.format.limits import COPY
from polarchive.format.merkle import Digest

TIMEOUT: Final = 30.0
MAX_REASON: Final = 300
_HEX: Final = re.compile("[0-9a-f]{128}")
_LATER: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class Lost(PolError):
    """Report that there was no answer; `final` if there will be none, however often one asks."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Wire:
    """Hold a connection to the server at `url`, whose key `tls` expects."""

    def __init__(self, url: str, tls: Tls) -> None:
        """Connect to nobody yet; PolError if `url` is not https://HOST:PORT."""
        self._http = _Connection(*_place(url), tls)

    @property
    def is_open(self) -> bool:
        """Tell whether there is a connection."""
        return self._http.sock is not None

    def open(self, document: bytes) -> None:
        """Connect and hand in a request; OpeningError if the prover refuses it, Lost if nobody answers."""
        with _network():
            self._http.connect()
        with self._answer("POST", REQUESTS, document) as response, _network():
            response.read(MAX_REASON)

    @contextmanager
    def get(self, request: Digest, name: str, limit: int) -> Iterator[tuple[bytes, Iterator[bytes]]]:
        """Ask for a part and give its signature and bytes.

        OpeningError if they are refused, not signed, cut short by the prover, or more than `limit`; Lost if nobody
        answers.
        """
        with self._answer("GET", f"{REQUESTS}/{request.hex()}/{name}") as response:
            signature = response.getheader(SIGNATURE, "")
            if not _HEX.fullmatch(signature):
                raise OpeningError("the answer is not signed")
            if response.chunked or response.length is None or response.length > limit:
                raise OpeningError(f"the answer has {response.length} bytes, at most {limit} are taken")
            yield bytes.fromhex(signature), _chunks(response, response.length)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Cut the connection if the block takes longer: a server may say a byte a minute, and never be silent."""
        timer = Timer(seconds, self._cut)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _cut(self) -> None:
        if self._http.line:
            with suppress(OSError):
                socket.socket.shutdown(self._http.line, socket.SHUT_RDWR)  # not TLS's: another thread is reading

    @contextmanager
    def _answer(self, method: str, path: str, body: bytes | None = None) -> Iterator[http.client.HTTPResponse]:
        with _network():
            self._http.request(method, path, body)
            response = self._http.getresponse()
        with response:
            _require_success(response)
            yield response


class _Connection(http.client.HTTPConnection):
    """Connect by TLS, and tell an end that the other side signed from one that anybody could have made."""

    auto_open = 0

    def __init__(self, host: str, port: int, tls: Tls) -> None:
        super().__init__(host, port, timeout=TIMEOUT)
        self._tls = tls
        self.line: socket.socket | None = None  # which http.client forgets before an answer that closes is read

    def connect(self) -> None:
        """Connect and authenticate both sides."""
        raw = socket.create_connection((self.host, self.port), TIMEOUT)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with raw:  # nothing is left of it when TLS has taken over
            self.sock = self.line = secure = self._tls.context().wrap_socket(raw, suppress_ragged_eofs=False)
        self._tls.peer(secure)


@contextmanager
def _network() -> Iterator[None]:
    """Turn what a connection meets into what it means."""
    try:
        yield
    except (ssl.SSLCertVerificationError, SignatureError) as error:
        raise Lost(f"somebody else answers: {error}", final=True) from None
    except ssl.SSLError as error:
        reason = error.reason or ""
        message = "it does not know your key, which its --judge would name" if "UNKNOWN_CA" in reason else str(error)
        raise Lost(message, final="ALERT" in reason) from None
    except (OSError, http.client.NotConnected) as error:
        raise Lost(str(error) or type(error).__name__) from None
    except http.client.HTTPException as error:
        raise OpeningError(f"the answer is not HTTP: {type(error).__name__}") from None


def _place(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise PolError(f"{url}: not of the form https://HOST:PORT") from None
    if not host or not port or (parts.scheme, parts.path.strip("/"), parts.query) != ("https", "", ""):
        raise PolError(f"{url}: not of the form https://HOST:PORT")
    return host, port


def _require_success(response: http.client.HTTPResponse) -> None:
    if response.status in (HTTPStatus.OK, HTTPStatus.CREATED):
        return
    with _network():
        reason = response.read(MAX_REASON).decode("ascii", "backslashreplace").strip()
    text = f"{response.status} {reason if reason.isprintable() else ascii(reason)}"
    if response.status in _LATER:
        raise Lost(text)
    raise OpeningError(f"the prover refuses: {text}")


def _chunks(response: http.client.HTTPResponse, size: int) -> Iterator[bytes]:
    while size:
        with _network():
            chunk = response.read(min(size, COPY))
        if not chunk:
            raise OpeningError("the answer is truncated")
        size -= len(chunk)
        yield chunk
