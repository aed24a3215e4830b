"""Be the process that records: `python -m polarchive.recording.child`, started by Background only."""

import os
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from polarchive.errors import PolError, RecordingError
from polarchive.format.journal import Journal
from polarchive.format.note import VerifierKey
from polarchive.recording.message import Placed, Reader
from polarchive.recording.recorder import Recorder, Task
from polarchive.recording.ring import Window
from polarchive.recording.spawn import received

NICE = 10  # what trains comes first


@dataclass(frozen=True, slots=True)
class Remote:
    """Sign in the process that trains, which alone has the key."""

    key: VerifierKey
    service: Connection
    parent: int

    def sign(self, message: bytes) -> bytes:
        """Return the signature; RecordingError if it cannot be made."""
        self.service.send(("sign", message))
        answer = received(self.service, self.parent)
        if not isinstance(answer, bytes):
            raise RecordingError(str(answer))
        return answer


def main(parent: int, calls: int, service: int, ring: int, journal: int) -> None:
    """Record what is told, until the parent stops or is gone."""
    os.nice(NICE)
    if hasattr(os, "SCHED_BATCH"):  # so that what wakes this process goes on first
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    told, tell = Connection(calls, writable=False), Connection(service)
    try:
        task = received(told, parent)
        assert isinstance(task, Task)
        recorder = Recorder(Journal.adopt(task.folder, journal), task, Remote(task.key, tell, parent))
        reader, going = Reader(Window(ring)), True
        while going:
            going = _take(received(told, parent), recorder, reader, tell)
        tell.send(("stopped", recorder.stop()))
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        known = isinstance(error, PolError)
        tell.send(("failed", str(error) if known else f"{type(error).__name__}: {error}"))


def _take(told: Any, recorder: Recorder, reader: Reader, tell: Connection) -> bool:
    """Make the calls that were told, but for that to stop; return whether more may follow."""
    pieces, calls = 0, [call for call in told if call[0] != "stop"]
    for name, arguments in calls:
        placed = [argument for argument in arguments if isinstance(argument, Placed)]
        getattr(recorder, name)(*(_seen(name, argument, reader) for argument in arguments))
        pieces += len(placed)
    tell.send(("done", (pieces, recorder.durable)))
    return len(calls) == len(told)


def _seen(name: str, argument: Any, reader: Reader) -> Any:
    if not isinstance(argument, Placed):
        return argument
    return (reader.batch if name == "batch" else reader.state)(argument)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
