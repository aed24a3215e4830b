"""Record with stamps: what a recorder tells a stamper, what it takes from it, and that a crash loses neither."""

import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from polarchive.exchange.stamps import StampClient
from polarchive.format import attach, journal, marks, stamp
from polarchive.format.archive import open_archive, pack
from polarchive.format.merkle import Digest
from polarchive.recording.start import begin
from tests import tsa
from tests.recording.lives import Chain, Life, Nursery, held, hurried
from tests.recording.recording_child import EVERY, Order, feed
from tests.simulator import PROVER
from tests.tsa import AUTHORITY, ROOT

STEPS: Final = 6


@dataclass
class Scripted:
    """Stand for a stamper whose newest stamp is whatever the test says; it looks at the journal when it is told."""

    run: Path
    latest: Digest | None = None
    told: list[int] = field(default_factory=list)
    stopped: int = 0

    def start(self, run: Path) -> "Scripted":
        assert run == self.run
        return self

    def head(self, size: int, note: bytes) -> None:
        assert journal.read(self.run).notes[-1] == note  # it is on disk
        self.told.append(size)
        self.latest = bytes([size]) * 32

    def stop(self) -> str:
        self.stopped += 1
        return "what people should know"


def test_a_recorder_tells_of_heads_that_are_on_disk_and_names_the_newest_stamp(tmp_path: Path) -> None:
    stamper = Scripted(tmp_path / "run")
    begun = begin(replace(Order(stamper.run).wanted, stamps=stamper), resume=True)
    recording = begun.recording(PROVER, background=False)
    with hurried():
        assert list(feed(begun, recording, STEPS))[-1] == STEPS
    assert stamper.told == [1, 2, 3, 4, 5]
    segments = held(stamper.run, STEPS)
    assert segments is not None
    assert [segment.not_before for segment in segments] == [bytes([size]) * 32 for size in (1, 2, 3)]
    assert recording.stop() == "what people should know" and stamper.stopped == 2


def test_a_run_without_stamps_names_none(tmp_path: Path) -> None:
    begun = begin(Order(tmp_path / "run").wanted, resume=True)
    with hurried():
        list(feed(begun, begun.recording(PROVER, background=False), STEPS))
    assert {segment.not_before for segment in held(tmp_path / "run", STEPS) or []} == {None}
    assert not (tmp_path / "run" / attach.FOLDER).exists()


@dataclass(frozen=True, slots=True)
class StampedOrder(Order):
    """Say what to record, and who stamps it."""

    url: str = ""

    @property
    def wanted(self) -> Any:
        stamps = StampClient(self.url, roots=[ROOT], timeout=2.0, patience=5.0)
        return replace(super(StampedOrder, self).wanted, stamps=stamps)


@pytest.fixture
def url() -> Iterator[str]:
    """Serve an authority that takes its time, so that stamps come in between."""
    with tsa.listening(tsa.after(0.01, tsa.stamps())) as url:
        yield url


def check(folder: Path) -> tuple[int, int]:
    """Check all stamps of a run, and what entries say of them; return how many stamps and how many entries."""
    with open_archive(folder, trusted=[PROVER.key]) as archive:
        archive.seal()
        sizes = {each.stamp.digest: each.size for each in archive.attached.stamps}
        for each in archive.attached.stamps:
            stamp.check(each.stamp, each.over, [AUTHORITY.root])
        named = [segment for segment in archive.segments if segment.not_before]
        assert all(sizes[segment.not_before or b""] <= segment.index + 1 for segment in named)
        return len(sizes), len(named)


