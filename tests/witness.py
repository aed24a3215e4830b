"""Be a witness on this machine: the rules of C2SP tlog-witness in the order of its text, over HTTP."""

import json
import os
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Final

from polarchive.errors import DigestError, FormatError
from polarchive.format import cosignature, merkle, note
from polarchive.format.cosignature import WitnessKey
from polarchive.format.note import Head, SignatureLine, VerifierKey
from tests.simulator import PROVER, FakeSigner, Simulation, at, state_of

FIRST: Final = FakeSigner("witness.example/w1", bytes(31) + b"\x11")
SECOND: Final = FakeSigner("witness.example/w2", bytes(31) + b"\x12")
NOON: Final = datetime(2026, 7, 1, 12, tzinfo=UTC)
MOST: Final = 63  # lines of a proof


FINISHED: Final = Simulation(segments=4)  # a log of six entries: header, segments, end
BEGUN: Final = Simulation(segments=2, finished=False)  # and the first three of them
REWRITTEN: Final = replace(FINISHED, states=at(1, lambda _: state_of(9, 1)))  # its first segment led elsewhere
ORIGIN: Final = note.origin(PROVER.key, FINISHED.run().header.run)


def key_of(signer: FakeSigner) -> WitnessKey:
    return WitnessKey(signer.name, signer.key.public)


@dataclass(eq=False)
class Reply(Exception):
    """Answer a request; raised wherever a rule decides."""

    status: int
    body: bytes = b""
    kind: str = "text/plain"


@dataclass(frozen=True)
class Request:
    """Hold what was asked for."""

    old: int
    proof: list[bytes]
    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: list[SignatureLine]

    @classmethod
    def parse(cls, body: bytes) -> "Request":
        try:
            asked, text, signatures = body.split(b"\n\n")
            (word, old), *proof = (line.split(" ") for line in asked.decode().split("\n"))
            origin, size, root, *_ = text.decode().split("\n")
            *lines, last = signatures.decode().split("\n")
            if word != "old" or last or len(proof) > MOST:
                raise ValueError("not the lines of a request")
            digests = [digest(*line) for line in proof]
            signed = [SignatureLine.parse(line, "request") for line in lines]
            return cls(number(old), digests, origin, number(size), digest(root), text + b"\n", signed)
        except (ValueError, TypeError, FormatError):
            raise Reply(400) from None


@dataclass
class Witness:
    """Cosign the logs it was told of, each only as it grows.

    What it has cosigned is a file, replaced before it answers. `requests` and `time` are for whoever looks on.
    """

    folder: Path
    logs: Mapping[str, VerifierKey] = field(default_factory=lambda: {ORIGIN: PROVER.key})
    signer: FakeSigner = FIRST
    time: datetime = NOON
    requests: list[bytes] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    @property
    def key(self) -> WitnessKey:
        return key_of(self.signer)

    @property
    def seen(self) -> dict[str, tuple[int, str]]:
        """Return size and root of the last head it cosigned, by origin."""
        path = self.folder / "seen.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        return {origin: (size, root) for origin, (size, root) in found.items()}

    def answer(self, body: bytes) -> Reply:
        self.requests.append(body)
        try:
            return Reply(200, self._cosigned(body))
        except Reply as reply:
            return reply

    def _cosigned(self, body: bytes) -> bytes:
        asked = Request.parse(body)
        if asked.origin not in self.logs:
            raise Reply(404)
        if not any(verifies(line, asked.text, self.logs[asked.origin]) for line in asked.signatures):
            raise Reply(403)
        if asked.old > asked.size:
            raise Reply(400)
        with self._lock:  # looking and remembering are one, or an older head could take the place of a newer
            self._check(asked)
            self._remember(asked)
        return cosignature.cosign(asked.text, self.signer, self.time)

    def _check(self, asked: Request) -> None:
        size, root = self.seen.get(asked.origin, (0, ""))
        if asked.old != size:
            raise Reply(409, f"{size}\n".encode(), "text/x.tlog.size")
        if asked.old == 0:
            if asked.proof:
                raise Reply(422)
            return
        if asked.old == asked.size and not asked.proof and asked.root.hex() != root:
            raise Reply(409)
        try:
            merkle.check_consistency(asked.old, asked.size, asked.proof, bytes.fromhex(root), asked.root)
        except DigestError:
            raise Reply(422) from None

    def _remember(self, asked: Request) -> None:
        temporary = self.folder / "seen.json.tmp"
        with temporary.open("w") as file:
            json.dump(self.seen | {asked.origin: (asked.size, asked.root.hex())}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / "seen.json")

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Answer over HTTP, and give the submission prefix."""
        with serving(self.answer) as url:
            yield f"{url}/w1"


class Listener(ThreadingHTTPServer):
    answer: Callable[[bytes], Reply]

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # of those who do not believe the certificate


class Handler(BaseHTTPRequestHandler):
    server: Listener
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        reply = self.server.answer(body) if self.path == "/w1/add-checkpoint" else Reply(404)
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(answer: Callable[[bytes], Reply], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer what is posted with what a function of the body returns."""
    server = Listener(("127.0.0.1", 0), Handler)
    server.answer = answer
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def number(text: str) -> int:
    """Read a decimal number without leading zeros."""
    if not text.isascii() or not text.isdecimal() or str(int(text)) != text:
        raise ValueError(text)
    return int(text)


def digest(text: str) -> bytes:
    data = b64decode(text, validate=True)
    if len(data) != merkle.SIZE:
        raise ValueError(text)
    return data


def verifies(line: SignatureLine, text: bytes, key: VerifierKey) -> bool:
    """Tell whether a line is by `key` and over `text`; those of other keys are none of a witness's business."""
    try:
        key.check(text, line.signature, "request")
    except FormatError:
        return False
    return line.is_by(key)


def request(size: int, old: int = 0, lines: list[bytes] | None = None, signer: FakeSigner = PROVER) -> bytes:
    """Return a request to cosign the first `size` entries of the finished run, or of another with these `lines`."""
    tree = merkle.Tree(map(merkle.leaf, lines or FINISHED.run().lines))
    proof = tree.consistency(old, size) if 0 < old <= size else []
    return spelled(f"old {old}", proof, note.sign(Head(ORIGIN, size, tree.root(size)), signer))


def spelled(first: str, proof: list[bytes], signed: bytes) -> bytes:
    return b"\n".join([first.encode(), *map(b64encode, proof), b"", signed])
