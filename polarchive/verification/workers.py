"""Spread replays over the workers of any executor."""

from collections.abc import Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from pickle import dumps
from typing import Final

from polarchive.errors import PolError
from polarchive.verification.pool import Pool
from polarchive.verification.site import Site, leave, work
from polarchive.verification.tasks import Done, Task

_AHEAD: Final = 64  # tasks that may be done before one that is not yet: what they leave unexplained has to wait for it


@dataclass(slots=True)
class Elsewhere:
    """Do tasks by an executor, at some sites by turns: they differ in their device."""

    executor: Executor
    sites: Sequence[Site]
    running: dict[Future[Done], int] = field(default_factory=dict)

    def __call__(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """Yield what comes of each task as it comes; PolError if the executor or its workers are lost."""
        unfinished, begun = set(range(len(tasks))), 0
        try:
            while unfinished:
                for place in range(begun, until := min(len(tasks), min(unfinished) + _AHEAD)):
                    self.running[self._begun(place, tasks[place])] = place
                begun = until
                for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                    unfinished.remove(self.running.pop(future))
                    yield future.result()
        except BrokenExecutor as error:
            raise PolError(f"a worker was lost, and its executor with it: {error}") from error
        except CancelledError as error:
            raise PolError("the executor cancelled what is left to replay: it was shut down or is lost") from error

    def __enter__(self) -> "Elsewhere":
        if isinstance(self.executor, Pool | ProcessPoolExecutor):
            _require_portable(self.sites)
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel what is left, and close what threads of this process had open; other processes do so when they end."""
        for future in self.running:
            future.cancel()
        for site in self.sites:
            leave(site.name)

    def _begun(self, place: int, task: Task) -> "Future[Done]":
        return self.executor.submit(work, self.sites[place % len(self.sites)], task)


def _require_portable(sites: Sequence[Site]) -> None:
    try:
        dumps(sites)
    except Exception as error:
        raise PolError(f"build and batches must be functions that another process can import: {error}") from error
