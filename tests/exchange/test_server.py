"""Test that a server goes on whatever comes at it, and answers nobody more than it should."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from threading import Event, Thread

import pytest

from polarchive.errors import OpeningError, PolError, Unreachable
from polarchive.exchange.connections import Connections
from polarchive.exchange.desk import Desk
from polarchive.exchange.rates import Rate
from polarchive.exchange.releases import Fact, Releases
from polarchive.exchange.server import Server
from polarchive.exchange.tls import Tls
from polarchive.format.commitment import Opening
from polarchive.format.part import BatchPart
from tests.exchange.scene import JUDGE, Prover, Scene
from tests.simulator import PROVER, STRANGER, FakeSigner


def address(server: Server) -> tuple[str, int]:
    host, _, port = server.url.removeprefix("https://").rpartition(":")
    return host, int(port)


@contextmanager
def plain(server: Server) -> Iterator[socket.socket]:
    """Connect without TLS."""
    with socket.create_connection(address(server), 20) as connection:
        yield connection


@contextmanager
def secure(server: Server, signer: FakeSigner = JUDGE) -> Iterator[ssl.SSLSocket]:
    """Connect as a judge who says what it likes."""
    tls = Tls(signer, [PROVER.key], server=False)
    with plain(server) as raw, tls.context().wrap_socket(raw) as connection:
        yield connection


def said(connection: socket.socket) -> bytes:
    """Return all that the server says until it closes the connection."""
    data = b""
    with suppress(OSError):
        while chunk := connection.recv(1 << 16):
            data += chunk
    return data


def is_well(scene: Scene, server: Server, step: int = 0) -> bool:
    """Tell whether the server still answers a judge."""
    with scene.channel(server.url, folder=f"well-{step}") as channel:
        return channel.batch(step, 0).batch.count == 3


GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "zeros": bytes(100_000),
    "plain_http": b"GET /v1/requests HTTP/1.1\r\nHost: x\r\n\r\n",
    "half_a_hello": bytes.fromhex("16030100f0010000ec0303") + bytes(40),
    "a_record_of_another_kind": bytes.fromhex("1703030005") + b"hello",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage_harms_nothing(scene: Scene, data: bytes) -> None:
    with scene.serving(handshake=0.3) as server, plain(server) as connection:
        with suppress(ConnectionError):
            connection.sendall(data)
        said(connection)
        assert is_well(scene, server)


def test_half_closed_connections_harm_nothing(scene: Scene) -> None:
    with scene.serving() as server, plain(server) as bare, secure(server) as known:
        bare.shutdown(socket.SHUT_WR)
        known.sendall(b"POST /v1/requests HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
        socket.socket.shutdown(known, socket.SHUT_WR)
        said(bare), said(known)
        assert is_well(scene, server)


def test_who_stays_silent_is_cut(scene: Scene) -> None:
    with scene.serving(handshake=0.2) as server, plain(server) as connection:
        assert said(connection) == b""
        assert is_well(scene, server)


@pytest.mark.parametrize("head", [b"", b"GET", b"POST /v1/requests HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"])
def test_a_judge_who_sends_a_byte_now_and_then_is_cut(scene: Scene, head: bytes) -> None:
    with scene.serving(idle=0.4) as server, secure(server) as connection:
        connection.sendall(head)
        connection.settimeout(0.05)
        with suppress(ConnectionError, ssl.SSLError):
            while True:
                connection.sendall(b"x")
                with suppress(TimeoutError):
                    if not connection.recv(1 << 16):
                        break
        assert is_well(scene, server)


REQUESTS: dict[str, tuple[bytes, bytes]] = {
    "another_path": (b"GET / HTTP/1.1\r\n\r\n", b"404"),
    "path_out_of_the_folder": (b"GET /v1/requests/../../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
    "part_of_no_kind": (b"GET /v1/requests/" + b"0" * 64 + b"/model-0 HTTP/1.1\r\nConnection: close\r\n\r\n", b"403"),
    "request_elsewhere": (b"POST /v1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"404"),
    "request_without_length": (b"POST /v1/requests HTTP/1.1\r\n\r\n", b"411"),
    "request_of_negative_length": (b"POST /v1/requests HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"411"),
    "request_in_chunks": (b"POST /v1/requests HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
    "request_too_long": (b"POST /v1/requests HTTP/1.1\r\nContent-Length: 16777217\r\n\r\n", b"413"),
    "request_of_nothing": (b"POST /v1/requests HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", b"400"),
    "another_method": (b"DELETE /v1/requests HTTP/1.1\r\n\r\n", b"501"),
    "line_too_long": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    "headers_too_many": (b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 200 + b"\r\n", b"431"),
}


@pytest.mark.parametrize(("data", "status"), REQUESTS.values(), ids=REQUESTS)
def test_what_is_no_request_is_refused(scene: Scene, data: bytes, status: bytes) -> None:
    with scene.serving(idle=2.0) as server, secure(server) as connection:
        connection.sendall(data)
        answer = said(connection)
        assert status in answer.split(b"\r\n")[0] and len(answer) < 1_000
        assert b"Python" not in answer and b"Server: polarchive\r\n" in answer
        assert is_well(scene, server)


@pytest.mark.parametrize("data", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"GET /\r\n\r\n"])
def test_what_is_not_http_is_refused_in_a_word(scene: Scene, data: bytes) -> None:
    with scene.serving() as server, secure(server) as connection:
        connection.sendall(data)
        assert said(connection) in (b"Bad Request\n", b"HTTP Version Not Supported\n", b"Not Found\n")
        assert is_well(scene, server)


def test_strangers_are_turned_away_on_record(scene: Scene) -> None:
    with scene.serving() as server:
        for _ in range(3):
            with suppress(OSError), secure(server, STRANGER) as connection:
                said(connection)
        assert is_well(scene, server)
    assert sum("certificate" in reason for reason in scene.refused()) == 3


def test_strangers_do_not_fill_the_disk(scene: Scene) -> None:
    with scene.serving() as server:
        listener = server._listener
        for _ in range(200):
            listener._turn_away(("192.0.2.1", 1), "a stranger")
    assert 60 <= len(scene.refused()) < 100


def test_connections_are_bounded(scene: Scene) -> None:
    with scene.serving(connections=3, handshake=0.5) as server, ExitStack() as stack:
        held = [stack.enter_context(plain(server)) for _ in range(8)]
        assert [said(connection) for connection in held] == [b""] * 8  # five at once, three when their time is over
        assert is_well(scene, server)


def test_a_judge_who_asks_too_often_is_told_to_wait(scene: Scene) -> None:
    with scene.serving(rate=20.0, burst=3.0) as server, scene.channel(server.url) as channel:
        for step in (0, 1, 4, 5):
            for micro in (0, 1):
                channel.batch(step, micro)
    assert len(scene.released()) == 8 and scene.refused() == []


class Slow(Prover):
    """Show nothing before it is told to."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene.run)
        self.entered, self.go_on = Event(), Event()

    def openings(self, step: int) -> Sequence[Opening]:
        self.entered.set()
        assert self.go_on.wait(20)
        return super().openings(step)


