"""Be a timestamp authority whose clock, root, certificate and answers can be set: what `openssl ts` cannot do.

Its tokens are what openssl would make: `tests/format/test_stamp.py` has `openssl ts -verify` accept them. Keys come
from the authority's name and signatures are those of RFC 6979, so the same authority gives the same bytes, today and
tomorrow. A hook changes one part of a token, and all that lies around it is then made honestly.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from asn1crypto import cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

T = TypeVar("T")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
YEARS = timedelta(days=3650)


def hours(count: float) -> datetime:
    """Return the time so many hours after the tests' beginning of time."""
    return EPOCH + timedelta(hours=count)


def as_is(part: T) -> T:
    """Return a part of a token as it is."""
    return part


def key_of(name: str) -> ec.EllipticCurvePrivateKey:
    """Return the private key that everyone of this name has."""
    return ec.derive_private_key(int.from_bytes(sha256(name.encode()).digest(), "big") >> 1, ec.SECP256R1())


@dataclass(frozen=True)
class Authority:
    """Answer requests at `time`; a field other than its default is the fault, or the circumstance, it names."""

    name: str = "authority.example"
    time: datetime = EPOCH
    accuracy: float | None = 1
    policy: str = "1.2.3.4.1"
    begins: datetime = EPOCH - YEARS
    ends: datetime = EPOCH + YEARS
    critical: bool = True
    purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.TIME_STAMPING
    other_purposes: tuple[x509.ObjectIdentifier, ...] = ()
    usage: str = "digital_signature"
    above: "Authority | None" = None  # whose root has certified this one's, which then is none
    chain: bool = False  # sends its root too, in an order that DER does not allow
    nonce_off_by: int = 0
    info: Callable[[dict[str, Any]], dict[str, Any]] = as_is  # the fields of what is signed
    attributes: Callable[[list[Any]], list[Any]] = as_is  # what is signed beside it
    signers: Callable[[list[Any]], list[Any]] = as_is
    certificates: Callable[[list[bytes]], list[bytes]] = as_is  # which are sent, in that order
    key: ec.EllipticCurvePrivateKey = field(default=None)  # type: ignore[assignment]
    root_key: ec.EllipticCurvePrivateKey = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for own, name in (("key", self.name), ("root_key", f"root of {self.name}")):
            object.__setattr__(self, own, getattr(self, own) or key_of(name))

    def at(self, time: datetime) -> "Authority":
        """Return the same authority with its clock at `time`."""
        return replace(self, time=time)

    @cached_property
    def root(self) -> x509.Certificate:
        by = self.above or self
        usage = _usage("key_cert_sign", "crl_sign")
        builder = _builder(f"root of {self.name}", f"root of {by.name}", self.root_key, EPOCH - YEARS, EPOCH + YEARS)
        builder = builder.add_extension(x509.BasicConstraints(True, None), True).add_extension(usage, True)
        return builder.sign(by.root_key, hashes.SHA256(), ecdsa_deterministic=True)

    @cached_property
    def certificate(self) -> x509.Certificate:
        usage = _usage(*self.usage.split())
        builder = _builder(self.name, f"root of {self.name}", self.key, self.begins, self.ends)
        builder = builder.add_extension(x509.BasicConstraints(False, None), True).add_extension(usage, True)
        if self.purpose:
            purposes = x509.ExtendedKeyUsage([self.purpose, *self.other_purposes])
            builder = builder.add_extension(purposes, self.critical)
        return builder.sign(self.root_key, hashes.SHA256(), ecdsa_deterministic=True)

    def save_root(self, path: Path) -> Path:
        """Write the root as PEM."""
        path.write_bytes(self.root.public_bytes(serialization.Encoding.PEM))
        return path

    def answer(self, request: bytes) -> bytes:
        """Return the response to a request."""
        asked = tsp.TimeStampReq.load(request)
        nonce = asked["nonce"].native
        return self.stamp(asked["message_imprint"]["hashed_message"].native, None if nonce is None else nonce)

    def over(self, message: bytes) -> bytes:
        """Return the response that stamps a message."""
        return self.stamp(sha256(message).digest(), None)

    def stamp(self, imprint: bytes, nonce: int | None, status: str = "granted", said: str = "") -> bytes:
        """Return the response of this status, in words too, that has a token over an imprint."""
        info: dict[str, Any] = {
            "version": "v1",
            "policy": self.policy,
            "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": imprint},
            "serial_number": int.from_bytes(sha256(imprint + str(self.time).encode()).digest()[:8], "big") or 1,
            "gen_time": self.time,
        }
        if self.accuracy is not None:
            info["accuracy"] = _accuracy(self.accuracy)
        if nonce is not None:
            info["nonce"] = nonce + self.nonce_off_by
        return self.around(tsp.TSTInfo(self.info(info)).dump(), status, said)

    def around(self, content: bytes, status: str = "granted", said: str = "") -> bytes:
        """Return the response whose token has this content, whatever it is, signed as if it were in order."""
        response = {"status": _status(status, said), "time_stamp_token": self._signed(content)}
        dumped: bytes = tsp.TimeStampResp(response).dump()
        return dumped

    def refusal(self, said: str = "") -> bytes:
        """Return the response of an authority that does not grant the request."""
        status = _status("rejection", said).dump()
        return bytes([0x30, len(status), *status])  # asn1crypto holds that every response has a token

    def _signed(self, content: bytes) -> cms.ContentInfo:
        own, root = (each.public_bytes(serialization.Encoding.DER) for each in (self.certificate, self.root))
        attributes = [
            cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [sha256(content).digest()]}),
            cms.CMSAttribute({"type": "signing_certificate_v2", "values": [certified(own)]}),
        ]
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [{"algorithm": "sha256"}],
                "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
                "signer_infos": self.signers([self._signer(own, self.attributes(attributes))]),
            }
        )
        sent = self.certificates(sorted([own, root], reverse=True) if self.chain else [own])
        if sent:
            signed["certificates"] = _as_given(sent)
        return cms.ContentInfo({"content_type": "signed_data", "content": signed})

    def _signer(self, own: bytes, attributes: list[Any]) -> dict[str, Any]:
        certificate, covered = asn1_x509.Certificate.load(own), cms.CMSAttributes(attributes)
        how = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        return {
            "version": "v1",
            "sid": {
                "issuer_and_serial_number": {
                    "issuer": certificate.issuer,
                    "serial_number": certificate.serial_number,
                }
            },
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": covered,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": self.key.sign(covered.dump(), how),
        }