@pytest.mark.parametrize("background", [False, True], ids=["at_once", "behind"])
def test_stamps_come_in_while_a_run_is_recorded(background: bool, url: str, tmp_path: Path) -> None:
    order = StampedOrder(tmp_path / "run", background=background, url=url)
    begun = begin(order.wanted, resume=True)
    recording = begun.recording(PROVER, background)
    for durable in feed(begun, recording, 40):
        time.sleep(0.02 if durable < 40 else 0)
    assert recording.stop() == ""
    stamps, named = check(order.folder)
    assert stamps > 3 and named > 3
    pack(order.folder, tmp_path / "run.pol")
    assert check(tmp_path / "run.pol") == (stamps, named)


def test_what_people_should_know_comes_from_the_other_process(tmp_path: Path) -> None:
    with tsa.FAULTS["outage"].served(tmp_path) as url:
        stamps = StampClient(url, patience=0.5)
        begun = begin(replace(Order(tmp_path / "run").wanted, stamps=stamps), resume=True)
        recording = begun.recording(PROVER, background=True)
        assert list(feed(begun, recording, STEPS))[-1] == STEPS
    said = recording.stop()
    assert "the last head lacks a stamp" in said and "polarc stamp" in said
    assert held(tmp_path / "run", STEPS) and marks.read(tmp_path / "run")[-1].size == STEPS // EVERY + 2


# kill -9.


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path_factory.mktemp("nursery") / "errors")
    yield nursery
    nursery.close()
    assert nursery.errors.read_text() == ""


class StampedChain(Chain):
    """Record one run in many lives, and check its stamps too after each."""

    url: str = ""

    def start(self, **options: Any) -> Life:
        return self.nursery.start(
            StampedOrder(self.folder, url=self.url, **{"background": self.background, "salted": self.salted} | options)
        )

    def _check(self, left: int | None) -> None:
        super()._check(left=None)
        if self.segments is not None:
            check(self.folder)


@pytest.mark.parametrize(
    ("background", "kills"),
    [
        pytest.param(False, 6, id="at_once"),
        pytest.param(True, 2, id="behind"),
        pytest.param(False, 40, id="at_once-40", marks=pytest.mark.slow),
        pytest.param(True, 15, id="behind-15", marks=pytest.mark.slow),
    ],
)
def test_kills_at_random_moments_lose_no_step_and_no_stamp(
    background: bool, kills: int, nursery: Nursery, url: str, tmp_path: Path
) -> None:
    chance = random.Random(kills)
    chain = StampedChain(nursery, tmp_path / "run", background)
    chain.url = url
    count = 0
    for number in range(10 * kills):
        if number >= kills and count:  # a busy machine may stamp nothing in so few short lives
            break
        life = chain.kill(["training"], chance.randrange(2, 6), chance.random() * 0.1)
        assert life.status == -signal.SIGKILL, life.failure
        stamps, named = check(chain.folder)
        assert stamps >= count
        count = stamps
    assert count > 0
    steps = 3 + chain.durable
    assert chain.live(steps=steps + 40).status == 0
    stamps, named = check(chain.folder)
    assert stamps > count and named > 3
    with open_archive(chain.folder, trusted=None) as archive:
        assert archive.end is not None and archive.attached.over(len(archive.heads))
    pack(chain.folder, tmp_path / "run.pol")
    assert check(tmp_path / "run.pol") == (stamps, named)


@pytest.mark.parametrize("how", ["kills", "kills_after"])
def test_a_kill_at_any_operation_on_the_disk_leaves_no_half_a_stamp(
    how: str, nursery: Nursery, url: str, tmp_path: Path
) -> None:
    """Operations of recording and of stamping are mixed as they come."""
    chain = StampedChain(nursery, tmp_path / "run")
    chain.url = url
    for number in range(1, 40, 3):
        assert chain.live(fault=("any", how, number)).status == -signal.SIGKILL
    assert chain.live(steps=max(0, chain.durable) + 40).status == 0
    stamps, named = check(chain.folder)
    assert stamps > 0 and named > 0
    left = {path.name for path in (chain.folder / attach.FOLDER).iterdir()}
    assert left - {marks.NAME} == {*attach.names(chain.folder)}
