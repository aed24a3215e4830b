"""Speak HTTP with one judge: take its request, and give its parts one by one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Final

from polarchive.exchange.desk import Refusal
from polarchive.format import part
from polarchive.format.note import VerifierKey
from polarchive.format.request import MAX_REQUEST

if TYPE_CHECKING:
    from polarchive.exchange.server import Listener

REQUESTS: Final = "/v1/requests"
SIGNATURE: Final = "Polarchive-Signature"
_PART: Final = re.compile(f"{REQUESTS}/([0-9a-f]{{64}})/([0-9a-z-]{{1,64}})")
_LENGTH: Final = re.compile("0|[1-9][0-9]{0,8}")


class Handler(BaseHTTPRequestHandler):
    """Answer the requests that come over one authenticated connection, one after the other.

    The standard library bounds a request's first line to 64 KiB and its headers to a hundred; `Connections` bounds the
    time that it may take.
    """

    server: "Listener"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def setup(self) -> None:
        """Learn who it is that asks."""
        super().setup()
        self.connection.settimeout(self.server.bounds.idle)
        self._judge: VerifierKey = self.server.tls.peer(self.request)
        self._address = "{}:{}".format(*self.client_address)

    def handle_one_request(self) -> None:
        """Wait for the next request, for as long as a judge is given."""
        self.close_connection = True
        if self.server.connections.await_request(self.request, self.server.bounds.idle):
            super().handle_one_request()

    def do_POST(self) -> None:
        """Take a judge's request."""
        length = self.headers.get("Content-Length", "")
        if self.path != REQUESTS:
            return self.send_error(HTTPStatus.NOT_FOUND)
        if not _LENGTH.fullmatch(length):
            return self.send_error(HTTPStatus.LENGTH_REQUIRED)
        if int(length) > MAX_REQUEST:
            return self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        document = self.rfile.read(int(length))
        with self._answered():
            digest = self.server.desk.admit(document, self._judge, self._address)
            self._say(HTTPStatus.CREATED, digest.hex())

    def do_GET(self) -> None:
        """Give one part."""
        found = _PART.fullmatch(self.path)
        if found is None:
            return self.send_error(HTTPStatus.NOT_FOUND)
        with self._answered():
            shown = self.server.desk.show(bytes.fromhex(found[1]), found[2], self._judge, self._address)
            self._begin(HTTPStatus.OK, shown.size, {SIGNATURE: shown.signature.hex()})
            for chunk in part.chunks(shown.content):
                self.wfile.write(chunk)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request of this protocol; what else comes on its connection is not read."""
        self.close_connection = True
        self._say(code, HTTPStatus(code).phrase)

    def version_string(self) -> str:
        """Name the program, and not what it runs on."""
        return "polarchive"

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: what counts goes on record."""

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Answer if the judge does not ask too often and the server is not too busy; say so otherwise."""
        self.server.connections.answer(self.request)
        try:
            with self.server.admitting(self._judge):
                yield
        except Refusal as refusal:
            self._say(refusal.status, str(refusal))

    def _say(self, status: int, text: str) -> None:
        data = f"{text}\n".encode()
        self._begin(status, len(data), {})
        self.wfile.write(data)

    def _begin(self, status: int, size: int, more: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(size), **more}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
