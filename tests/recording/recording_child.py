"""Record a synthetic run without torch, in processes that may be killed at any time.

What is recorded follows from the number of the step alone, so that whatever was interrupted can be compared. Importing
takes longer than recording: `main` waits for orders and forks a process for each.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from polarchive.errors import PolError
from polarchive.format.commitment import Batch
from polarchive.format.entry import Commitment, Header, Hyper, Initial
from polarchive.format.schema import Schema
from polarchive.format.tensors import Array
from polarchive.recording.background import Background
from polarchive.recording.recorder import Recording
from polarchive.recording.snapshot import Arrays
from polarchive.recording.start import Begun, Wanted, begin
from tests.recording.faults import Fault
from tests.simulator import PROVER, State, batch_of

RUN: Final = bytes(range(16, 32))
EVERY: Final = 2
STORE: Final = 2  # every other state is there only in passing
RECORDS: Final = 3
SIZE: Final = 512

Message = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Say what to record: to the end after `steps`, or until something ends it."""

    folder: Path
    steps: int | None = None
    background: bool = False
    salted: bool = False
    fault: tuple[str, str, int] | None = None

    @property
    def wanted(self) -> Wanted:
        run = None if self.salted else RUN
        return Wanted(self.folder, PROVER.key, EVERY, 1, self.salted, STORE, run=run)


@cache
def state_of(step: int) -> State:
    """Return the state before a step: weights that move a little, a momentum that comes with the first step."""
    base = np.random.default_rng(0).standard_normal((2, SIZE)).astype("<f4")
    weight, momentum = base * np.float32(1 - step / 4096)
    state = {
        "model/weight": Array("F32", (SIZE,), weight.tobytes()),
        "model/seen": Array("BOOL", (3,), bytes([1, 0, step % 2])),
        "optimizer/step": Array("I64", (), step.to_bytes(8, "little")),
    }
    return state | ({"optimizer/momentum": Array("F32", (SIZE,), momentum.tobytes())} if step else {})


def fed(step: int) -> Batch:
    """Return the batch of a step."""
    return batch_of(0, step, 0, RECORDS)


def hyper_of(step: int) -> Hyper:
    """Return the settings of a step, which change now and then."""
    return {"sgd/0/lr": 0.1 / (1 + step // 3), "sgd/0/nesterov": False}


def feed(begun: Begun, recording: Recording, steps: int | None) -> Iterator[int]:
    """Train from where a run stands, and yield how many steps are durable whenever they may have become more."""
    at = begun.task.position.steps
    if begun.state is None:
        recording.open(header_of(begun), Arrays(state_of(0)))
    else:
        recording.reopen(Arrays(begun.state))
    yield recording.durable
    for step in count(at) if steps is None else range(at, steps):
        if step > at and step % EVERY == 0:
            recording.segment(Arrays(state_of(step)), last=False)
            yield recording.durable
        recording.step(hyper_of(step))
        recording.batch(fed(step))
    if steps is not None and steps > at:
        recording.segment(Arrays(state_of(steps)), last=True)
        yield recording.durable
    recording.end()
    recording.stop()
    yield recording.durable


def header_of(begun: Begun, every: int = EVERY) -> Header:
    """Return the header of a run that begins."""
    return Header(
        run=begun.task.run,
        key=PROVER.key,
        every=every,
        world=1,
        micro=1,
        schema=Schema.of(fed(0)),
        commitment=Commitment("fed", begun.task.secret is not None),
        layout=(),
        root=b"",
        initial=Initial("unexplained"),
        source=None,
        stack={"device": "none"},
        probe={},
    )


def obey(order: Order, tell: Callable[[Message], None]) -> None:
    """Record as ordered, and tell of everything that the caller may then rely on."""
    if order.fault:
        Fault(*order.fault).plant()
    begun = begin(order.wanted, resume=True)
    tell(("epoch", begun.task.position.epoch, begun.state is not None))
    recording = begun.recording(PROVER, order.background)
    if isinstance(recording, Background):
        tell(("recorder", recording._process.pid))
    for durable in feed(begun, recording, order.steps):
        tell(("durable", durable))
        keep_pace(recording)


def keep_pace(recording: Recording) -> None:
    """Let another process that records come after, so that not everything is told before it has begun."""
    if isinstance(recording, Background):
        time.sleep(0.005)


def _live(order: Order, tell: Callable[[Message], None]) -> int:
    """Return the status that the process ends with."""
    try:
        assert "torch" not in sys.modules
        obey(order, tell)
        assert "torch" not in sys.modules
        return 0
    except (PolError, OSError) as error:
        tell(("failed", type(error).__name__, str(error)))
    except BaseException:
        traceback.print_exc()
    return 1


def main(orders: int, answers: int) -> None:
    """Fork a process for every order, one at a time, and say how each ended."""
    given, tell = Connection(orders, writable=False), Connection(answers, readable=False).send
    tell(("ready",))
    while True:
        try:
            order = given.recv()
        except EOFError:
            return
        pid = os.fork()
        if not pid:
            os._exit(_live(order, tell))
        tell(("began", pid))
        tell(("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
