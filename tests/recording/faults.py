"""Let the n-th operation on the disk fail, or be the last thing that a process does.

Run as a module, with a fault in the environment, this is the process that records for `Background`, on a bad disk.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from polarchive.format import disk
from polarchive.format.disk import Raw

VARIABLE: Final = "TEST_FAULT"
PLACES: Final[dict[str, tuple[tuple[Any, str], ...]]] = {
    "write": ((Raw, "write"),),
    "sync": ((disk, "sync"), (disk, "sync_folder")),
    "rename": ((disk, "rename"),),
    "unlink": ((Path, "unlink"),),
    "open": ((os, "open"),),
    "any": ((Raw, "write"), (disk, "sync"), (disk, "sync_folder"), (disk, "rename"), (Path, "unlink")),
}
ERRORS: Final = {"write": errno.ENOSPC, "sync": errno.EIO, "rename": errno.EIO, "unlink": errno.EIO}

Operation = Callable[..., Any]


@dataclass
class Fault:
    """Let operation `number` (1 is the first) of a kind of PLACES go wrong, and no other.

    It `fails`, `falls_short` (half is written, and the next write fails), or it `kills` the process before it is done,
    `kills_halfway` through a write, or `kills_after` it was done.
    """

    kind: str
    how: str
    number: int
    seen: int = 0

    def plant(self, patch: Callable[[Any, str, Operation], object] = setattr) -> None:
        """Put it in the place of the real operations."""
        for owner, name in PLACES[self.kind]:
            patch(owner, name, self._around(getattr(owner, name)))

    def spell(self) -> str:
        """Return it as a word for the environment."""
        return f"{self.kind} {self.how} {self.number}"

    def _around(self, real: Operation) -> Operation:
        def operation(*arguments: Any, **options: Any) -> Any:
            self.seen += 1
            if self.seen == self.number:
                arguments = self._strike(partial(real, **options), *arguments)
            return real(*arguments, **options)

        return operation

    def _strike(self, real: Operation, *arguments: Any) -> tuple[Any, ...]:
        """Go wrong, or return what the operation is to be given instead."""
        if self.how == "fails":
            raise OSError(ERRORS[self.kind], os.strerror(ERRORS[self.kind]))
        if self.how == "falls_short":
            self.number, self.how = self.number + 1, "fails"
            return _half(*arguments)
        if self.how == "kills_halfway":
            real(*_half(*arguments))
        if self.how == "kills_after":
            real(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def _half(file: Raw, data: Any) -> tuple[Raw, memoryview]:
    view = memoryview(data).cast("B")
    return file, view[: len(view) // 2]


if __name__ == "__main__":
    from polarchive.recording import child

    kind, how, number = os.environ[VARIABLE].split()
    Fault(kind, how, int(number)).plant()
    child.main(*map(int, sys.argv[1:]))
