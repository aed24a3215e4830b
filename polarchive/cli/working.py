"""Let workers replay: processes of one's own, or those of a Dask cluster."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polarchive.cli.sources import sources

if TYPE_CHECKING:
    from polarchive.verification.shelf import Shelf

_OPTIONS = (
    click.option("--workers", type=click.IntRange(1), help="Replay in so many processes at once."),
    click.option("--scheduler", help="Replay on a Dask cluster that you trust: the tls://HOST:PORT of its scheduler."),
    click.option(
        "--keep",
        type=click.Path(file_okay=False, path_type=Path),
        help="A folder of yours to keep replays in: what is there already is not made again.",
    ),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say who replays."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@contextmanager
def executor(workers: int | None, scheduler: str | None, confidential: bool) -> Iterator[Executor | None]:
    """Give what the command line asks for: processes, a cluster, or nothing.

    What is `confidential` travels with every task; PolError if others could read it on the way.
    """
    if workers and scheduler:
        raise click.UsageError("--workers are processes here, --scheduler is a cluster elsewhere: give one of them")
    if scheduler:
        from polarchive.cli.cluster import cluster

        with cluster(scheduler, confidential) as found:
            yield found
    elif workers:
        from polarchive.verification.pool import Pool

        with Pool(workers) as pool:
            yield pool
    else:
        yield None


def shelf(folder: Path | None, trainer: str) -> "Shelf | None":
    """Return where replays by this trainer, which is loaded, are kept, if anywhere: as long as its code is the same."""
    from polarchive.verification.shelf import Shelf

    if folder is None:
        return None
    path, _, name = trainer.rpartition(":")
    return Shelf(folder, sha256(json.dumps([name, sources(Path(path).resolve())]).encode()).digest())


def taken(shelf: "Shelf | None") -> Iterator[str]:
    """Yield the line that says how many replays were not made now, if any were not."""
    if shelf is not None and shelf.taken:
        yield f"kept      {len(shelf.taken)} replays were not made now but taken from {shelf.folder}"


def share(workers: int | None) -> int | None:
    """Return how many of the cores are each worker's."""
    return max(1, (os.cpu_count() or 1) // workers) if workers else None
