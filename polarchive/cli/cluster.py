"""Connect to a Dask cluster."""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import click

from polarchive.errors import PolError, Unreachable

_PATIENCE = 30  # seconds in which a scheduler answers, and has a worker


@contextmanager
def cluster(address: str, confidential: bool) -> Iterator[Executor]:
    """Connect to the cluster of the scheduler at an address; it tries again what a worker leaves undone.

    Unreachable if it does not answer or has no worker; PolError if what is sent is `confidential` and others could read
    it on the way, or if the cluster is lost.
    """
    try:
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError
    except ImportError:
        raise click.UsageError("--scheduler needs Dask: pip install 'polarchive[dask]'") from None
    if confidential:
        _require_closed([address])
    with _client(address) as client:
        if confidential:
            _require_closed(client.nthreads())
        try:
            yield client.get_executor(pure=False)
        except KilledWorker as error:
            raise PolError(f"a segment ended several workers of the cluster: {error}") from error
        except CommClosedError as error:
            raise PolError(f"{address}: the scheduler was lost: {error}") from error


def _client(address: str) -> Any:
    """Return a connection to a scheduler that has a worker."""
    from distributed import Client

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # it logs tracebacks of what is told in a line
    try:
        asyncio.run(_try(address))
        client: Any = Client(address, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise Unreachable(f"{address}: no Dask scheduler answers: {error}") from error
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except OSError as error:
        client.close()
        raise Unreachable(f"{address}: the scheduler has no worker, and none came in {_PATIENCE} s") from error
    return client


async def _try(address: str) -> None:
    """Connect once, because a Client that cannot be made hangs for a minute and leaves a traceback."""
    from distributed import Security
    from distributed.comm.core import connect

    settings = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
    found = await connect(address, timeout=_PATIENCE, **settings)  # type: ignore[no-untyped-call]
    await found.close()


def _require_closed(addresses: Iterable[str]) -> None:
    """Refuse addresses to which Dask sends as it is, over a network, what nobody else may read."""
    for address in addresses:
        scheme, _, place = address.rpartition("://")
        if scheme not in ("tls", "wss") and not _is_here(place):
            raise PolError(
                f"{address}: the run's secret would travel there unencrypted; use tls:// (its certificates are named in"
                " Dask's configuration), or a scheduler and workers that listen on 127.0.0.1"
            )


def _is_here(place: str) -> bool:
    try:
        host = urlsplit(f"//{place}").hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
