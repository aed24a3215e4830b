"""Encrypt an answer to a judge's key with age, for channels that others can read."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from polarchive.errors import PolError
from polarchive.format import disk
from polarchive.format.note import VerifierKey
from polarchive.trust.keys import KeySigner

SUFFIX: Final = ".age"


def seal(path: Path, target: Path, key: VerifierKey) -> None:
    """Encrypt the file at `path` into `target` so that only the holder of an Ed25519 key can read it."""
    public = Ed25519PublicKey.from_public_bytes(key.public)
    line = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    recipient = _age().ssh.Recipient.from_str(line)
    with disk.replacing(target) as file, path.open("rb") as source:
        _age().encrypt_io(source, file, [recipient])


@contextmanager
def unsealed(path: Path, signer: KeySigner) -> Iterator[Path]:
    """Decrypt a file for the time of the block; PolError if it is not encrypted to this key."""
    private = signer.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    with TemporaryDirectory() as folder:
        opened = Path(folder) / path.stem
        try:
            with path.open("rb") as source, opened.open("wb") as file:
                _age().decrypt_io(source, file, [_age().ssh.Identity.from_buffer(private)])
        except _age().DecryptError as error:
            raise PolError(f"{path}: cannot be decrypted with {signer.key.name}'s key: {error}") from None
        yield opened


def _age() -> Any:
    try:
        return import_module("pyrage")
    except ImportError:
        raise PolError("encryption needs age: pip install 'polarchive[age]'") from None
