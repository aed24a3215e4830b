"""Make, keep and read Ed25519 keys: a private PEM file and a one-line public file beside it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from polarchive.errors import FormatError, PolError, Reason, SignatureError
from polarchive.format import disk
from polarchive.format.note import VerifierKey

SECRET_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class KeySigner:
    """Sign with a private key in memory."""

    key: VerifierKey
    private: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`."""
        return self.private.sign(message)


def generate(name: str) -> KeySigner:
    """Make a fresh key; `name` is how its owner is known (no spaces, no plus), best a domain they control."""
    return _signer(name, Ed25519PrivateKey.generate())


def save(signer: KeySigner, path: Path) -> tuple[Path, Path]:
    """Write PATH.key (PKCS#8 PEM, owner-only) and PATH.pub (the C2SP verifier line); neither may exist."""
    private, public = path.with_name(path.name + ".key"), path.with_name(path.name + ".pub")
    pem = signer.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for target in (private, public):
        if target.exists():
            raise FileExistsError(f"{target} exists already; a key is never overwritten")
    write_private(private, pem)
    public.write_text(f"{signer.key}\n")
    return private, public


def load_signer(path: str | Path) -> KeySigner:
    """Read the private key at `path` (NAME.key) and its name from NAME.pub beside it."""
    path = Path(path)
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise FormatError(Reason.KEY, str(path), f"not an unencrypted PEM private key: {error}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise FormatError(Reason.KEY, str(path), "not an Ed25519 key")
    published = load_verifier(path.with_suffix(".pub"))
    signer = _signer(published.name, private)
    if signer.key != published:
        raise SignatureError(Reason.KEY, str(path), f"not the private half of {path.with_suffix('.pub')}")
    return signer


def load_verifier(path: str | Path) -> VerifierKey:
    """Read the verifier line at `path`."""
    path = Path(path)
    try:
        return VerifierKey.parse(path.read_text(encoding="ascii"), str(path))
    except UnicodeDecodeError:
        raise FormatError(Reason.KEY, str(path), "not a verifier key of the form name+hash+base64") from None


def read_secret(path: str | Path) -> bytes:
    """Read a run's 32-byte secret: one line of 64 hex digits."""
    try:
        secret = bytes.fromhex(Path(path).read_text(encoding="ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) != SECRET_SIZE:
        raise PolError(f"{path}: not a run's secret of 64 hex digits")
    return secret


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read, whole and durably; FileExistsError if there is one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    try:
        with disk.Raw(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.append(data)
            disk.sync(file)
        os.link(temporary, path)  # which, unlike a rename, takes no other file's place
    finally:
        temporary.unlink(missing_ok=True)
    disk.sync_folder(path.parent)


def _signer(name: str, private: Ed25519PrivateKey) -> KeySigner:
    raw = private.public_key().public_bytes_raw()
    key = VerifierKey(name, raw)
    return KeySigner(VerifierKey.parse(str(key)), private)
