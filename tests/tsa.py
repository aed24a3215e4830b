"""Be timestamp authorities on this machine: a real one, ones with a clock that can be set, and hostile ones."""

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.message import Message
from hashlib import sha256
from http.client import parse_headers
from pathlib import Path
from threading import Thread
from typing import Any, Final

from asn1crypto import tsp
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from polarchive.exchange.stamps import StampClient
from tests.authority import EPOCH, Authority, hours, key_of
from tools import authority as openssl

os.environ.setdefault("no_proxy", "127.0.0.1")  # and so nobody else is asked

AUTHORITY: Final = Authority()
ROOT: Final = AUTHORITY.root.public_bytes(serialization.Encoding.PEM)
REPLY: Final = "application/timestamp-reply"
POLICY: Final = AUTHORITY.policy


@dataclass(frozen=True)
class Asked:
    """Hold a request as it came."""

    line: str
    headers: Message
    body: bytes

    @property
    def imprint(self) -> bytes:
        found: bytes = tsp.TimeStampReq.load(self.body)["message_imprint"]["hashed_message"].native
        return found

    @property
    def nonce(self) -> int:
        found: int = tsp.TimeStampReq.load(self.body)["nonce"].native
        return found


Talk = Callable[[socket.socket, Asked], object]


@contextmanager
def accepting(handle: Callable[[socket.socket], object]) -> Iterator[int]:
    """Let `handle` deal with whoever connects to the port that is given."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=_accept, args=(server, handle), daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, handle: Callable[[socket.socket], object]) -> None:
    with suppress(OSError):
        while True:
            Thread(target=_closing, args=(handle, server.accept()[0]), daemon=True).start()


def _closing(handle: Callable[[socket.socket], object], line: socket.socket) -> None:
    with line, suppress(OSError):
        handle(line)


@contextmanager
def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Let `talk` answer whoever asks at the URL that is given."""

    def handle(line: socket.socket) -> None:
        with tls.wrap_socket(line, server_side=True) if tls else line as line, line.makefile("rb") as file:
            first, headers = file.readline().decode(), parse_headers(file)
            size = int(headers["Content-Length"] or 0)
            body = file.read(size)
            if len(body) == size > 0:  # who asks may have been killed
                talk(line, Asked(first, headers, body))

    with accepting(handle) as port:
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}/tsa"


@contextmanager
def real(folder: Path, chain: bool = True) -> Iterator[str]:
    """Serve the stamps of openssl."""
    openssl.make(folder)
    with openssl.server(openssl.Authority(folder, chain)) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def client(*urls: str, **settings: Any) -> StampClient:
    """Return a client that knows the authority that it asks."""
    usual = {"roots": ROOT, "policies": POLICY, "timeout": 5.0, "patience": 10.0}
    return StampClient(urls, **{**usual, **settings})


# What a server may say.


def reply(body: bytes, status: str = "200 OK", kind: str = REPLY, more: str = "", size: int | None = None) -> bytes:
    """Return an answer by HTTP."""
    length = len(body) if size is None else size
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\r\n".encode() + body


def says(answer: bytes | Callable[[Asked], bytes]) -> Talk:
    """Say these bytes, and no more."""
    return lambda line, asked: line.sendall(answer(asked) if callable(answer) else answer)


def stamps(authority: Authority = AUTHORITY) -> Talk:
    """Answer as an authority does, well or with its fault."""
    return says(lambda asked: reply(authority.answer(asked.body)))


def silence(line: socket.socket, asked: Asked) -> None:
    """Say nothing for as long as anybody waits."""
    line.recv(1)


def drips(before: bytes, drop: bytes) -> Talk:
    """Say something, and then go on for ever, a little at a time."""
    return lambda line, _: drip(line, before, drop)


def drip(line: socket.socket, before: bytes, drop: bytes) -> None:
    line.sendall(before)
    while True:
        time.sleep(0.02)
        line.sendall(drop)


def turns(*talks: Talk) -> Talk:
    """Answer the first request in the first way, and so on; the last way is for all that follow."""
    rest = list(talks)

    def talk(line: socket.socket, asked: Asked) -> None:
        (rest.pop(0) if len(rest) > 1 else rest[0])(line, asked)

    return talk


def after(seconds: float, talk: Talk) -> Talk:
    """Answer, but not at once."""

    def late(line: socket.socket, asked: Asked) -> None:
        time.sleep(seconds)
        talk(line, asked)

    return late


def _of_another_head(asked: Asked) -> bytes:
    return reply(AUTHORITY.stamp(sha256(b"another head").digest(), asked.nonce))


