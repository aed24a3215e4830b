"""Test that a few bytes are posted to whoever is meant, and that no answer takes longer or more than is allowed."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from polarchive.errors import PolError, Unreachable
from polarchive.exchange import posting
from polarchive.exchange.posting import Answer
from tests.witness import Reply, serving


def posted(url: str, body: bytes = b"body", timeout: float = 20.0, limit: int = 100) -> Answer:
    return posting.post(f"{url}/w1/add-checkpoint", body, timeout, limit)


def test_what_is_posted_is_answered() -> None:
    with serving(lambda body: Reply(200, body[::-1], "text/backwards")) as url:
        assert posted(url) == Answer(200, "text/backwards", b"ydob")


@pytest.mark.parametrize("status", [201, 302, 404, 503])
def test_any_status_is_an_answer(status: int) -> None:
    with serving(lambda _: Reply(status, b"because")) as url:
        assert str(posted(url)) == f"{status} because"


@pytest.mark.parametrize("size", [0, 1, 100])
def test_an_answer_may_have_any_size_up_to_the_limit(size: int) -> None:
    with serving(lambda _: Reply(200, bytes(size))) as url:
        assert len(posted(url).body) == size


def test_an_answer_beyond_the_limit_is_refused() -> None:
    with serving(lambda _: Reply(200, bytes(101))) as url, pytest.raises(PolError, match="more than 100 bytes"):
        posted(url)


BAD_URLS = [
    "",
    "w1",
    "ftp://host/",
    "http://",
    "http:///w1",
    "http://host:port/",
    "http://host:99999/",
    "http://h/?q=1",
]
BAD_URLS += ["http://h/#f", "http://me@h/", "http://h/a b", "http://h/é", "http://[::1/", "http://h/\n", "file:///tmp"]


@pytest.mark.parametrize("url", BAD_URLS)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(PolError, match="not of the form https://HOST/PATH"):
        posting.require_url(url)


@pytest.mark.parametrize("url", ["https://host", "http://host:80/a/b/", "https://[::1]:8443/", "http://192.0.2.1/"])
def test_urls_are_of_http_or_https(url: str) -> None:
    posting.require_url(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://a..b/", "http://nowhere.invalid/"])
def test_nobody_there_is_unreachable(url: str) -> None:
    with pytest.raises(Unreachable, match="no answer"):
        posted(url, timeout=5)


@contextmanager
def dripping(start: bytes, drop: bytes) -> Iterator[str]:
    """Answer with `start`, and then a drop at a time, never silent for long and never done."""
    over = Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_drip, args=(listener, start, drop, over))
        thread.start()
        yield "127.0.0.1:{}".format(*listener.getsockname()[1:])
        over.set()
        thread.join()


def _drip(listener: socket.socket, start: bytes, drop: bytes, over: Event) -> None:
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        connection.recv(1 << 16)
        connection.sendall(start)
        while not over.wait(0.02):
            connection.sendall(drop)


SLOW = {
    "headers": ("http", b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "interim_answers": ("http", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body_of_a_size": ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"x"),
    "body_of_no_size": ("http", b"HTTP/1.1 200 OK\r\n\r\n", b"\n"),
    "chunks": ("http", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "handshake": ("https", b"\x16\x03\x03\x40\x00", b"\x02"),
    "body_before_the_end": ("http", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 60000\r\n\r\n", b"x"),
    "silence": ("http", b"", b""),
}


@pytest.mark.parametrize(("scheme", "start", "drop"), SLOW.values(), ids=SLOW)
def test_all_of_it_has_one_deadline(scheme: str, start: bytes, drop: bytes) -> None:
    begun = time.monotonic()
    with dripping(start, drop) as place, pytest.raises(Unreachable, match=r"none in 0\.5 seconds"):
        posted(f"{scheme}://{place}/", timeout=0.5, limit=1 << 20)
    assert time.monotonic() - begun < 3


NO_ANSWERS = {
    "nothing": b"",
    "another_protocol": b"SSH-2.0-OpenSSH_9.9\r\n",
    "headers_without_end": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200,
    "cut_off": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "cut_off_chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    "status_of_letters": b"HTTP/1.1 abc\r\n\r\n",
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_not_whole_http_is_no_answer(answer: bytes) -> None:
    def once(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=once, args=(listener,))
        thread.start()
        with pytest.raises(Unreachable, match="no answer"):
            posted("http://127.0.0.1:{}".format(*listener.getsockname()[1:]))
        thread.join()


def certified(folder: Path, name: str = "localhost") -> ssl.SSLContext:
    """Return what a server at `name` shows; the root to believe is in `root.pem`."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    whose = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(whose, whose, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    (folder / "root.pem").write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "root.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize("name", ["localhost", "elsewhere.example"])
@pytest.mark.parametrize("believed", [True, False])
def test_https_is_only_with_whom_the_system_believes(
    name: str, believed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = certified(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem" if believed else tmp_path / "none.pem"))
    with serving(lambda _: Reply(200), context) as here:
        url = here.replace("http://127.0.0.1", "https://localhost")
        if believed and name == "localhost":
            assert posted(url).status == 200
        else:
            with pytest.raises(Unreachable, match="certificate verify failed"):
                posted(url)
