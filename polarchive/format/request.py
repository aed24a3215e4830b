"""Spell what a judge asks a prover for, signed by the judge (SPEC.md, "Requests").

A challenge is 32 bytes. A request says what they are derived from and which segments and states they lead to: so a
prover need not know how a judge chooses, and who holds the archive can repeat it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from polarchive.errors import FormatError, Reason
from polarchive.format import fields as f
from polarchive.format.canonical import Json, decode, encode
from polarchive.format.challenge import NONCE_SIZE, derive
from polarchive.format.entry import VERSION
from polarchive.format.limits import MAX_ENTRIES
from polarchive.format.merkle import Digest
from polarchive.format.note import Head, Signer, VerifierKey
from polarchive.format.spelling import verifier_key

TAG: Final = b"polarchive/v1/request\x00"
MAX_REQUEST: Final = 16 << 20
PLACE: Final = "request"


@dataclass(frozen=True, slots=True)
class Request:
    """Ask for the batches of some segments of a run, and for some of its states.

    `selection` says how the segments follow from the challenge, `states` are those of them that are not stored;
    `issued` and `expires` are seconds since 1970.
    """

    run: bytes
    head: Head
    nonce: bytes
    selection: str
    segments: tuple[int, ...]
    states: tuple[int, ...]
    key: VerifierKey
    issued: int
    expires: int

    @property
    def challenge(self) -> Digest:
        """Return the 32 bytes that the segments were drawn with."""
        return derive(self.head.text, self.nonce)

    @property
    def substance(self) -> Digest:
        """Return the digest of all but the dates: what must not differ between two requests about one head."""
        dates = ("issued", "expires")
        return sha256(encode({name: item for name, item in _written(self).items() if name not in dates})).digest()


def sign(request: Request, signer: Signer) -> bytes:
    """Return the document of `request` under its judge's key; ValueError if `signer` has another."""
    if signer.key != request.key:
        raise ValueError(f"a request by {request.key.name}, not by {signer.key.name}")
    _read(_fields.write(request))
    body = _written(request)
    return encode({**body, "signature": signer.sign(TAG + encode(body)).hex()})


def open_request(document: bytes) -> Request:
    """Return the request that `document` states, signed by the key in it; whose key that is, its reader must ask."""
    value = decode(document, MAX_REQUEST, PLACE)
    if not isinstance(value, dict) or value.get("type") != "request":
        raise FormatError(Reason.FIELD, PLACE, "not a request")
    if value.get("version") != VERSION:
        raise FormatError(Reason.VERSION, PLACE, f"version {str(value.get('version'))[:40]}, not {VERSION}")
    signature = f.read(signature_hex, value.pop("signature", None), PLACE)
    body = {name: item for name, item in value.items() if name not in ("type", "version")}
    request = f.read(f.Codec(_fields.write, _read), body, PLACE)
    request.key.check(TAG + encode(value), signature, PLACE)
    return request


def digest(document: bytes) -> Digest:
    """Return the digest that names a request: SHA-256 of its document."""
    return sha256(document).digest()


def _written(request: Request) -> dict[str, Json]:
    value = _fields.write(request)
    assert isinstance(value, dict)
    return {"type": "request", "version": VERSION, **value}


def _read(value: Json) -> Request:
    request = _fields.read(value)
    if request.head.origin.rpartition("/")[2] != request.run.hex():
        raise ValueError("head: of another run")
    for name, indices in (("segments", request.segments), ("states", request.states)):
        if not _ascend(indices):
            raise ValueError(f"{name}: expected indices below {MAX_ENTRIES} in ascending order, each once")
    if not request.issued < request.expires:
        raise ValueError("expires: expected a time after it was issued")
    return request


def _ascend(indices: Sequence[int]) -> bool:
    return list(indices) == sorted(set(indices)) and all(index < MAX_ENTRIES for index in indices[-1:])


signature_hex: Final = f.hexadecimal(64)
head_fields: Final = f.fields(Head, origin=f.text, size=f.u64, root=f.digest)
_fields: Final = f.fields(
    Request,
    run=f.hexadecimal(16),
    head=head_fields,
    nonce=f.hexadecimal(NONCE_SIZE),
    selection=f.text,
    segments=f.sequence(f.u64, MAX_ENTRIES),
    states=f.sequence(f.u64, MAX_ENTRIES),
    key=verifier_key,
    issued=f.u64,
    expires=f.u64,
)
