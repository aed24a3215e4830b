"""Sign with a key that is held elsewhere, through any signer of securesystemslib that has an Ed25519 key.

That package is not imported: what it calls a signer is known by its shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from polarchive.errors import PolError
from polarchive.format.note import VerifierKey
from polarchive.trust import keys

ED25519: Final = ("ed25519", "ed25519")  # securesystemslib's names of a type of key and a scheme to sign with it


class ForeignKey(Protocol):
    """Describe a key as securesystemslib does."""

    @property
    def keytype(self) -> str:
        """Return the type of key."""

    @property
    def scheme(self) -> str:
        """Return how it signs."""

    @property
    def keyval(self) -> Mapping[str, Any]:
        """Return the key; of an Ed25519 key, `public` is its 32 bytes in hex."""


class ForeignSignature(Protocol):
    """Hold a signature as securesystemslib does."""

    @property
    def signature(self) -> str:
        """Return the signature in hex."""


class ForeignSigner(Protocol):
    """Sign as securesystemslib does."""

    @property
    def public_key(self) -> ForeignKey:
        """Return the public half."""

    def sign(self, payload: bytes, /) -> ForeignSignature:
        """Return the signature of `payload`."""


@dataclass(frozen=True, slots=True)
class ExternalSigner:
    """Sign with a key that stays where it is."""

    key: VerifierKey
    foreign: ForeignSigner

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`; SignatureError if it is not this key's."""
        signature = bytes.fromhex(self.foreign.sign(message).signature)
        self.key.check(message, signature, "signer")  # a key that was rotated is told of now, not by the first judge
        return signature


def from_securesystemslib(signer: ForeignSigner, name: str) -> ExternalSigner:
    """Return the signer that signs as `name` with a securesystemslib signer's key; PolError if it is not Ed25519."""
    key = signer.public_key
    if (key.keytype, key.scheme) != ED25519:
        raise PolError(f"{name}: a key of type {key.keytype}, scheme {key.scheme}; only Ed25519 signs archives")
    try:
        public = bytes.fromhex(key.keyval["public"])
    except ValueError:
        raise PolError(f"{name}: the signer's public key is not hex") from None
    return ExternalSigner(keys.named(name, public), signer)
