"""Speak TLS 1.3 between parties who know each other's Ed25519 key, and with nobody else."""

import ssl
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from tempfile import NamedTemporaryFile
from threading import Lock

from polarchive.errors import Reason, SignatureError
from polarchive.exchange import certificates
from polarchive.format.note import Signer, VerifierKey


def _now() -> datetime:
    return datetime.now(UTC)


class Tls:
    """Be one side of the channel: authenticated by `signer`, open to whoever holds one of the keys of `peers`."""

    def __init__(
        self,
        signer: Signer,
        peers: Collection[VerifierKey],
        *,
        server: bool,
        now: Callable[[], datetime] = _now,
    ) -> None:
        """Make the first certificate."""
        self._signer, self._peers, self._now = signer, tuple(peers), now
        self._protocol = ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT
        self._lock = Lock()
        self._context, self._until = self._make()

    def context(self) -> ssl.SSLContext:
        """Return the context for the next connection; a process may well outlive its first certificate."""
        with self._lock:
            if self._now() >= self._until:
                self._context, self._until = self._make()
            return self._context

    def peer(self, connection: ssl.SSLSocket) -> VerifierKey:
        """Return whose connection this is; SignatureError if TLS let somebody pass that it should not have."""
        certificate = connection.getpeercert(binary_form=True)
        for key in self._peers:
            if certificate and certificates.is_by(key, certificate):
                return key
        raise SignatureError(Reason.KEY, "certificate", "not by a key that is expected here")

    def _make(self) -> tuple[ssl.SSLContext, datetime]:
        now = self._now()
        context = ssl.SSLContext(self._protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # a key says who it is, wherever it answers
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an anchor is trusted as it is, not for who signed it
        for key in self._peers:
            context.load_verify_locations(cadata=certificates.anchor(key, now))
        if self._protocol is ssl.PROTOCOL_TLS_SERVER:
            context.num_tickets = 0  # a resumed session would show no certificate
        leaf = certificates.leaf(self._signer, now)
        with NamedTemporaryFile() as file:  # the one way in that `ssl` has
            file.write(leaf.pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context, leaf.until
