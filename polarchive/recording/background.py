"""Record a run in a process of its own, so that training waits only while its state and batches are copied."""

import atexit
import os
import warnings
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from threading import Thread
from typing import Any, Final

from polarchive.errors import RecordingError
from polarchive.format import note
from polarchive.format.commitment import Batch
from polarchive.format.entry import Header, Hyper
from polarchive.format.journal import Journal
from polarchive.format.tensors import Layout
from polarchive.recording import message, spawn
from polarchive.recording.message import Placed
from polarchive.recording.recorder import Indices, Task
from polarchive.recording.ring import Ring
from polarchive.recording.snapshot import Copying, Snapshot

_MANY: Final = 256  # calls that are told together, so that a fast loop seldom wakes the other process
_MUCH: Final = 1 << 18  # bytes that are told of together


class Background:
    """Pass on calls to a recorder in another process, and answer what it asks: signatures.

    The calls return once what they name has been copied. An error there is raised by a later call here. Memory is
    bounded: a call waits while two states, or as much in batches, are still to be written.
    """

    def __init__(self, kept: Journal, task: Task, signer: note.Signer) -> None:
        self.durable = task.position.steps
        self._folder, self._signer = task.folder, signer
        self._ring = Ring()
        self._calls: list[tuple[str, tuple[Any, ...]]] = []
        self._bytes = 0
        self._layout: Layout | None = None
        self._copying: Copying | None = None
        self._failure, self._stopped, self._ended, self._said = "", False, False, ""
        there, self._events = Pipe(duplex=False)
        self._service, here = Pipe()
        self._process = spawn.start("polarchive.recording.child", [there, here], self._ring.descriptor, kept.descriptor)
        kept.close()  # the other process holds the lock now
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._send(task)
        atexit.register(self._leave, os.getpid())

    def open(self, header: Header, state: Snapshot) -> None:
        """Begin with state 0; the header's layout and root are filled in."""
        self._tell("open", header, self._state(state), now=True)

    def reopen(self, state: Snapshot) -> None:
        """Go on from a state that must be the last one recorded."""
        self._tell("reopen", self._state(state), now=True)

    def step(self, hyper: Hyper) -> None:
        """Begin a step under these settings."""
        self._tell("step", hyper)

    def batch(self, batch: Batch) -> None:
        """Commit to a batch of the step."""
        arrays, texts, columns = message.parts(batch)
        placed = self._placed(arrays)
        self._tell("batch", Placed(placed.start, placed.layout, batch.count, texts, columns))

    def rows(self, indices: Indices) -> None:
        """Commit to a batch of the step as the records of the dataset at `indices`."""
        self._tell("rows", indices)

    def segment(self, state: Snapshot, last: bool) -> None:
        """Close the segment of the steps so far with the state that they led to."""
        if self._copying is not None:
            self._flush(wait=True)
        self._tell("segment", self._state(state), last, now=True)

    def end(self) -> None:
        """End the run."""
        self._tell("end", now=True)

    def stop(self) -> str:
        """Wait until everything is on disk; RecordingError if it cannot be. Return what people should know."""
        if self._ended:
            return self._said
        self._ended = True
        atexit.unregister(self._leave)
        try:
            self._tell("stop")
            self._flush(wait=True)
        finally:
            self._events.close()
            self._thread.join()
            self._process.wait()
            self._ring.close()
        self._require()
        return self._said

    def _leave(self, owner: int) -> None:
        """Finish for a script that ends without closing its log; not for a copy of it that a fork made."""
        if os.getpid() == owner:
            with suppress(RecordingError):
                if said := self.stop():
                    warnings.warn(said, stacklevel=1)

    def _tell(self, name: str, *arguments: Any, now: bool = False) -> None:
        self._require()
        self._calls.append((name, arguments))
        if now or len(self._calls) >= _MANY or self._bytes >= _MUCH:
            self._flush()

    def _flush(self, wait: bool = False) -> None:
        """Send the calls, once the state they tell of is copied."""
        if self._copying is not None and not wait and not self._copying.done():
            self._bytes = _MUCH  # try again with the next call
            return
        if self._copying is not None:
            self._copying.wait()
        self._copying = None
        calls, self._calls, self._bytes = self._calls, [], 0
        self._send(calls)

    def _send(self, message: object) -> None:
        try:
            self._events.send(message)
        except OSError:  # the other process is gone, and the thread comes to know why
            self._thread.join()
            self._require()

    def _placed(self, state: Snapshot) -> Placed:
        """Copy a state, or the fields of a batch, into shared memory."""
        layout = state.layout
        size = sum(spec.nbytes for spec in layout)
        start, memory = self._ring.reserve(max(size, 1), self._stalled)
        copying = state.into(memory[:size])
        self._copying = self._copying if copying.done() else copying
        self._bytes += size
        return Placed(start, layout)

    def _state(self, state: Snapshot) -> Placed:
        """Copy a state; its layout is told only when it is another one than before."""
        placed = self._placed(state)
        known, self._layout = placed.layout is self._layout, placed.layout
        return replace(placed, layout=None) if known else placed

    def _stalled(self) -> None:
        self._require()
        if self._calls:
            self._flush(wait=True)

    def _require(self) -> None:
        if self._failure:
            raise RecordingError(f"{self._folder}: recording failed: {self._failure}; what is durable stays")

    def _serve(self) -> None:
        """Answer the other process until it ends."""
        try:
            while not self._stopped:
                self._answer(*self._service.recv())
        except (EOFError, OSError):
            self._failure = self._failure or f"its process ended with status {self._process.wait()}"

    def _answer(self, kind: str, value: Any) -> None:
        if kind == "sign":
            self._service.send(_signature(self._signer, value))
        elif kind == "failed":
            self._failure, self._stopped = value, True
        elif kind == "stopped":
            self._said, self._stopped = value, True
        else:
            pieces, self.durable = value
            for _ in range(pieces):
                self._ring.release()


def _signature(signer: note.Signer, text: bytes) -> bytes | str:
    try:
        return signer.sign(text)
    except Exception as error:  # whatever a signer of someone else's raises
        return f"the signer failed: {type(error).__name__}: {error}"
