"""Write and read Ed25519 private keys as PKCS#8 PEM, as openssl does, with or without a passphrase.

`cryptography` reads PKCS#8 under scrypt but does not write it: its own choice, PBKDF2 of 2,048 rounds, hardly slows a
guesser down. So what goes around the encrypted key (PBES2 of RFC 8018, with scrypt of RFC 7914) is written here.
"""

import os
from typing import ClassVar, Final

from asn1crypto import algos, core, pem
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from polarchive.errors import PolError

# openssl gives scrypt 32 MiB and has no option for more, so N = 2^14 is the most it reads at r = 8. The rest is made up
# in passes: 8 of them are the work of N = 2^17, a third of a second.
COST: Final = 1 << 14
BLOCK: Final = 8
PASSES: Final = 8
MAX_PASSPHRASE: Final = 1023  # bytes that openssl and cryptography take
_LABEL: Final = "ENCRYPTED PRIVATE KEY"
_PBES2: Final = "1.2.840.113549.1.5.13"
_SCRYPT: Final = "1.3.6.1.4.1.11591.4.11"


class _Sequence(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """Stand for the sequences with scrypt inside, which asn1crypto does not know."""


class _Scrypt(_Sequence):
    _fields: ClassVar = [("salt", core.OctetString), *((name, core.Integer) for name in ("cost", "block", "passes"))]


class _Derivation(_Sequence):
    _fields: ClassVar = [("algorithm", core.ObjectIdentifier), ("parameters", _Scrypt)]


class _Pbes2(_Sequence):
    _fields: ClassVar = [("derivation", _Derivation), ("cipher", algos.EncryptionAlgorithm)]


class _Scheme(_Sequence):
    _fields: ClassVar = [("algorithm", core.ObjectIdentifier), ("parameters", _Pbes2)]


class _Encrypted(_Sequence):
    _fields: ClassVar = [("scheme", _Scheme), ("data", core.OctetString)]


def write(private: Ed25519PrivateKey, passphrase: bytes | None = None) -> bytes:
    """Return the PEM of a private key, encrypted if there is a passphrase; PolError if that is not one line."""
    form = serialization.Encoding.PEM if passphrase is None else serialization.Encoding.DER
    plain = private.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return plain if passphrase is None else _encrypted(plain, passphrase)


def read(text: bytes, place: str, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """Return the private key that a PEM holds; PolError if there is none, or the passphrase is wrong.

    The passphrase of a key that is not encrypted is not looked at.
    """
    encrypted = is_encrypted(text)
    try:
        private = serialization.load_pem_private_key(text, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):  # the last for an Ed448 key of 32 bytes
        why = "the passphrase is wrong, or the file damaged" if encrypted else "not a private key in PKCS#8 PEM"
        raise PolError(f"{place}: {why}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise PolError(f"{place}: not an Ed25519 key; polarc keygen makes one")
    return private


def is_encrypted(text: bytes) -> bool:
    """Tell whether reading a PEM takes a passphrase."""
    return f"-----BEGIN {_LABEL}-----".encode() in text


def _encrypted(plain: bytes, passphrase: bytes) -> bytes:
    if not 0 < len(passphrase) <= MAX_PASSPHRASE or set(passphrase) & set(b"\0\n"):
        raise PolError(f"a passphrase is one line of 1 to {MAX_PASSPHRASE} bytes")
    salt, start = os.urandom(16), os.urandom(16)
    key = Scrypt(salt, 32, COST, BLOCK, PASSES).derive(passphrase)
    padder, cipher = padding.PKCS7(128).padder(), Cipher(algorithms.AES256(key), modes.CBC(start)).encryptor()
    data = cipher.update(padder.update(plain) + padder.finalize()) + cipher.finalize()
    scrypt = {"salt": salt, "cost": COST, "block": BLOCK, "passes": PASSES}
    pbes2 = {
        "derivation": {"algorithm": _SCRYPT, "parameters": scrypt},
        "cipher": {"algorithm": "aes256_cbc", "parameters": start},
    }
    structure = _Encrypted({"scheme": {"algorithm": _PBES2, "parameters": pbes2}, "data": data})
    return bytes(pem.armor(_LABEL, structure.dump()))
