"""Sign and open heads: C2SP signed notes over C2SP checkpoints (SPEC.md, "Heads").

A head's note is exactly five lines: origin, tree size, base64 root, an empty line, one Ed25519 signature line. So heads
follow each other in one member without framing, and the bytes of one are what a timestamp authority stamps.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from polarchive.errors import FormatError, Reason, SignatureError
from polarchive.format.canonical import is_printable
from polarchive.format.limits import MAX_NOTE
from polarchive.format.merkle import SIZE, Digest

DASH: Final = "\u2014 "
LINES: Final = 5
ID_SIZE: Final = 4
SIGNATURE_SIZE: Final = 64
_PRIME: Final = (1 << 255) - 19
_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_WEAK: Final = frozenset((0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8))  # y of every point of small order


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Name an Ed25519 public key the C2SP way; `str()` is the line to publish."""

    ALGORITHM: ClassVar[bytes] = b"\x01"

    name: str
    public: bytes

    @classmethod
    def parse(cls, line: str, place: str = "verifier key") -> Self:
        """Read `name+hash+base64`; FormatError if any byte of it is not as `str()` would write it."""
        parts = line.strip("\n").split("+", 2)
        if len(parts) != 3:
            raise FormatError(Reason.KEY, place, "not a verifier key of the form name+hash+base64")
        material = _unbase64(parts[2], place, Reason.KEY)
        if material[:1] != cls.ALGORITHM or len(material) != 1 + SIZE or not _is_name(parts[0]):
            raise FormatError(Reason.KEY, place, f"not an Ed25519 verifier key of type 0x{cls.ALGORITHM.hex()}")
        if not _binds(material[1:]):
            raise FormatError(Reason.KEY, place, "a point under which anyone can sign, or another spelling of one")
        key = cls(parts[0], material[1:])
        if str(key) != line.strip("\n"):
            raise FormatError(Reason.KEY, place, "the key's hash does not fit its name and bytes")
        return key

    @property
    def id(self) -> bytes:
        """Return the four bytes that signature lines name this key by."""
        return sha256(self.name.encode() + b"\n" + self.ALGORITHM + self.public).digest()[:ID_SIZE]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(self.ALGORITHM + self.public)}"

    def check(self, message: bytes, signature: bytes, place: str) -> None:
        """Raise SignatureError unless `signature` is this key's over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            raise SignatureError(Reason.SIGNATURE, place, f"the signature is not {self.name}'s") from None


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """Hold a line under a note: by whom it says it is, and the signature; `str()` is the line without its end."""

    name: str
    id: bytes
    signature: bytes

    @classmethod
    def parse(cls, line: str, place: str, reason: Reason = Reason.NOTE) -> "SignatureLine":
        """Read a line without its line end; FormatError if it is not as `str()` would write it."""
        name, _, encoded = line.removeprefix(DASH).partition(" ")
        blob = _unbase64(encoded, place, reason)
        if not line.startswith(DASH) or not _is_name(name) or len(blob) <= ID_SIZE:
            raise FormatError(reason, place, "not a signature line")
        return cls(name, blob[:ID_SIZE], blob[ID_SIZE:])

    def is_by(self, key: VerifierKey) -> bool:
        """Tell whether the line says that it is by `key`; whether it verifies is another matter."""
        return (self.name, self.id) == (key.name, key.id)

    def __str__(self) -> str:
        return f"{DASH}{self.name} {_base64(self.id + self.signature)}"


class Signer(Protocol):
    """Sign bytes with one key: in a file, an agent, a KMS or an HSM."""

    @property
    def key(self) -> VerifierKey:
        """Return the public half."""

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`."""


@dataclass(frozen=True, slots=True)
class Head:
    """State the size and root of a run's tree (C2SP tlog-checkpoint)."""

    origin: str
    size: int
    root: Digest

    @property
    def text(self) -> bytes:
        """Return the signed text: three lines."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n".encode()


def origin(key: VerifierKey, run: bytes) -> str:
    """Return the origin line of a run's heads: the signer's name and the run id."""
    return f"{key.name}/{run.hex()}"


def sign(head: Head, signer: Signer) -> bytes:
    """Return the note of `head` under `signer`: its five lines."""
    line = SignatureLine(signer.key.name, signer.key.id, signer.sign(head.text))
    return head.text + f"\n{line}\n".encode()


def open_note(note: bytes, key: VerifierKey, place: str = "note") -> Head:
    """Return the head that `note` states; refuse every byte that `sign` with `key` would not have written."""
    if len(note) > MAX_NOTE:
        raise FormatError(Reason.LIMIT, place, f"a note of {len(note)} bytes")
    try:
        lines = note.decode().split("\n")
    except UnicodeDecodeError:
        raise FormatError(Reason.NOTE, place, "not UTF-8") from None
    if len(lines) != LINES + 1 or not lines[0] or lines[3] or lines[5] or not lines[4].startswith(DASH):
        raise FormatError(Reason.NOTE, place, "not the five lines of a head")
    head = Head(lines[0], _size(lines[1], place), _unbase64(lines[2], place))
    signature = _signature(lines[4], key, place)
    if head.text != note[: len(head.text)] or len(head.root) != SIZE or not is_printable(head.origin):
        raise FormatError(Reason.NOTE, place, "not a canonical checkpoint")
    key.check(head.text, signature, place)
    return head


def split(notes: bytes, place: str = "heads") -> Iterator[bytes]:
    """Yield the notes of a member in order; FormatError if its lines are not whole notes."""
    lines = notes.split(b"\n")
    if lines.pop() or len(lines) % LINES:
        raise FormatError(Reason.NOTE, place, "not a sequence of five-line notes")
    for start in range(0, len(lines), LINES):
        yield b"\n".join(lines[start : start + LINES]) + b"\n"


def imprint(note: bytes) -> Digest:
    """Return what a timestamp authority stamps for a head: the SHA-256 of its note."""
    return sha256(note).digest()


def _signature(line: str, key: VerifierKey, place: str) -> bytes:
    found = SignatureLine.parse(line, place)
    if not found.is_by(key):
        raise SignatureError(Reason.KEY, place, f"not signed by the run's key {key.name}")
    if len(found.signature) != SIGNATURE_SIZE:
        raise FormatError(Reason.NOTE, place, "not an Ed25519 signature line")
    return found.signature


def _size(text: str, place: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 20 or str(int(text)) != text:
        raise FormatError(Reason.NOTE, place, "the tree size is not a plain decimal number")
    return int(text)


def _is_name(name: str) -> bool:
    return bool(name) and is_printable(name) and " " not in name and "+" not in name


def _binds(public: bytes) -> bool:
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    return y < _PRIME and y not in _WEAK


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str, place: str, reason: Reason = Reason.NOTE) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or _base64(data) != text:
        raise FormatError(reason, place, "not canonical base64")
    return data
