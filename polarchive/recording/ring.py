"""Hand bytes to another process in order, through memory that both see."""

import mmap
import os
import tempfile
from collections import deque
from collections.abc import Callable
from threading import Condition
from typing import Final

ALIGNMENT: Final = 64
_LEAST: Final = 1 << 26
_PATIENCE: Final = 0.2  # seconds between two looks at whether anything can still be given back
_ROOM: Final = 2  # times the largest piece: one is read while the next is written


class Ring:
    """Reserve pieces of shared memory in turn; the oldest is given back first.

    It grows when a piece comes that is too large, and never holds more than twice the largest piece (or 64 MiB).
    """

    def __init__(self) -> None:
        self.descriptor = _anonymous()
        self.capacity = 0
        self._memory: mmap.mmap | None = None
        self._pieces: deque[tuple[int, int]] = deque()  # where each begins and ends
        self._changed = Condition()

    def reserve(self, size: int, stalled: Callable[[], None]) -> tuple[int, memoryview]:
        """Return the place of `size` bytes and the memory there; while there is none, call `stalled` and wait."""
        while (start := self._taken(size)) is None:
            stalled()
            with self._changed:
                self._changed.wait_for(lambda: self._place(size) is not None, _PATIENCE)
        assert self._memory is not None
        return start, memoryview(self._memory)[start : start + size]

    def release(self) -> None:
        """Give back the oldest piece."""
        with self._changed:
            self._pieces.popleft()
            self._changed.notify()

    def close(self) -> None:
        """Give up the memory, as soon as nobody looks at it any more."""
        self._memory = None
        os.close(self.descriptor)

    def _taken(self, size: int) -> int | None:
        with self._changed:
            start = self._place(size)
            if start is not None:
                self._pieces.append((start, start + size))
            return start

    def _place(self, size: int) -> int | None:
        if size > self.capacity:
            return None if self._pieces else self._grow(size)
        if not self._pieces:
            return 0
        oldest, newest = self._pieces[0][0], -(-self._pieces[-1][1] // ALIGNMENT) * ALIGNMENT
        if newest > oldest:
            if newest + size <= self.capacity:
                return newest
            return 0 if size < oldest else None
        return newest if newest + size < oldest else None

    def _grow(self, size: int) -> int:
        self.capacity = max(_LEAST, -(-_ROOM * size // mmap.PAGESIZE) * mmap.PAGESIZE)
        os.ftruncate(self.descriptor, self.capacity)
        self._memory = mmap.mmap(self.descriptor, self.capacity)
        return 0


class Window:
    """See the memory of a ring from the other process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = memoryview(b"")

    def piece(self, start: int, size: int) -> memoryview:
        """Return a piece; it must not be looked at once it was given back."""
        if start + size > len(self._memory):
            self._memory = memoryview(mmap.mmap(self._descriptor, os.fstat(self._descriptor).st_size))
        return self._memory[start : start + size].toreadonly()


def _anonymous() -> int:
    """Return a file without a name, which vanishes with the last process that has it open."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("polarchive", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
