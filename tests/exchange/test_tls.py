"""Test that the channel opens between two who pinned each other's keys, and for nobody else."""

import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption

from polarchive.exchange import certificates
from polarchive.exchange.tls import Tls
from polarchive.format.note import VerifierKey
from tests.exchange.scene import JUDGE, OTHER
from tests.simulator import PROVER, STRANGER, FakeSigner

Context = ssl.SSLContext


class Mask:
    """Name one key and sign with another."""

    def __init__(self, shown: FakeSigner, own: FakeSigner) -> None:
        self.key: VerifierKey = shown.key
        self.sign = own.sign


def server(signer: Any = PROVER, *peers: FakeSigner, **settings: Any) -> Tls:
    return Tls(signer, [peer.key for peer in peers or (JUDGE,)], server=True, **settings)


def client(signer: Any = JUDGE, *peers: FakeSigner, **settings: Any) -> Tls:
    return Tls(signer, [peer.key for peer in peers or (PROVER,)], server=False, **settings)


def meet(serving: Tls, asking: Tls, change: Callable[[Context], object] = lambda context: None) -> tuple[Any, Any]:
    """Return whom each side found at the other end, or the error that it met, after a word in both directions."""

    def shake(tls: Tls, raw: socket.socket, is_server: bool) -> Any:
        raw.settimeout(20)
        context = tls.context()
        if not is_server:
            change(context)
        try:
            with raw, context.wrap_socket(raw, server_side=is_server, suppress_ragged_eofs=False) as connection:
                connection.sendall(b"word")
                connection.recv(4)
                return tls.peer(connection)
        except OSError as error:
            return error

    ends = socket.socketpair()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(shake, *each) for each in ((serving, ends[0], True), (asking, ends[1], False))]
        return both[0].result(), both[1].result()


def test_two_who_know_each_other_meet() -> None:
    assert meet(server(), client()) == (JUDGE.key, PROVER.key)


def test_a_server_tells_its_judges_apart() -> None:
    assert meet(server(PROVER, OTHER, JUDGE), client())[0] == JUDGE.key
    assert meet(server(PROVER, OTHER, JUDGE), client(OTHER))[0] == OTHER.key


@pytest.mark.parametrize("stranger", [STRANGER, Mask(JUDGE, STRANGER), OTHER], ids=["stranger", "masked", "other"])
def test_a_server_refuses_a_stranger(stranger: Any) -> None:
    mine, theirs = meet(server(), client(stranger))
    assert isinstance(mine, ssl.SSLCertVerificationError) and isinstance(theirs, OSError)


@pytest.mark.parametrize("stranger", [STRANGER, Mask(PROVER, STRANGER)], ids=["stranger", "masked"])
def test_a_client_refuses_a_stranger(stranger: Any) -> None:
    theirs, mine = meet(server(stranger), client())
    assert isinstance(mine, ssl.SSLCertVerificationError) and isinstance(theirs, OSError)


def test_a_client_without_certificate_is_refused() -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    asking = client()
    asking._context = bare
    mine, theirs = meet(server(), asking)
    assert isinstance(mine, ssl.SSLError) and isinstance(theirs, OSError)


def test_older_tls_is_refused() -> None:
    def old(context: Context) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    mine, theirs = meet(server(), client(), old)
    assert isinstance(mine, ssl.SSLError) and isinstance(theirs, OSError)


def test_a_leaf_certifies_nobody_else() -> None:
    """Who steals the key of a leaf can use it for a day, and make no other: a leaf is no authority."""
    stolen, raw = certificates.leaf(JUDGE, datetime.now(UTC)), Ed25519PrivateKey.generate()
    own, key = x509.load_pem_x509_certificate(stolen.pem), serialization.load_pem_private_key(stolen.pem, None)
    assert isinstance(key, Ed25519PrivateKey)
    builder = certificates._builder("leaf", "leaf", raw.public_key(), datetime.now(UTC), ca=False)
    pem = builder.sign(key, None).public_bytes(Encoding.PEM) + own.public_bytes(Encoding.PEM)
    asking = client()
    with NamedTemporaryFile() as file:
        file.write(pem + raw.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        asking.context().load_cert_chain(file.name)
    mine, theirs = meet(server(), asking)
    assert isinstance(mine, ssl.SSLCertVerificationError) and isinstance(theirs, OSError)


def test_another_name_for_the_same_key_is_not_certified() -> None:
    key = Ed25519PrivateKey.generate()
    now = datetime.now(UTC)
    builder = certificates._builder("leaf", "polarchive somebody", key.public_key(), now, ca=False)
    shown = builder.sign(Ed25519PrivateKey.from_private_bytes(JUDGE.seed), None)
    assert not certificates.is_by(JUDGE.key, shown.public_bytes(Encoding.DER))


@pytest.mark.parametrize("days", [-3, 3])
def test_clocks_may_not_differ_by_days(days: int) -> None:
    mine, theirs = meet(server(), client(now=lambda: datetime.now(UTC) + timedelta(days=days)))
    assert isinstance(mine, OSError) or isinstance(theirs, OSError)


def test_a_server_outlives_its_certificates() -> None:
    now = [datetime.now(UTC) - timedelta(days=30)]
    serving = server(now=lambda: now[0])
    first = serving.context()
    assert serving.context() is first
    now[0] += timedelta(days=30)
    assert serving.context() is not first
    assert meet(serving, client()) == (JUDGE.key, PROVER.key)


def test_the_long_lived_key_signs_and_never_leaves() -> None:
    signed: list[bytes] = []

    class Agent:
        key = PROVER.key

        def sign(self, message: bytes) -> bytes:
            signed.append(message)
            return PROVER.sign(message)

    assert meet(server(Agent()), client()) == (JUDGE.key, PROVER.key)
    assert len(signed) == 1 and signed[0][:1] == b"\x30"
