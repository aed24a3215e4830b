"""Make and check cosignatures: witnesses' C2SP lines over a head (SPEC.md, "Stamps and cosignatures").

A witness signs the largest head of a log that it has seen, and none that does not continue the one before. So two
histories of one run cannot both be cosigned by the same witnesses.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Final

from polarchive.errors import FormatError, Reason
from polarchive.format.limits import MAX_COSIGNATURES
from polarchive.format.note import SIGNATURE_SIZE, SignatureLine, Signer, VerifierKey

TIME_SIZE: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_LATEST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _SECOND


@dataclass(frozen=True, slots=True)
class WitnessKey(VerifierKey):
    """Name the Ed25519 key of a witness the C2SP way; `str()` is the line to publish."""

    ALGORITHM: ClassVar[bytes] = b"\x04"


@dataclass(frozen=True, slots=True)
class Cosigned:
    """Say that a witness held a head for the largest of its log at `time`, a whole second by the witness's clock."""

    witness: WitnessKey
    time: datetime


def cosign(text: bytes, signer: Signer, time: datetime) -> bytes:
    """Return the line of a witness over a head's text, with its line end; fractions of a second are dropped."""
    key = WitnessKey(signer.key.name, signer.key.public)
    seconds = (time - _EPOCH) // _SECOND
    stamped = seconds.to_bytes(TIME_SIZE, "big") + signer.sign(_message(text, seconds))
    return f"{SignatureLine(key.name, key.id, stamped)}\n".encode()


def read(data: bytes, text: bytes, known: Iterable[WitnessKey], place: str = "cosignatures") -> tuple[Cosigned, ...]:
    """Return which of the `known` witnesses cosigned the head of this text, earliest first, each once.

    `data` is whole lines. FormatError if one is not well formed; SignatureError if one of a known witness does not
    verify. Those of others are ignored.
    """
    keys = tuple(known)
    found = [_checked(line, key, text, place) for line in lines(data, place) for key in keys if line.is_by(key)]
    return tuple(_once(sorted(found, key=lambda each: each.time)))


def lines(data: bytes, place: str = "cosignatures") -> tuple[SignatureLine, ...]:
    """Return signature lines, each once, whoever's they are; FormatError if one is not well formed."""
    if len(data) > MAX_COSIGNATURES:
        raise FormatError(Reason.LIMIT, place, f"{len(data)} bytes, at most {MAX_COSIGNATURES} are allowed")
    texts = data.decode(errors="replace").split("\n")
    if texts.pop():
        raise FormatError(Reason.COSIGNATURE, place, "the last line has no line end")
    return tuple(SignatureLine.parse(each, place, Reason.COSIGNATURE) for each in dict.fromkeys(texts))


def _checked(line: SignatureLine, key: WitnessKey, text: bytes, place: str) -> Cosigned:
    seconds = int.from_bytes(line.signature[:TIME_SIZE], "big")
    if len(line.signature) != TIME_SIZE + SIGNATURE_SIZE or seconds > _LATEST:
        raise FormatError(Reason.COSIGNATURE, place, f"not a time and a signature by {key.name}")
    key.check(_message(text, seconds), line.signature[TIME_SIZE:], place)
    return Cosigned(key, _EPOCH + seconds * _SECOND)


def _once(found: Iterable[Cosigned]) -> Iterator[Cosigned]:
    """Leave out what adds nothing to a quorum: a second key of one name, and a second name of one key.

    What is signed does not say the witness's name, so a line under one name is easily made one under another.
    """
    seen: set[str | bytes] = set()
    for each in found:
        if not seen & {each.witness.name, each.witness.public}:
            yield each
        seen |= {each.witness.name, each.witness.public}


def _message(text: bytes, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n".encode() + text