def test_a_judge_who_comes_while_too_many_are_answered_is_told_to_wait(scene: Scene) -> None:
    prover = Slow(scene)
    with scene.serving(prover, answers=1) as server, scene.channel(server.url) as channel:
        channel.prefetch([BatchPart(0, 0)])
        assert prover.entered.wait(20)
        with (
            scene.channel(server.url, folder="second", patience=2.0) as second,
            pytest.raises(Unreachable, match="503 too many at once"),
        ):
            second.batch(0, 1)
        prover.go_on.set()
        channel.batch(0, 0)


def test_what_is_being_answered_is_finished_before_a_server_ends(scene: Scene) -> None:
    prover = Slow(scene)
    with ExitStack() as stack:
        serving = stack.enter_context(ExitStack())
        server = serving.enter_context(scene.serving(prover))
        channel = stack.enter_context(scene.channel(server.url, folder="mine"))
        idle = stack.enter_context(secure(server))
        channel.prefetch([BatchPart(0, 0)])
        assert prover.entered.wait(20)
        ending = Thread(target=serving.close)
        ending.start()
        assert said(idle) == b""  # nobody waits for who says nothing
        assert ending.is_alive()
        prover.go_on.set()
        ending.join()
        channel.batch(0, 0)
    assert scene.released() == [BatchPart(0, 0).name]


