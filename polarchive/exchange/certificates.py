"""Make the certificates by which two pinned Ed25519 keys recognise each other in TLS, without an authority.

Each side shows a leaf: a key made for this process, certified by its own long-lived key, which so may lie in an agent
or an HSM. The other side knows that long-lived key only, and makes a trust anchor of the same name and key for itself.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from polarchive.errors import SignatureError
from polarchive.format.note import Signer, VerifierKey

LIFETIME: Final = timedelta(days=1)
_ED25519: Final = bytes.fromhex("300506032b6570")  # AlgorithmIdentifier of RFC 8410
_BIT_STRING: Final = bytes.fromhex("034100")
_SEQUENCE: Final = bytes.fromhex("3082")


@dataclass(frozen=True, slots=True)
class Leaf:
    """Hold a certificate and its private key as PEM, and when to make the next."""

    pem: bytes
    until: datetime


def leaf(signer: Signer, now: datetime) -> Leaf:
    """Make a key and certify it under `signer`, for a day and what two clocks may differ by."""
    private = Ed25519PrivateKey.generate()
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = _builder("leaf", _issuer(signer.key), private.public_key(), now, ca=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    body = builder.sign(Ed25519PrivateKey.generate(), None).tbs_certificate_bytes  # `signer` signs bytes, no builders
    signed = body + _ED25519 + _BIT_STRING + signer.sign(body)
    der = _SEQUENCE + len(signed).to_bytes(2, "big") + signed
    certificate = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Leaf(certificate + key, now + LIFETIME)


def anchor(key: VerifierKey, now: datetime) -> bytes:
    """Return the DER of a trust anchor for `key`, whose own signature means nothing and is checked by nobody."""
    public = Ed25519PublicKey.from_public_bytes(key.public)
    builder = _builder(_issuer(key), _issuer(key), public, now, ca=True)
    return builder.sign(Ed25519PrivateKey.generate(), None).public_bytes(Encoding.DER)


def is_by(key: VerifierKey, certificate: bytes) -> bool:
    """Tell whether `key` certified the leaf of this DER."""
    shown = x509.load_der_x509_certificate(certificate)
    try:
        key.check(shown.tbs_certificate_bytes, shown.signature, "certificate")
    except SignatureError:
        return False
    return shown.issuer == _name(_issuer(key))


def _builder(
    subject: str, issuer: str, public: Ed25519PublicKey, now: datetime, *, ca: bool
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer)).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - LIFETIME).not_valid_after(now + 2 * LIFETIME)
    return builder.add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)


def _issuer(key: VerifierKey) -> str:
    return f"polarchive {sha256(key.public).hexdigest()[:40]}"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
