"""Test that keys held elsewhere sign runs: by securesystemslib's local signer, and by a program that holds the key."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

import polarchive as pol
from polarchive.errors import FormatError, PolError, SignatureError
from polarchive.format.note import Signer, VerifierKey
from polarchive.trust import keys
from polarchive.trust.external import ForeignSigner, from_securesystemslib
from tests.simulator import STRANGER, Simulation
from tests.trust.test_pkcs8 import openssl, public_of

NAME = "kms.example"


@dataclass(frozen=True)
class Agent:
    """Sign with a key that only another program reads."""

    path: Path

    @property
    def key(self) -> VerifierKey:
        return keys.named("agent.example", public_of(self.path))

    def sign(self, message: bytes) -> bytes:
        (self.path.parent / "message").write_bytes(message)
        return openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", self.path.parent / "message")


@dataclass(frozen=True)
class Faulty:
    """Sign as a securesystemslib signer does, but for one fault."""

    public_key: SSlibKey
    signed: bytes

    def sign(self, payload: bytes) -> Signature:
        return Signature(self.public_key.keyid, self.signed.hex())


def kms(folder: Path) -> Signer:
    return from_securesystemslib(CryptoSigner.generate_ed25519(), NAME)


def agent(folder: Path) -> Signer:
    openssl("genpkey", "-algorithm", "ed25519", "-out", folder / "agent.pem")
    return Agent(folder / "agent.pem")


@pytest.mark.parametrize("made", [kms, agent])
@pytest.mark.parametrize("background", [False, True])
def test_a_run_signed_elsewhere_opens(made: Any, background: bool, tmp_path: Path) -> None:
    signer, weight = made(tmp_path), torch.zeros(3)
    settings = {"every": 1, "signer": signer, "background": background}
    with pol.Writer(tmp_path / "run", pol.TorchTrainer(weight=weight), **settings) as log:
        for _ in range(2):
            log.record(torch.ones(1))
            weight += 1
    pol.pack(tmp_path / "run", tmp_path / "run.pol")
    with pol.open(tmp_path / "run.pol", trusted=[signer.key]) as archive:
        archive.seal()
        assert archive.header.key == signer.key and len(archive.segments) == 2
    with pytest.raises(SignatureError):
        pol.open(tmp_path / "run.pol", trusted=[STRANGER.key])


def test_a_key_of_securesystemslib_is_read_from_its_file(tmp_path: Path) -> None:
    signer = keys.generate(NAME)
    private, *_ = keys.save(signer, tmp_path / "kms")
    public = SSlibKey.from_crypto(signer.private.public_key())
    external = from_securesystemslib(CryptoSigner.from_priv_key_uri(f"file2:{private}", public), NAME)
    assert external.key == signer.key and external.sign(b"message") == signer.sign(b"message")
    Simulation(signer=external).seal(tmp_path / "external.pol")
    Simulation(signer=signer).seal(tmp_path / "local.pol")
    assert (tmp_path / "external.pol").read_bytes() == (tmp_path / "local.pol").read_bytes()


@pytest.mark.parametrize("generate", ["rsa", "ecdsa"])
def test_a_key_of_another_kind_is_refused(generate: str) -> None:
    signer = getattr(CryptoSigner, f"generate_{generate}")()
    with pytest.raises(PolError, match=rf"^kms.example: a key of type {generate}, .* only Ed25519 signs archives$"):
        from_securesystemslib(signer, NAME)


def test_an_ed25519_key_for_another_scheme_is_refused() -> None:
    public = CryptoSigner.generate_ed25519().public_key
    public.scheme = "ed25519ph"
    with pytest.raises(PolError, match="scheme ed25519ph"):
        from_securesystemslib(Faulty(public, b""), NAME)


@pytest.mark.parametrize("raw", ["00" * 32, "", "00" * 31, "no hex"], ids=["weak", "empty", "short", "no hex"])
def test_a_public_key_that_is_none_is_refused(raw: str) -> None:
    public = SSlibKey("id", "ed25519", "ed25519", {"public": raw})
    with pytest.raises(PolError):
        from_securesystemslib(Faulty(public, b""), NAME)


@pytest.mark.parametrize("name", ["", "two words", "plus+plus", "é"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        from_securesystemslib(CryptoSigner.generate_ed25519(), name)


@pytest.mark.parametrize("signed", [b"", bytes(63), bytes(64), bytes(65)], ids=len)
def test_a_signature_that_is_none_is_told_of_at_once(signed: bytes) -> None:
    public = CryptoSigner.generate_ed25519().public_key
    with pytest.raises(SignatureError, match=r"the signature is not kms.example's"):
        from_securesystemslib(Faulty(public, signed), NAME).sign(b"message")


def test_a_key_that_was_rotated_is_told_of_at_once() -> None:
    before, after = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    signer = replace(from_securesystemslib(before, NAME), foreign=after)
    with pytest.raises(SignatureError, match=r"the signature is not kms.example's"):
        signer.sign(b"message")


def test_the_signer_of_securesystemslib_has_the_shape_that_is_asked_for() -> None:
    signer: ForeignSigner = CryptoSigner.generate_ed25519()
    assert isinstance(from_securesystemslib(signer, NAME).key, VerifierKey)


def test_without_securesystemslib_all_but_its_signers_is_there() -> None:
    code = "import sys; sys.modules['securesystemslib'] = None; import polarchive.trust.external"
    subprocess.run([sys.executable, "-c", code], check=True)
