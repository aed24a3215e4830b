"""Put a prover with knobs and a judge on one loopback, with real TLS between them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from polarchive.errors import OpeningError
from polarchive.exchange import releases
from polarchive.exchange.client import Channel
from polarchive.exchange.desk import Desk
from polarchive.exchange.releases import Fact, Refused, Released, Releases
from polarchive.exchange.server import Bounds, Server
from polarchive.format import request
from polarchive.format.archive import Archive, open_archive
from polarchive.format.commitment import Batch, Opening
from polarchive.format.note import Signer, VerifierKey
from polarchive.format.request import Request
from polarchive.format.tensors import Array
from tests.simulator import PROVER, FakeSigner, Run, Simulation, State

JUDGE = FakeSigner("judge.example/key", bytes(31) + b"\x03")
OTHER = FakeSigner("other-judge.example/key", bytes(31) + b"\x04")
NOW = 1_000_000
HOUR = 3_600


class Clock:
    """Tell the time that a test says it is."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@dataclass
class Prover:
    """Show what was recorded, but for what its knobs say; `asked` lists the steps it was asked for."""

    run: Run
    lie: int | None = None
    swap: tuple[int, int] | None = None
    withhold: int | None = None
    flip: int | None = None
    fail: int | None = None
    asked: list[int] = field(default_factory=list)

    def openings(self, step: int) -> Sequence[Opening]:
        """Return the openings of a step's batches."""
        self.asked.append(step)
        if step == self.withhold:
            raise OpeningError("it is lost")
        if step == self.fail:
            raise ZeroDivisionError("a bug of the prover's")
        if self.swap and step in self.swap:
            step = sum(self.swap) - step
        shown = self.run.openings[step]
        if step == self.lie:
            return self.run.openings[step - 1]
        return [flipped(opening) for opening in shown] if step == self.flip else shown

    def states(self, index: int) -> State:
        """Return a state."""
        return self.run.states[index]


@dataclass
class Scene:
    """Hold a run that is served, and make what a judge needs to ask for it."""

    folder: Path
    simulation: Simulation = Simulation(segments=4, every=2, micro=2, store=(2, 4))  # noqa: RUF009
    clock: Clock = field(default_factory=Clock)

    @cached_property
    def run(self) -> Run:
        return self.simulation.run()

    @cached_property
    def archive(self) -> Archive:
        return open_archive(self.simulation.seal(self.folder / "run.pol"), trusted=None)

    @property
    def record(self) -> Path:
        return self.folder / "releases.jsonl"

    def request(self, signer: Signer = JUDGE, **changes: Any) -> bytes:
        """Return a signed request for segments 0 and 2, and the state between 0 and 1."""
        asked = Request(
            run=self.run.header.run,
            head=self.run.heads[-1],
            nonce=bytes(range(32)),
            selection="the first, and every other",
            segments=(0, 2),
            states=(1, 3),
            key=signer.key,
            issued=NOW,
            expires=NOW + HOUR,
        )
        return request.sign(replace(asked, **changes), signer)

    @contextmanager
    def serving(
        self,
        prover: Prover | None = None,
        *,
        port: int = 0,
        judges: Sequence[VerifierKey] = (JUDGE.key, OTHER.key),
        tell: Callable[[Fact], None] = lambda fact: None,
        **bounds: Any,
    ) -> Iterator[Server]:
        """Serve the run until the block ends."""
        prover = prover or Prover(self.run)
        record = Releases(self.record)
        desk = Desk(self.archive, PROVER, prover.openings, prover.states, record, tell=tell, clock=self.clock)
        try:
            with Server("127.0.0.1", port, desk, PROVER, judges, Bounds(**bounds)) as server:
                yield server
        finally:
            record.close()

    def channel(self, url: str, document: bytes | None = None, **settings: Any) -> Channel:
        """Return a judge's end of the channel."""
        signer = settings.pop("signer", JUDGE)
        folder = self.folder / settings.pop("folder", "kept")
        settings = {"patience": 20.0, "clock": self.clock, "prover": PROVER.key, **settings}
        return Channel(url, signer, document=document or self.request(signer), folder=folder, **settings)

    def facts(self) -> list[Fact]:
        """Return the record of releases, once nobody serves."""
        return releases.read(self.record)

    def released(self) -> list[str]:
        """Return the names of the parts that left, in order, those that left again too."""
        return [fact.part for fact in self.facts() if isinstance(fact, Released)]

    def refused(self) -> list[str]:
        """Return why something was refused, in order."""
        return [fact.reason for fact in self.facts() if isinstance(fact, Refused)]


def flipped(opening: Opening) -> Opening:
    """Return an opening with one bit of one record changed."""
    image = opening.batch.columns["image"]
    assert isinstance(image, Array)
    data = bytes([image.data[0] ^ 1]) + bytes(image.data[1:])
    columns = {**opening.batch.columns, "image": Array(image.dtype, image.shape, data)}
    return Opening(Batch(opening.batch.count, columns, opening.batch.whole), opening.salts)
