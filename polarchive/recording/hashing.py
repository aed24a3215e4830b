"""Commit to the records of a dataset on all processors."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final

from polarchive.errors import RecordingError
from polarchive.format.commitment import Batch, Texts, index_salt, leaves
from polarchive.format.tensors import Array
from polarchive.recording import spawn

_AHEAD: Final = 2  # chunks that each process has to do or has done


def hashed(chunks: Iterable[Batch], secret: bytes | None, workers: int) -> Iterator[bytes]:
    """Yield the leaf digests of the records of each chunk in turn, 32 bytes each; the first record is number 0."""
    crew = [_Worker() for _ in range(workers)]
    try:
        yield from _in_turn(chunks, secret, crew)
    finally:
        for worker in crew:
            worker.stop()


def _in_turn(chunks: Iterable[Batch], secret: bytes | None, crew: list["_Worker"]) -> Iterator[bytes]:
    busy: deque[_Worker] = deque()
    start = 0
    for number, chunk in enumerate(chunks):
        if len(busy) == _AHEAD * len(crew):
            yield busy.popleft().result()
        worker = crew[number % len(crew)]
        worker.give((secret, start, _solid(chunk)))
        busy.append(worker)
        start += chunk.count
    while busy:
        yield busy.popleft().result()


class _Worker:
    """Stand for a process that hashes."""

    def __init__(self) -> None:
        self._end, there = Pipe()
        self._process = spawn.start("polarchive.recording.hashing", [there])

    def give(self, work: tuple[bytes | None, int, Batch]) -> None:
        self._end.send(work)

    def result(self) -> bytes:
        try:
            found: bytes = self._end.recv()
        except EOFError:
            raise RecordingError(f"a process that hashes ended with status {self._process.wait()}") from None
        return found

    def stop(self) -> None:
        self._end.close()
        self._process.wait()


def _solid(batch: Batch) -> Batch:
    """Return a batch that can be sent: its bytes are its own."""
    columns = {name: column if isinstance(column, Texts) else _copy(column) for name, column in batch.columns.items()}
    return Batch(batch.count, columns, {})


def _copy(array: Array) -> Array:
    return Array(array.dtype, array.shape, bytes(array.data))


def _work(secret: bytes | None, start: int, batch: Batch) -> bytes:
    salts = b"".join(index_salt(secret, index) for index in range(start, start + batch.count))
    return b"".join(leaves(batch, salts))


def main(parent: int, descriptor: int) -> None:
    """Hash what is given, until nothing more can come."""
    end = Connection(descriptor)
    try:
        while True:
            given: Any = spawn.received(end, parent)
            end.send(_work(*given))
    except (EOFError, ConnectionError):
        return


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
