"""Find the certificate that a stamp was signed under (SPEC.md, "Stamps")."""

from hashlib import new
from typing import Any, Final

from asn1crypto.tsp import TimeStampResp
from cryptography.x509 import Certificate, InvalidVersion, load_der_x509_certificate

from polarchive.errors import Reason, StampError

_DIGESTS: Final = ("sha256", "sha384", "sha512")
_MALFORMED: Final = (ValueError, TypeError, LookupError, AttributeError, RecursionError, InvalidVersion)


def signer_of(raw: bytes, place: str = "stamp") -> Certificate:
    """Return the certificate under which the response `raw` was signed; StampError unless it is there, and once.

    No signature covers the certificates, nor the serial number that one of them is named by: only a digest of it, among
    what is signed, says which one it was. Whether it deserves belief is not asked.
    """
    try:
        signed = TimeStampResp.load(raw)["time_stamp_token"]["content"]
        (by,) = signed["signer_infos"]
        (own,) = (each.chosen for each in signed["certificates"] if _names(by["sid"].chosen, each.chosen))
        algorithm, digest = _covered(by)
        if new(algorithm, own.dump()).digest() == digest:
            return load_der_x509_certificate(own.dump())
    except _MALFORMED:
        pass
    raise StampError(Reason.STAMP_SIGNATURE, place, "it does not hold the one certificate that its signature covers")


def _names(name: Any, certificate: Any) -> bool:
    """Tell whether a certificate has this serial number and issuer, of which there may be many spellings."""
    same: bool = certificate.serial_number == name["serial_number"].native and certificate.issuer == name["issuer"]
    return same


def _covered(by: Any) -> tuple[str, bytes]:
    """Return the digest of a certificate that a signature covers, and how it is made (RFC 5816; RFC 2634: SHA-1)."""
    attributes = {each["type"].native: each["values"] for each in by["signed_attrs"]}
    if "signing_certificate_v2" not in attributes:
        return "sha1", attributes["signing_certificate"][0]["certs"][0]["cert_hash"].native
    first = attributes["signing_certificate_v2"][0]["certs"][0]
    algorithm = first["hash_algorithm"]["algorithm"].native
    return _DIGESTS[_DIGESTS.index(algorithm)], first["cert_hash"].native
