"""Ask one authority to stamp the newest head that is due, again and again, in a thread of its own."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from threading import Condition, Thread
from time import monotonic
from typing import Final

from polarchive.format.stamp import Stamp

PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # seconds before one head is asked for again
GRACE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Due:
    """Hold a head that is to be stamped."""

    size: int
    note: bytes


class Attempts:
    """Ask until there is a stamp, and keep it, or give up; a head that waits gives way to a newer one.

    `name` is for people; `ask` is given a message and the seconds that are left, `keep` what comes, and `mark` what
    kept it from coming. Whatever they raise counts as a failure: recording goes on.
    """

    def __init__(
        self,
        name: str,
        ask: Callable[[bytes, float], Stamp],
        keep: Callable[[int, Stamp], None],
        mark: Callable[[int, Exception], None],
    ) -> None:
        self._name, self._ask, self._keep, self._mark = name, ask, keep, mark
        self._due: Due | None = None
        self._until = inf
        self._done = 0  # the size of the last head that was stamped
        self._failure: Exception | None = None
        self._changed = Condition()
        self._thread = Thread(target=self._work, name="polarchive stamps", daemon=True)
        self._thread.start()

    def take(self, due: Due) -> None:
        """Have this head stamped next."""
        with self._changed:
            self._due = due
            self._changed.notify()

    def finish(self, last: Due | None, until: float) -> None:
        """Have the last head stamped, and nothing else, by some time."""
        with self._changed:
            self._due, self._until = last, until
            self._changed.notify()

    def wait(self) -> str:
        """Return why the last head was not stamped, as soon as that is clear, or nothing if it was."""
        self._thread.join(max(0, self._until - monotonic()) + GRACE)
        if self._thread.is_alive():
            return f"{self._name}: still waited for"
        return str(self._failure or "")

    def _work(self) -> None:
        while due := self._next():
            self._try(due)

    def _next(self) -> Due | None:
        """Wait for the next head; return None after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._due or self._until < inf)
            due, self._due = self._due, None
            return due if due and due.size > self._done else None

    def _try(self, due: Due) -> None:
        for pause in (*PAUSES, 0.0):
            self._failure = self._attempt(due)
            if self._failure is None or not self._pause(pause):
                break
        if self._failure is not None and self._due != due:  # else it is to be tried once more
            with suppress(Exception):
                self._mark(due.size, self._failure)

    def _attempt(self, due: Due) -> Exception | None:
        try:
            self._keep(due.size, self._ask(due.note, self._until - monotonic()))
        except Exception as error:  # of whatever kind
            return error
        self._done = due.size
        return None

    def _pause(self, seconds: float) -> bool:
        """Wait before another attempt; tell whether to make one."""
        with self._changed:
            until = self._until
            self._changed.wait_for(lambda: self._until != until, min(seconds, until - monotonic()))
            return self._until == until > monotonic()
