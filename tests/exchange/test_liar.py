"""Test a prover who breaks the protocol: what it says is a finding, and what anybody on the way could do is not."""

import ssl
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from polarchive.errors import OpeningError, Unreachable
from polarchive.format import part, request
from polarchive.format.opening import spread
from polarchive.format.part import BatchPart
from tests.exchange.liar import lying
from tests.exchange.scene import JUDGE, NOW, Scene
from tests.simulator import PROVER, STRANGER

PART = BatchPart(4, 1)
Made = Callable[[bytes, str], bytes]


def answer(data: bytes, signature: str, status: str = "200 OK", **headers: str) -> bytes:
    found = {"Content_Length": str(len(data)), "Polarchive_Signature": signature, **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in found.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def content(scene: Scene) -> bytes:
    return b"".join(map(bytes, part.chunks(spread(scene.run.openings[PART.step][PART.micro]))))


def signature(scene: Scene, data: bytes, signer: Any = PROVER, shown: BatchPart = PART, **changes: Any) -> str:
    digest = request.digest(scene.request(**changes))
    found: bytes = part.sign(shown, digest, sha256(data).digest(), signer)
    return found.hex()


SAID: dict[str, tuple[Callable[[Scene, bytes], bytes], str]] = {
    "unsigned": (lambda scene, data: answer(data, ""), "not signed"),
    "signed_in_capitals": (lambda scene, data: answer(data, signature(scene, data).upper()), "not signed"),
    "signed_by_another": (lambda scene, data: answer(data, signature(scene, data, STRANGER)), "signature"),
    "signed_for_another_step": (
        lambda scene, data: answer(data, signature(scene, data, shown=BatchPart(5, 1))),
        "signature",
    ),
    "signed_for_another_request": (
        lambda scene, data: answer(data, signature(scene, data, expires=NOW + 1)),
        "signature",
    ),
    "signed_and_changed": (lambda scene, data: answer(data[:-1] + b"\xff", signature(scene, data)), "signature"),
    "signed_nonsense": (lambda scene, data: answer(b"nonsense", signature(scene, b"nonsense")), "safetensors"),
    "signed_and_truncated": (lambda scene, data: answer(data[:-1], signature(scene, data[:-1])), "do not fill"),
    "signed_nothing": (lambda scene, data: answer(b"", signature(scene, b"")), "safetensors"),
    "truncated": (lambda scene, data: answer(data, signature(scene, data))[:-1], "truncated"),
    "cut_in_the_headers": (lambda scene, data: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", "not signed"),
    "oversized": (lambda scene, data: answer(data, signature(scene, data), Content_Length=str(1 << 50)), "at most"),
    "of_no_length": (lambda scene, data: answer(data, signature(scene, data), Content_Length="many"), "at most"),
    "of_negative_length": (lambda scene, data: answer(data, signature(scene, data), Content_Length="-1"), "at most"),
    "chunked": (
        lambda scene, data: answer(data, signature(scene, data), Transfer_Encoding="chunked"),
        "at most",
    ),
    "elsewhere": (lambda scene, data: answer(b"", "", "302 Found", Location="https://other/"), "refuses: 302"),
    "teapot": (lambda scene, data: answer(b"\x1b[2J\xff\n" * 99, "", "418 Teapot"), r"refuses: 418 '\\x1b"),
    "not_http": (lambda scene, data: b"\x00" * 100 + b"\r\n", "not HTTP"),
    "line_without_end": (lambda scene, data: b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "not HTTP"),
    "headers_without_end": (lambda scene, data: b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1_000, "not HTTP"),
}


@pytest.mark.parametrize(("said", "reason"), SAID.values(), ids=SAID)
def test_what_a_prover_says_is_held_against_it(
    scene: Scene, said: Callable[[Scene, bytes], bytes], reason: str
) -> None:
    def reply(connection: ssl.SSLSocket, asked: bytes) -> bool:
        connection.sendall(said(scene, content(scene)))
        return True

    with (
        lying(reply) as url,
        scene.channel(url) as channel,
        pytest.raises(OpeningError, match=f"batch 1: .*{reason}"),
    ):
        channel.batch(PART.step, PART.micro)


def test_an_honest_word_passes_here_too(scene: Scene) -> None:
    def reply(connection: ssl.SSLSocket, asked: bytes) -> bool:
        connection.sendall(answer(content(scene), signature(scene, content(scene))))
        return True

    with lying(reply) as url, scene.channel(url) as channel:
        channel.batch(PART.step, PART.micro)


LOST: dict[str, Callable[[Scene, bytes], bytes]] = {
    "silence": lambda scene, data: b"",
    "cut_in_the_headers": lambda scene, data: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    "cut_in_the_answer": lambda scene, data: answer(data, signature(scene, data))[:-1],
    "busy": lambda scene, data: answer(b"", "", "503 Service Unavailable"),
    "too_many": lambda scene, data: answer(b"", "", "429 Too Many Requests"),
}


@pytest.mark.parametrize("said", LOST.values(), ids=LOST)
def test_a_connection_that_is_cut_says_nothing(scene: Scene, said: Callable[[Scene, bytes], bytes]) -> None:
    """Without TLS's goodbye anybody on the way may have cut it, and the prover is asked again."""
    asked = []

    def reply(connection: ssl.SSLSocket, head: bytes) -> bool:
        asked.append(head)
        connection.sendall(said(scene, content(scene)))
        return False

    with lying(reply) as url, scene.channel(url, patience=0.5) as channel, pytest.raises(Unreachable, match="step 4"):
        channel.batch(PART.step, PART.micro)
    assert asked


def test_a_second_try_succeeds(scene: Scene) -> None:
    asked = []

    def reply(connection: ssl.SSLSocket, head: bytes) -> bool:
        asked.append(head)
        said = answer(content(scene), signature(scene, content(scene)))
        connection.sendall(said[: len(said) // 2] if len(asked) == 1 else said)
        return len(asked) > 1

    with lying(reply) as url, scene.channel(url) as channel:
        channel.batch(PART.step, PART.micro)
    assert len(asked) == 2


BEGUN = {
    "a status": b"HTTP/1.1 200 OK\r\n",
    "a part": answer(b"", "0" * 128, Content_Length="100000"),
    "a part before it closes": answer(b"", "0" * 128, Content_Length="100000", Connection="close"),
}


@pytest.mark.parametrize("begun", BEGUN.values(), ids=BEGUN)
def test_a_byte_now_and_then_is_no_answer(begun: bytes, scene: Scene) -> None:
    """Each byte arrives in time, and the answer never does."""

    def reply(connection: ssl.SSLSocket, head: bytes) -> bool:
        connection.sendall(begun)
        while True:
            connection.sendall(b"X")
            connection.settimeout(0.01)
            try:
                connection.recv(1)
                return False
            except TimeoutError:
                continue

    with lying(reply) as url, scene.channel(url, patience=1.0) as channel, pytest.raises(Unreachable):
        channel.batch(PART.step, PART.micro)


def test_leaving_while_a_part_is_on_its_way_gives_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polarchive.exchange.client.GRACE", 0.2)

    def reply(connection: ssl.SSLSocket, head: bytes) -> bool:
        connection.recv(1)
        return False

    with lying(reply) as url, scene.channel(url) as channel:
        channel.prefetch([PART])


def test_a_stranger_at_the_address_is_not_the_prover(scene: Scene) -> None:
    with (
        scene.serving() as server,
        scene.channel(server.url, prover=STRANGER.key) as channel,
        pytest.raises(Unreachable, match="somebody else answers"),
    ):
        channel.batch(PART.step, PART.micro)


def test_a_server_that_knows_the_judge_not_is_no_answer(scene: Scene) -> None:
    with (
        scene.serving(judges=[STRANGER.key]) as server,
        scene.channel(server.url, patience=1.0) as channel,
        pytest.raises(Unreachable),
    ):
        channel.batch(PART.step, PART.micro)
    assert JUDGE.key not in {getattr(fact, "judge", None) for fact in scene.facts()}
    assert all("TLS" in reason or "certificate" in reason for reason in scene.refused()) and scene.refused()