def _without_nonce(asked: Asked) -> bytes:
    return reply(AUTHORITY.stamp(asked.imprint, None))


def _with_a_false_signature(asked: Asked) -> bytes:
    response = bytearray(AUTHORITY.answer(asked.body))
    response[-1] ^= 1
    return reply(bytes(response))


def _strange(**fields: Any) -> Talk:
    """Answer as the usual authority but for some fields; the keys are the same, so that nothing else is wrong."""
    return stamps(replace(AUTHORITY, **fields))


@dataclass(frozen=True)
class Fault:
    """Say what a server does, and which code it comes to; one without `talk` is not there."""

    reason: str
    talk: Talk | None
    secure: bool = field(default=False, kw_only=True)

    @property
    def timeout(self) -> float:
        """Return how long a client may wait for it that need not wait in vain."""
        return 0.3 if self.reason == "slow" else 5.0

    @contextmanager
    def served(self, folder: Path) -> Iterator[str]:
        """Serve it."""
        if self.talk is None:
            with socket.create_server(("127.0.0.1", 0)) as server:
                port = server.getsockname()[1]
            yield f"http://127.0.0.1:{port}/tsa"
        else:
            with listening(self.talk, own_certificate(folder) if self.secure else None) as url:
                yield url


def own_certificate(folder: Path) -> ssl.SSLContext:
    """Return what shows a certificate for 127.0.0.1 that signs itself: FOLDER/tls.pem."""
    folder.mkdir(exist_ok=True)
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", "tls.key", "-out", "tls.pem"]
    openssl.openssl(folder, "req", "-x509", *openssl.KEY, "-days", "30", *names, *files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem", folder / "tls.key")
    return context


HTML: Final = b"<html><body>Welcome to the hotel's network</body></html>"
HEAD: Final = f"HTTP/1.1 200 OK\r\nContent-Type: {REPLY}\r\n".encode()
FAULTS: Final[Mapping[str, Fault]] = {
    "outage": Fault("unreachable", None),
    "hanging_up": Fault("unreachable", says(b"")),
    "silence": Fault("slow", silence),
    "slow_head": Fault("slow", drips(b"HTTP/1.1 200 OK\r\nX-Filler: ", b"a")),
    "slow_body": Fault("slow", drips(HEAD + b"Content-Length: 999\r\n\r\n", b"a")),
    "endless_preface": Fault("slow", drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
    "no_http": Fault("http", says(b"220 mail.example ESMTP\r\n")),
    "endless_line": Fault("http", says(b"HTTP/1.1 200 OK\r\nX: " + bytes(1 << 17))),
    "torn": Fault("http", says(reply(b"a" * 99, size=999))),
    "page": Fault("content-type", says(reply(HTML, kind="text/html; charset=utf-8"))),
    "page_as_reply": Fault("stamp", says(reply(HTML))),
    "garbage": Fault("stamp", says(reply(bytes(range(256))))),
    "nothing": Fault("stamp", says(reply(b""))),
    "error": Fault("status", says(reply(HTML, "500 Internal Server Error", "text/html"))),
    "missing": Fault("status", says(reply(HTML, "404 Not Found", "text/html"))),
    "redirect_loop": Fault("redirect", says(reply(b"", "307 Temporary Redirect", more="Location: /tsa\r\n"))),
    "too_large": Fault("too-large", says(reply(b"", size=1 << 30))),
    "too_large_in_chunks": Fault(
        "too-large", drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"20000\r\n" + bytes(1 << 17) + b"\r\n")
    ),
    "stranger_by_tls": Fault("tls", stamps(), secure=True),
    "refusal": Fault("stamp-refused", says(reply(AUTHORITY.refusal()))),
    "other_head": Fault("stamp-imprint", says(_of_another_head)),
    "other_nonce": Fault("stamp-nonce", _strange(nonce_off_by=1)),
    "no_nonce": Fault("stamp-nonce", says(_without_nonce)),
    "other_policy": Fault("stamp-policy", _strange(policy="1.2.3.4.2")),
    "other_root": Fault("stamp-root", stamps(Authority("stranger.example"))),
    "other_root_of_that_name": Fault("stamp-root", _strange(root_key=key_of("a stranger"))),
    "expired": Fault("stamp-expired", _strange(time=hours(2), ends=hours(1))),
    "not_yet_valid": Fault("stamp-expired", _strange(begins=EPOCH + timedelta(days=1))),
    "other_purpose": Fault("stamp-purpose", _strange(purpose=ExtendedKeyUsageOID.CODE_SIGNING)),
    "false_signature": Fault("stamp-signature", says(_with_a_false_signature)),
}
