"""Open URLs within a total time, by proxy where the environment names one."""

import http.client
import socket
from contextlib import suppress
from functools import partial
from threading import Lock, Timer
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, UnknownHandler


class Deadline:
    """Cut a connection when its time is over: a server may say a byte a second, and never be silent."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.over = seconds, False
        self._line: socket.socket | None = None
        self._lock = Lock()
        self._timer = Timer(seconds, self._cut)
        self._timer.daemon = True

    def opener(self) -> OpenerDirector:
        """Return what opens a URL, through a proxy where the environment names one, and follows it nowhere else."""
        opener = OpenerDirector()
        opener.addheaders = []
        for handler in (ProxyHandler(), _Http(self), _Https(self), UnknownHandler()):
            opener.add_handler(handler)
        return opener

    def connect(self, *place: Any) -> socket.socket:
        """Connect, and keep a hold on the connection that TLS does not take away."""
        made = socket.create_connection(*place)
        with self._lock:
            self._line = made.dup()
        if self.over:
            self._cut()
        return made

    def require(self) -> None:
        """Raise TimeoutError if the time is over."""
        if self.over:
            raise TimeoutError

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._line:
                self._line.close()

    def _cut(self) -> None:
        with self._lock, suppress(OSError):
            self.over = True
            if self._line:
                self._line.shutdown(socket.SHUT_RDWR)


class _Http(HTTPHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._made = partial(_connection, http.client.HTTPConnection, deadline)

    def http_open(self, request: Request) -> http.client.HTTPResponse:
        return self.do_open(self._made, request)


class _Https(HTTPSHandler):
    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._made = partial(_connection, http.client.HTTPSConnection, deadline)

    def https_open(self, request: Request) -> http.client.HTTPResponse:
        return self.do_open(self._made, request)


def _connection(kind: Any, deadline: Deadline, host: str, **more: Any) -> Any:
    made = kind(host, **more)
    made._create_connection = deadline.connect  # the only way to a connection before TLS has begun
    return made
