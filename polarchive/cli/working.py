"""Let workers replay: processes of one's own, or those of a Dask cluster."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polarchive.cli import loading
from polarchive.errors import PolError, Unreachable
from polarchive.format.answer import Answers
from polarchive.format.note import VerifierKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from polarchive.verification.shelf import Shelf
    from polarchive.verification.showing import Shown

_PATIENCE = 30  # seconds in which a scheduler answers
_OPTIONS = (
    click.option("--workers", type=click.IntRange(1), help="Replay in so many processes at once."),
    click.option("--scheduler", help="Replay on a Dask cluster that you trust: the tcp://HOST:PORT of its scheduler."),
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


@dataclass(frozen=True, slots=True)
class Named:
    """Stand for FILE.py:function where it is called: every process loads the file itself, which must be the same."""

    reference: str
    digest: bytes

    @classmethod
    def of(cls, reference: str) -> "Named":
        """Load the function, to find out now whether it is there."""
        path, _, name = reference.rpartition(":")
        loading.function(reference)
        return cls(f"{Path(path).resolve()}:{name}", sha256(Path(path).read_bytes()).digest())

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return _loaded(self)(*arguments)


@cache
def _loaded(named: Named) -> Callable[..., Any]:
    path = Path(named.reference.rpartition(":")[0])
    if not path.is_file() or sha256(path.read_bytes()).digest() != named.digest:
        raise PolError(f"{path}: a worker does not find the judge's own file there")
    return loading.function(named.reference)


@dataclass(frozen=True, slots=True)
class Answered:
    """Show what is in an answer; every process opens it itself."""

    path: Path
    key: VerifierKey

    def show(self, *step: Any) -> "list[Shown]":
        """Return the batches of a step that were sent."""
        from polarchive.verification.showing import Sent

        return Sent(_answers(self).batch).show(*step)

    def expect(self, segment: object) -> None:
        """Do nothing: they are at hand."""

    def state(self, index: int) -> "Mapping[str, Tensor]":
        """Return a state that was sent."""
        from polarchive.training.arrays import to_tensors

        return to_tensors(_answers(self).state(index))


@cache
def _answers(answered: Answered) -> Answers:
    return Answers.open(answered.path, answered.key)


@contextmanager
def executor(workers: int | None, scheduler: str | None) -> Iterator[Executor | None]:
    """Give what the command line asks for: processes, a cluster, or nothing."""
    if workers and scheduler:
        raise click.UsageError("--workers are processes here, --scheduler is a cluster elsewhere: give one of them")
    if scheduler:
        with _cluster(scheduler) as found:
            yield found
    elif workers:
        from polarchive.verification.pool import Pool

        with Pool(workers) as pool:
            yield pool
    else:
        yield None


def shelf(folder: Path | None, trainer: str) -> "Shelf | None":
    """Return where replays by this trainer are kept, if anywhere: as long as its file stays the same."""
    from polarchive.verification.shelf import Shelf

    path, _, name = trainer.rpartition(":")
    return Shelf(folder, sha256(Path(path).read_bytes() + name.encode()).digest()) if folder else None


def share(workers: int | None) -> int | None:
    """Return how many of the cores are each worker's."""
    return max(1, (os.cpu_count() or 1) // workers) if workers else None


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    """Connect to a Dask cluster; Unreachable if it does not answer. Its scheduler tries again what a worker leaves."""
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise click.UsageError("--scheduler needs Dask: pip install 'polarchive[dask]'") from None
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise Unreachable(f"{address}: no Dask scheduler answers: {error}") from error
    with client:
        try:
            yield client.get_executor(pure=False)  # type: ignore[no-untyped-call]
        except KilledWorker as error:
            raise PolError(f"a segment ended several workers of the cluster: {error}") from error
