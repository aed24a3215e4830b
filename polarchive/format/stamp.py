"""Ask for and check timestamps: RFC 3161 tokens over heads (SPEC.md, "Stamps")."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from asn1crypto.tsp import TimeStampResp, TSTInfo
from cryptography.x509 import Certificate
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerifierBuilder,
    decode_timestamp_response,
)

from polarchive.errors import FormatError, Reason, StampError
from polarchive.format.certificate import signer_of
from polarchive.format.limits import MAX_STAMP
from polarchive.format.merkle import Digest

RENEWAL: Final = b"polarchive/v1/renewal\0"
SHA256: Final = "2.16.840.1.101.3.4.2.1"
YEARS: Final = range(2, 9999)  # in which any accuracy can be added to a time, or taken from it
_GRANTED: Final = 0
_MALFORMED: Final = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
_EXPIRED: Final = re.compile("certificate (has expired|is not yet valid)")
_UNKNOWN: Final = re.compile(
    "unable to get|self.signed certificate|unable to verify the first|certificate signature|at least one root"
)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Hold what a timestamp response says; that it was granted is all that is known of it before `check`.

    `accuracy` is None where the token states none; `digest` is what an entry's `not_before` names.
    """

    raw: bytes
    imprint: Digest
    time: datetime
    accuracy: timedelta | None
    policy: str
    serial: int
    nonce: int | None
    response: TimeStampResponse

    @property
    def digest(self) -> Digest:
        """Return the SHA-256 of the response."""
        return sha256(self.raw).digest()


def request(message: bytes) -> tuple[bytes, int]:
    """Return a request for a stamp over `message`, DER, and the nonce in it; the certificates are asked for too."""
    builder = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256)
    made = builder.nonce(nonce=True).cert_request(cert_request=True).build()
    assert made.nonce is not None
    return made.as_bytes(), made.nonce


def covered(note: bytes, earlier: Sequence[bytes] = ()) -> bytes:
    """Return what is stamped for a head: its note; in a renewal the note and all earlier stamps over that head."""
    return RENEWAL + b"".join(map(prefixed, (note, *earlier))) if earlier else note


def prefixed(part: bytes) -> bytes:
    """Return a part of what a renewal is over: its length as u64, then the part."""
    return len(part).to_bytes(8, "big") + part


def read(raw: bytes, place: str = "stamp") -> Stamp:
    """Return what the response `raw` says; StampError if it is none, or one that refuses."""
    if len(raw) > MAX_STAMP:
        raise FormatError(Reason.LIMIT, place, f"a stamp of {len(raw)} bytes, at most {MAX_STAMP} are allowed")
    response = _decoded(raw, place)
    if response.status != _GRANTED:
        said = _plain("; ".join(response.status_string))
        raise StampError(Reason.STAMP_REFUSED, place, f"the authority's status is {response.status}: {said}")
    try:
        return _said(raw, response)
    except _MALFORMED as error:
        raise StampError(Reason.STAMP, place, f"not a well-formed timestamp token: {_plain(str(error))}") from None


def check(
    stamp: Stamp,
    over: Digest,
    roots: Sequence[Certificate],
    *,
    policies: Collection[str] = (),
    nonce: int | None = None,
    place: str = "stamp",
) -> None:
    """Raise StampError unless `stamp` has this imprint, by an authority under one of `roots`, valid at its time.

    `policies` are those accepted, any if there are none; `nonce` is that of the request it must answer.
    """
    require_over(stamp, over, place)
    if nonce is not None and stamp.nonce != nonce:
        raise StampError(Reason.STAMP_NONCE, place, "the answer to another request")
    if policies and stamp.policy not in policies:
        raise StampError(Reason.STAMP_POLICY, place, f"policy {_plain(stamp.policy)} is none that is accepted")
    signer_of(stamp.raw, place)
    try:
        VerifierBuilder(roots=list(roots)).build().verify(stamp.response, over)
    except Exception as error:  # of a certificate that is malformed, anything
        raise StampError(_reason(str(error)), place, _detail(str(error))) from None


def require_over(stamp: Stamp, over: Digest, place: str = "stamp") -> None:
    """Raise StampError unless `stamp` has this imprint; who made it is not asked."""
    if stamp.imprint != over:
        raise StampError(Reason.STAMP_IMPRINT, place, "it is over something else than this head")


def _decoded(raw: bytes, place: str) -> TimeStampResponse:
    try:
        return decode_timestamp_response(raw)
    except ValueError as error:
        first = str(error)
    try:
        return decode_timestamp_response(_sorted(raw))
    except _MALFORMED:
        raise StampError(Reason.STAMP, place, f"not a timestamp response: {_plain(first)}") from None


def _sorted(raw: bytes) -> bytes:
    """Return a response with its certificates in the order of DER, which authorities that send a chain do not keep.

    No signature covers that set. Nothing else is written anew: who forgives more hides what there was to forgive.
    """
    certificates = TimeStampResp.load(raw, strict=True)["time_stamp_token"]["content"]["certificates"]
    before, *after = raw.split(certificates.contents)
    return before + b"".join(sorted(each.dump() for each in certificates)) + after[0] if len(after) == 1 else raw


def _said(raw: bytes, response: TimeStampResponse) -> Stamp:
    info = response.tst_info
    if info.message_imprint.hash_algorithm.dotted_string != SHA256:
        raise ValueError("the hash algorithm is not SHA-256")
    time, accuracy = _times(info)
    return Stamp(
        raw=raw,
        imprint=bytes(info.message_imprint.message),
        time=time,
        accuracy=accuracy,
        policy=info.policy.dotted_string,
        serial=info.serial_number,
        nonce=info.nonce,
        response=response,
    )


def _times(info: Any) -> tuple[datetime, timedelta | None]:
    """Return time and accuracy; `info` would drop fractions of a second, and take an accuracy too large for none."""
    read = TSTInfo.load(info.as_bytes())
    time, accuracy = read["gen_time"].native, _duration(read["accuracy"].native)
    room = accuracy or timedelta()
    if (time - room).year not in YEARS or (time + room).year not in YEARS:
        raise ValueError("a time at the end of the calendar")
    return time, accuracy


def _duration(stated: Mapping[str, int | None] | None) -> timedelta | None:
    if stated is None:
        return None
    seconds, millis, micros = (stated[part] or 0 for part in ("seconds", "millis", "micros"))
    return timedelta(seconds=seconds, milliseconds=millis, microseconds=micros)


def _reason(error: str) -> Reason:
    """Return why a library's check failed; its own words are all it tells."""
    if _EXPIRED.search(error):
        return Reason.STAMP_EXPIRED
    if _UNKNOWN.search(error):
        return Reason.STAMP_ROOT
    purpose = "EKU" in error or "purpose" in error
    return Reason.STAMP_PURPOSE if purpose else Reason.STAMP_SIGNATURE


def _detail(error: str) -> str:
    found = re.search('Verify error: ?([^"]*)"', error) or re.search('reason: "([^"]*)"', error)
    return _plain(found.group(1) if found else error)


def _plain(text: str) -> str:
    """Return what others wrote so that it can be shown: in one line, and not long."""
    return re.sub("[^ -~]", "?", text[:200])
