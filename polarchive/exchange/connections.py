"""Keep count of a server's connections, and cut those that waste its time."""

import socket
from contextlib import suppress
from threading import Lock
from time import monotonic


class Connections:
    """Hold what is open: nobody may make a server wait for longer than it said, however slowly they go on sending."""

    def __init__(self, limit: int) -> None:
        """Begin with none, of at most `limit`."""
        self._limit, self._closing = limit, False
        self._until: dict[socket.socket, float | None] = {}
        self._lock = Lock()

    def admit(self, connection: socket.socket, seconds: float) -> bool:
        """Take up a connection that has so many seconds to say who it is, if there is room for it."""
        with self._lock:
            if self._closing or len(self._until) >= self._limit:
                return False
            self._until[connection] = monotonic() + seconds
            return True

    def await_request(self, connection: socket.socket, seconds: float) -> bool:
        """Give a connection so many seconds for its next request; False if the server is closing."""
        with self._lock:
            self._until[connection] = monotonic() + seconds
            return not self._closing

    def answer(self, connection: socket.socket) -> None:
        """Note that a request is there, and that it is now the server that takes its time."""
        with self._lock:
            self._until[connection] = None

    def leave(self, connection: socket.socket) -> None:
        """Forget a connection, before it is closed."""
        with self._lock:
            self._until.pop(connection, None)

    def cut_late(self) -> None:
        """Cut every connection whose time is over."""
        self._cut(monotonic())

    def close(self) -> None:
        """Cut every connection that is waited for, and let those that are being answered end well."""
        with self._lock:
            self._closing = True
        self._cut(float("inf"))

    def _cut(self, now: float) -> None:
        with self._lock:
            for connection, until in self._until.items():
                if until is not None and until <= now:
                    with suppress(OSError):
                        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not TLS's: another thread is reading
