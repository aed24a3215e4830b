"""Read and check stamps of polarchive/v1, written from SPEC.md and its RFCs alone: see `independent_reader`."""

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from asn1crypto import cms, core, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from tests.independent_coding import Refused, need, sha256

MALFORMED = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
SIGNING = {"digital_signature", "content_commitment"}
USAGES = {*SIGNING, "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign"}


@dataclass
class Said:
    imprint: bytes
    time: datetime
    accuracy: timedelta | None
    policy: str
    nonce: int | None
    content: bytes
    signed: Any


def walk(data: bytes) -> None:
    """Refuse lengths that are indefinite, too long, or spelled in more bytes than they need."""
    at = 0
    while at < len(data):
        tag, size, start = data[at], data[at + 1], at + 2
        if size >= 128:
            start += size % 128
            size = int.from_bytes(data[at + 2 : start], "big")
            need(size >= 128 and data[at + 2], "stamp")
        need(start + size <= len(data), "stamp")
        if tag & 0x20:
            walk(data[start : start + size])
        at = start + size


def read_stamp(raw: bytes) -> Said:
    need(len(raw) <= 65_536, "limit")
    try:
        walk(raw)
        status, *token = core.SequenceOf.load(raw, spec=core.Any, strict=True)
        need(tsp.PKIStatusInfo.load(status.dump())["status"].native == "granted", "stamp-refused")
        return read_token(cms.ContentInfo.load(token[0].dump())["content"])
    except MALFORMED:
        raise Refused("stamp") from None


def read_token(signed: Any) -> Said:
    inner = signed["encap_content_info"]
    need(inner["content_type"].native == "tst_info", "stamp")
    info = inner["content"].parsed
    need(info["message_imprint"]["hash_algorithm"]["algorithm"].native == "sha256", "stamp")
    need(re.fullmatch(rb"\d{14}(\.\d*[1-9])?Z", info["gen_time"].contents), "stamp")
    time, accuracy = info["gen_time"].native, info["accuracy"].native
    if accuracy is not None:
        seconds, millis, micros = (accuracy[part] or 0 for part in ("seconds", "millis", "micros"))
        need(seconds >= 0 and 0 <= millis < 1000 and 0 <= micros < 1000, "stamp")
        accuracy = timedelta(seconds=seconds, milliseconds=millis, microseconds=micros)
    room = accuracy or timedelta()
    need((time - room).year > 1 and (time + room).year < 9999, "stamp")
    imprint = info["message_imprint"]["hashed_message"].native
    return Said(imprint, time, accuracy, info["policy"].dotted, info["nonce"].native, bytes(inner["content"]), signed)


def read_stamps(note: bytes, members: list[tuple[str, bytes]]) -> None:
    """Read all stamps over one head, in order of name."""
    renewed = b"polarchive/v1/renewal\0" + len(note).to_bytes(8, "big") + note
    for number, (name, raw) in enumerate(members):
        need(int(name[-7:-4]) == number, "member")
        imprint = read_stamp(raw).imprint
        need(imprint == sha256(note) or (number and imprint == sha256(renewed)), "stamp-imprint")
        renewed += len(raw).to_bytes(8, "big") + raw


def check_stamp(said: Said, over: bytes, held: list[x509.Certificate], policies: list[str], nonce: int | None) -> None:
    need(said.imprint == over, "stamp-imprint")
    need(nonce in (None, said.nonce), "stamp-nonce")
    need(not policies or said.policy in policies, "stamp-policy")
    try:
        (by,) = said.signed["signer_infos"]
        sent = [x509.load_der_x509_certificate(each.dump()) for each in said.signed["certificates"]]
        name = by["sid"].chosen
        issuer, serial = name["issuer"].dump(), name["serial_number"].native
        (own,) = (each for each in sent if (each.issuer.public_bytes(), each.serial_number) == (issuer, serial))
        signed = {each["type"].native: each["values"][0] for each in by["signed_attrs"]}
        need(covers(signed, own), "stamp-signature")
    except MALFORMED:
        raise Refused("stamp-signature") from None
    chain = chain_of(own, sent, held)
    need(is_for_stamping(own), "stamp-purpose")
    need(all(each.not_valid_before_utc <= said.time < each.not_valid_after_utc for each in chain), "stamp-expired")
    digest = hashlib.new(by["digest_algorithm"]["algorithm"].native, said.content).digest()
    need(signed["message_digest"].native == digest, "stamp-signature")
    verify(own, by)


def covers(signed: dict[str, Any], own: x509.Certificate) -> bool:
    if "signing_certificate_v2" not in signed:
        return bool(signed["signing_certificate"]["certs"][0]["cert_hash"].native == own.fingerprint(hashes.SHA1()))
    first = signed["signing_certificate_v2"]["certs"][0]
    algorithm = HASHES[first["hash_algorithm"]["algorithm"].native]
    return bool(first["cert_hash"].native == own.fingerprint(algorithm))


def chain_of(
    own: x509.Certificate, sent: list[x509.Certificate], held: list[x509.Certificate]
) -> list[x509.Certificate]:
    """Return the certificates from one up to a root that is held."""
    chain = [own]
    while chain[-1] not in held or chain[-1].issuer != chain[-1].subject:
        above = next((each for each in held + sent if issued(chain[-1], each)), None)
        need(above is not None and above not in chain, "stamp-root")
        chain.append(above)
    return chain


def issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    with suppress(ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        certificate.verify_directly_issued_by(by)
        return bool(by.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    return False


def is_for_stamping(own: x509.Certificate) -> bool:
    found = {each.oid: each for each in own.extensions}
    purpose, usage = found.get(x509.ExtendedKeyUsage.oid), found.get(x509.KeyUsage.oid)
    alone = purpose is not None and list(purpose.value) == [x509.ExtendedKeyUsageOID.TIME_STAMPING]
    used = {each for each in USAGES if usage is None or getattr(usage.value, each)}
    return alone and purpose.critical and (usage is None or (used and used <= SIGNING))


def verify(own: x509.Certificate, by: Any) -> None:
    signature, covered = by["signature"].native, by["signed_attrs"].untag().dump()
    algorithm, key = HASHES[by["digest_algorithm"]["algorithm"].native], own.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, covered, ec.ECDSA(algorithm))
        else:
            key.verify(signature, covered, padding.PKCS1v15(), algorithm)  # type: ignore[union-attr, call-arg, arg-type]
    except InvalidSignature:
        raise Refused("stamp-signature") from None
