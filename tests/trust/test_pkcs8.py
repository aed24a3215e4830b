"""Test private keys as files: openssl reads what is written here, and what it writes is read here."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import pytest
from asn1crypto import pem
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given

from polarchive.errors import PolError
from polarchive.trust import pkcs8

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
DER = pem.unarmor(pkcs8.write(PRIVATE))[2]
ED25519, ED448 = bytes((43, 101, 112)), bytes((43, 101, 113))  # object identifiers
LINES = st.binary(min_size=1, max_size=40).filter(lambda line: not set(line) & set(b"\0\n"))


def written(private: Ed25519PrivateKey, passphrase: bytes | None) -> bytes:
    """Write a key under a scrypt that takes no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pkcs8, "COST", 16)
        patch.setattr(pkcs8, "PASSES", 1)
        return pkcs8.write(private, passphrase)


def openssl(*arguments: str | Path, data: bytes | None = None) -> bytes:
    """Run openssl and return what it prints."""
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def public_of(path: Path, passphrase: str = "") -> bytes:
    """Return the 32 bytes of the public key that openssl derives from a private one."""
    return openssl("pkey", "-in", path, "-passin", f"pass:{passphrase}", "-pubout", "-outform", "DER")[-32:]


def raw(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


@pytest.mark.parametrize("passphrase", [None, "correct horse", "é–∞", "x" * pkcs8.MAX_PASSPHRASE])
def test_openssl_reads_what_is_written(passphrase: str | None, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(pkcs8.write(PRIVATE, passphrase.encode() if passphrase else None))
    assert public_of(tmp_path / "key", passphrase or "") == raw(PRIVATE)


def test_openssl_finds_pbes2_scrypt_and_aes(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(pkcs8.write(PRIVATE, b"secret"))
    seen = openssl("asn1parse", "-in", tmp_path / "key").decode()
    objects = [line.rpartition(":")[2].strip() for line in seen.splitlines() if "OBJECT" in line]
    numbers = [int(line.rpartition(":")[2], 16) for line in seen.splitlines() if "INTEGER" in line]
    assert objects == ["PBES2", "scrypt", "aes-256-cbc"] and numbers == [1 << 14, 8, 8]


def test_a_greater_cost_is_one_that_openssl_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkcs8, "COST", 2 * pkcs8.COST)
    (tmp_path / "key").write_bytes(pkcs8.write(PRIVATE, b"secret"))
    try:
        public_of(tmp_path / "key", "secret")
    except subprocess.CalledProcessError as refused:
        assert b"memory limit" in refused.stderr
    else:
        pytest.skip("this openssl would read more; those of most people do not")


@pytest.mark.parametrize(
    "options",
    [["-nocrypt"], ["-scrypt"], ["-v2", "aes-256-cbc"], ["-scrypt", "-scrypt_N", "1024", "-scrypt_p", "4"]],
    ids=" ".join,
)
def test_what_openssl_writes_is_read(options: list[str], tmp_path: Path) -> None:
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "plain")
    openssl("pkcs8", "-topk8", *options, "-in", tmp_path / "plain", "-out", tmp_path / "key", "-passout", "pass:secret")
    text = (tmp_path / "key").read_bytes()
    assert pkcs8.is_encrypted(text) == (options != ["-nocrypt"])
    assert raw(pkcs8.read(text, "key", b"secret")) == public_of(tmp_path / "plain")


@given(seed=st.binary(min_size=32, max_size=32), passphrase=st.none() | LINES)
def test_reading_inverts_writing(seed: bytes, passphrase: bytes | None) -> None:
    text = written(Ed25519PrivateKey.from_private_bytes(seed), passphrase)
    assert pkcs8.is_encrypted(text) == (passphrase is not None)
    assert pkcs8.read(text, "key", passphrase).private_bytes_raw() == seed


@given(passphrase=LINES, other=LINES)
def test_another_passphrase_never_reads(passphrase: bytes, other: bytes) -> None:
    if other != passphrase:
        with pytest.raises(PolError, match=r"^key: the passphrase is wrong, or the file damaged$"):
            pkcs8.read(written(PRIVATE, passphrase), "key", other)


def test_every_writing_is_salted_anew() -> None:
    assert len({written(PRIVATE, b"secret") for _ in range(10)}) == 10


def test_the_key_is_not_in_what_is_encrypted() -> None:
    body = b"".join(written(PRIVATE, b"secret").splitlines()[1:-1])
    assert PRIVATE.private_bytes_raw() not in base64.b64decode(body)


@pytest.mark.parametrize(
    "passphrase",
    [b"", b"x" * 1024, b"two\nlines", b"nul\0"],
    ids=["empty", "long", "lines", "nul"],
)
def test_a_passphrase_that_openssl_cannot_be_given_is_refused(passphrase: bytes) -> None:
    with pytest.raises(PolError, match="one line of 1 to 1023 bytes"):
        pkcs8.write(PRIVATE, passphrase)


@pytest.mark.parametrize("passphrase", [None, b"", b"Secret", b"secret ", b"x" * 5000])
def test_a_wrong_passphrase_is_said_to_be_wrong(passphrase: bytes | None) -> None:
    with pytest.raises(PolError, match=r"^key: the passphrase is wrong"):
        pkcs8.read(written(PRIVATE, b"secret"), "key", passphrase)


def other_keys() -> Iterator[tuple[str, bytes]]:
    """Yield what is no Ed25519 key in PKCS#8 PEM, with what is said of it."""
    openssh = serialization.PrivateFormat.OpenSSH
    yield "not a private key", b""
    yield "not a private key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    yield "not a private key", PRIVATE.private_bytes_raw()
    yield "not a private key", openssl("pkey", "-pubout", data=pkcs8.write(PRIVATE))
    yield "not a private key", pem.armor("PRIVATE KEY", DER.replace(ED25519, ED448))
    yield "not a private key", openssl("ecparam", "-genkey", "-name", "secp224k1")
    yield "not a private key", b"-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X,00\n\nAAAA\n"
    yield "not a private key", PRIVATE.private_bytes(serialization.Encoding.PEM, openssh, serialization.NoEncryption())
    yield "not an Ed25519 key", openssl("genpkey", "-algorithm", "x25519")
    yield "not an Ed25519 key", openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    yield "not an Ed25519 key", openssl("genpkey", "-algorithm", "ed448")


@pytest.mark.parametrize(("said", "text"), list(other_keys()))
def test_what_is_no_ed25519_key_is_refused_in_one_line(said: str, text: bytes) -> None:
    with pytest.raises(PolError, match=f"^key: {said}") as refused:
        pkcs8.read(text, "key")
    assert "\n" not in str(refused.value)