def _builder(
    subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
    serial = 1 if subject == issuer else 2
    return builder.public_key(key.public_key()).serial_number(serial).not_valid_before(begins).not_valid_after(ends)


def certified(certificate: bytes) -> tsp.SigningCertificateV2:
    """Return the attribute that names a certificate by its digest."""
    return tsp.SigningCertificateV2({"certs": [{"cert_hash": sha256(certificate).digest()}]})


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*allowed: str) -> x509.KeyUsage:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
    )
    return x509.KeyUsage(**{each: each in allowed for each in every.split()}, encipher_only=False, decipher_only=False)


def _status(word: str, said: str) -> tsp.PKIStatusInfo:
    return tsp.PKIStatusInfo({"status": word, **({"status_string": [said]} if said else {})})


def _accuracy(seconds: float) -> dict[str, int]:
    whole, rest = divmod(round(seconds * 10**6), 10**6)
    parts = {"seconds": whole, "millis": rest // 1000, "micros": rest % 1000}
    return {part: count for part, count in parts.items() if count or part == "seconds"}


def _as_given(certificates: list[bytes]) -> cms.CertificateSet:
    """Return a set that is not put in order when it is written."""
    body = b"".join(certificates)
    head = bytes([0x31]) + (bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big"))
    loaded: cms.CertificateSet = cms.CertificateSet.load(head + body)
    return loaded