def test_a_server_that_restarts_goes_on(scene: Scene) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(scene.serving())
        port = address(server)[1]
        with scene.channel(server.url) as channel:
            channel.batch(0, 0)
            stack.close()
            with scene.serving(port=port):
                channel.batch(0, 1)
            with scene.serving(port=port):
                channel.batch(1, 0)
    assert len(scene.released()) == 3


def test_nothing_leaves_that_is_not_on_record(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    record, prover = Releases(scene.record), Prover(scene.run)
    desk = Desk(scene.archive, PROVER, prover.openings, prover.states, record, clock=scene.clock)
    digest = desk.admit(scene.request(), JUDGE.key, "here")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("polarchive.format.disk.sync", full)
        with pytest.raises(PolError, match="nothing leaves"):
            desk.show(digest, BatchPart(0, 0).name, JUDGE.key, "here")
    desk.show(digest, BatchPart(0, 0).name, JUDGE.key, "here")
    record.close()
    assert scene.released() == [BatchPart(0, 0).name]


def test_a_record_belongs_to_one_server(scene: Scene) -> None:
    with scene.serving(), pytest.raises(PolError, match="another process writes"), scene.serving():
        pass


def test_a_hundred_requests(scene: Scene) -> None:
    told: list[Fact] = []
    with scene.serving(tell=told.append) as server:
        for number in range(10):
            with scene.channel(server.url, folder=str(number)) as channel:
                for step in (0, 1, 4, 5):
                    for micro in (0, 1):
                        channel.batch(step, micro)
                for state in (1, 3):
                    channel.state(state)
    assert len(told) == 101 and scene.facts() == told


def test_an_ipv6_address_is_served(scene: Scene) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    record, prover = Releases(scene.record), Prover(scene.run)
    desk = Desk(scene.archive, PROVER, prover.openings, prover.states, record, clock=scene.clock)
    try:
        server = Server("::1", 0, desk, PROVER, [JUDGE.key])
    except OSError:
        pytest.skip("no IPv6 here")
    with server:
        assert is_well(scene, server)
    record.close()


def test_an_allowance_fills_again() -> None:
    now = [0.0]
    rate = Rate(2.0, 3.0, lambda: now[0])
    assert [rate.allows() for _ in range(4)] == [True, True, True, False]
    now[0] += 1.0
    assert [rate.allows() for _ in range(3)] == [True, True, False]
    now[0] += 100.0
    assert [rate.allows() for _ in range(4)] == [True, True, True, False]


def test_only_who_is_waited_for_is_cut() -> None:
    connections = Connections(2)
    pairs = [socket.socketpair() for _ in range(3)]
    assert [connections.admit(ours, -1.0) for ours, _ in pairs] == [True, True, False]
    connections.answer(pairs[0][0])
    connections.cut_late()
    pairs[0][1].setblocking(False)
    with pytest.raises(BlockingIOError):
        pairs[0][1].recv(1)
    assert pairs[1][1].recv(1) == b""
    connections.leave(pairs[1][0])
    assert connections.admit(pairs[2][0], 60.0)
    connections.close()
    assert pairs[2][1].recv(1) == b""
    assert not connections.await_request(pairs[0][0], 60.0)
    for pair in pairs:
        for end in pair:
            end.close()


def test_a_judges_own_code_in_a_reason_is_printable(scene: Scene) -> None:
    def openings(step: int) -> Sequence[Opening]:
        raise ValueError("grüße\x1b[2J" * 100)

    with scene.serving() as server:
        server._listener.desk._openings = openings
        with scene.channel(server.url) as channel, pytest.raises(OpeningError) as refusal:
            channel.batch(0, 0)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 400
