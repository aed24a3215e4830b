"""Serve one archive's data to its judges, over TLS 1.3 with pinned keys.

The standard library's HTTP server and no framework: who asks is known from the certificate of the connection, which
frameworks keep from what they call.
"""

import socket
import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import Any, Final

from polarchive.errors import SignatureError
from polarchive.exchange.connections import Connections
from polarchive.exchange.desk import Desk, Refusal
from polarchive.exchange.handler import Handler
from polarchive.exchange.rates import Rate
from polarchive.exchange.tls import Tls
from polarchive.format.note import Signer, VerifierKey

POLL: Final = 0.05


@dataclass(frozen=True, slots=True)
class Bounds:
    """Say what a server puts up with.

    At most `connections` at once and `answers` being made; per judge `rate` requests a second and `burst` at once;
    `handshake` seconds until a connection is authenticated, `idle` until it has sent its next request.
    """

    connections: int = 64
    answers: int = 16
    rate: float = 500.0
    burst: float = 1000.0
    handshake: float = 10.0
    idle: float = 60.0


class Listener(ThreadingMixIn, TCPServer):
    """Accept connections, each in a thread of its own, and let in whom TLS has authenticated."""

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], desk: Desk, tls: Tls, judges: Collection[VerifierKey], bounds: Bounds):
        """Listen at `address`; OSError if that cannot be."""
        self.desk, self.tls, self.bounds = desk, tls, bounds
        self.connections = Connections(bounds.connections)
        self._rates = {judge: Rate(bounds.rate, bounds.burst) for judge in judges}
        self._strangers = Rate(1.0, 60.0)
        self._answers = BoundedSemaphore(bounds.answers)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        """Accept a connection; the handshake is left to its thread, so that nobody waits for a stranger's."""
        connection, address = super().get_request()
        return self.tls.context().wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for a connection, or close it at once where there are too many."""
        if self.connections.admit(request, self.bounds.handshake):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Authenticate a connection and answer what comes over it; a lost one ends quietly."""
        request.settimeout(self.bounds.handshake)
        with suppress(OSError):
            try:
                request.do_handshake()
                self.tls.peer(request)
            except (ssl.SSLError, SignatureError) as error:
                self._turn_away(client_address, str(error))
            else:
                super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.connections.leave(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut who is late, as often as `POLL` says."""
        self.connections.cut_late()

    @contextmanager
    def admitting(self, judge: VerifierKey) -> Iterator[None]:
        """Hold one of the places for requests that are being answered; Refusal if the judge should come back later."""
        if not self._rates[judge].allows():
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many requests")
        if not self._answers.acquire(blocking=False):
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many at once")
        try:
            yield
        finally:
            self._answers.release()

    def _turn_away(self, address: Any, reason: str) -> None:
        if self._strangers.allows():  # else anyone could fill the disk
            self.desk.turn_away("{}:{}".format(*address), reason)


class Server:
    """Serve from the moment it is entered; when it is left, requests that are being answered are finished first."""

    def __init__(
        self,
        host: str,
        port: int,
        desk: Desk,
        signer: Signer,
        judges: Collection[VerifierKey],
        bounds: Bounds = Bounds(),
    ) -> None:
        """Listen at `host` and `port` (0: any that is free) for whoever holds one of the keys of `judges`."""
        tls = Tls(signer, judges, server=True)
        self._listener = Listener((host, port), desk, tls, judges, bounds)
        self._thread = Thread(target=self._listener.serve_forever, args=(POLL,), name="polarchive server")

    @property
    def url(self) -> str:
        """Return where a judge finds it."""
        host, port = self._listener.server_address[:2]
        return f"https://[{host!s}]:{port}" if ":" in str(host) else f"https://{host!s}:{port}"

    def close(self) -> None:
        """Accept nothing more, finish what is being answered, and close every connection."""
        self._listener.shutdown()
        self._listener.connections.close()
        self._listener.server_close()
        self._thread.join()

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
