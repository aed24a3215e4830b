"""Make, keep and read Ed25519 keys: a private PEM file, and beside it the public key as a line and as PEM."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from polarchive.errors import FormatError, PolError, Reason, SignatureError
from polarchive.format import disk
from polarchive.format.note import VerifierKey
from polarchive.trust import pkcs8
from polarchive.trust.access import require_private

SECRET_SIZE: Final = 32
PASSPHRASE: Final = "POLARC_PASSPHRASE"
Given: TypeAlias = str | bytes | Callable[[], str | bytes] | None


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


def save(signer: KeySigner, path: Path, passphrase: str | bytes | None = None) -> tuple[Path, Path, Path]:
    """Write PATH.key, PATH.pub and PATH.pub.pem, all or none; FileExistsError if there is one of them.

    They are the private key (PKCS#8 PEM, owner-only, encrypted if there is a passphrase), the C2SP verifier line for
    judges, and the same public key as other tools read it (SubjectPublicKeyInfo PEM).
    """
    private, public, pem = (path.with_name(path.name + suffix) for suffix in (".key", ".pub", ".pub.pem"))
    for target in (private, public, pem):
        if target.exists():
            raise FileExistsError(f"{target} exists already; a key is never overwritten")
    text = pkcs8.write(signer.private, None if passphrase is None else os.fsencode(passphrase))
    with ExitStack() as undo:
        _write_new(private, text, 0o600, undo)
        _write_new(public, f"{signer.key}\n".encode(), 0o644, undo)
        _write_new(pem, _pem(signer.key), 0o644, undo)
        disk.sync_folder(path.parent)
        undo.pop_all()
    return private, public, pem


def load_signer(path: str | Path, passphrase: Given = None) -> KeySigner:
    """Read the private key at `path` (NAME.key) and its name from NAME.pub beside it.

    An encrypted key takes `passphrase`, what that function returns (`getpass.getpass`), or what the environment
    variable POLARC_PASSPHRASE holds; nobody is asked here. PolError, with what to do, if there is none, if it is wrong,
    if the file holds no Ed25519 key, and, as with ssh, if it is yours and others have access to it.
    """
    path = Path(path)
    text, published = _read_private(path), load_verifier(path.with_suffix(".pub"))
    private = pkcs8.read(text, str(path), _passphrase(passphrase, path) if pkcs8.is_encrypted(text) else None)
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
    with ExitStack() as undo:
        _write_new(path, data, 0o600, undo)
        disk.sync_folder(path.parent)
        undo.pop_all()


def named(name: str, public: bytes) -> VerifierKey:
    """Return the verifier key of 32 bytes and a name; FormatError if judges would refuse either."""
    return VerifierKey.parse(str(VerifierKey(name, public)))


def _write_new(path: Path, data: bytes, mode: int, undo: ExitStack) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    try:
        with disk.Raw(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.append(data)
            disk.sync(file)
        os.link(temporary, path)  # which, unlike a rename, takes no other file's place
        undo.callback(path.unlink)
    finally:
        temporary.unlink(missing_ok=True)


def _read_private(path: Path) -> bytes:
    if path.name.endswith((".pub", ".pub.pem")):
        name = path.name.removesuffix(".pem").removesuffix(".pub")
        raise PolError(f"{path}: the public key, which signs nothing; give the private one, {path.with_name(name)}.key")
    with path.open("rb") as file:
        require_private(path, os.fstat(file.fileno()))
        return file.read()


def _passphrase(given: Given, path: Path) -> bytes:
    said = given() if callable(given) else given
    if said is None and not (said := os.environ.get(PASSPHRASE)):
        raise PolError(f"{path}: encrypted; give its passphrase in the environment variable {PASSPHRASE}")
    return os.fsencode(said)


def _pem(key: VerifierKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return Ed25519PublicKey.from_public_bytes(key.public).public_bytes(serialization.Encoding.PEM, form)


def _signer(name: str, private: Ed25519PrivateKey) -> KeySigner:
    return KeySigner(named(name, private.public_key().public_bytes_raw()), private)
