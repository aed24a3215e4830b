"""Be a prover's server that holds the right key and breaks the protocol."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from polarchive.exchange.tls import Tls
from tests.exchange.scene import JUDGE
from tests.simulator import PROVER

Reply = Callable[[ssl.SSLSocket, bytes], bool]
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def lying(reply: Reply) -> Iterator[str]:
    """Serve at the yielded address: take any request, and let `reply` answer the head of whatever is asked for next.

    It tells whether the connection should end well, with TLS's own word of goodbye.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_serve, args=(listener, reply))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listener: socket.socket, reply: Reply) -> None:
    tls = Tls(PROVER, [JUDGE.key], server=True)
    while True:
        try:
            raw, _ = listener.accept()
        except OSError:
            return
        raw.settimeout(20)
        with suppress(OSError), tls.context().wrap_socket(raw, server_side=True) as connection:
            _take(connection)
            connection.sendall(CREATED)
            if reply(connection, _head(connection)):
                connection.unwrap()


def _head(connection: ssl.SSLSocket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += connection.recv(1)
    return data


def _take(connection: ssl.SSLSocket) -> None:
    head = _head(connection)
    left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while left:
        left -= len(connection.recv(left))
