"""Run calls in processes of one's own, and go on where one of them is lost."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from signal import SIG_IGN, SIGINT, signal
from threading import Lock
from typing import Any, TypeVar

_T = TypeVar("_T")


class Pool(Executor):
    """Hold so many fresh processes; where one is lost, the calls that were running are tried again in others.

    A call is tried `tries` times before BrokenProcessPool is its outcome. A script that uses this keeps its own lines
    under `if __name__ == "__main__":`, because each process imports it.
    """

    def __init__(self, workers: int, tries: int = 4) -> None:
        self._workers, self._tries = workers, tries
        self._lock, self._open = Lock(), True
        self._threads = ThreadPoolExecutor(workers)  # each waits for one call, so that a loss costs no other a try
        self._pool = self._fresh()

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "Future[_T]":
        """Run a call in one of the processes."""
        return self._threads.submit(self._tried, partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the processes end when all calls have, or cancel what waits and stop what runs."""
        self._threads.shutdown(wait and not cancel_futures, cancel_futures=cancel_futures)
        with self._lock:
            self._open = False
            processes = list((self._pool._processes or {}).values()) if cancel_futures else []
        for process in processes:
            process.terminate()
        if wait or cancel_futures:
            self._pool.shutdown(wait and not cancel_futures)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for what runs, or stop it if the caller was interrupted."""
        self.shutdown(cancel_futures=kind is not None)

    def _fresh(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._workers, get_context("spawn"), signal, (SIGINT, SIG_IGN))

    def _tried(self, call: Callable[[], _T]) -> _T:
        for _ in range(self._tries - 1):
            pool = self._pool
            try:
                return pool.submit(call).result()
            except BrokenProcessPool:
                self._replace(pool)
        return self._pool.submit(call).result()

    def _replace(self, lost: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is lost and self._open:
                self._pool = self._fresh()
