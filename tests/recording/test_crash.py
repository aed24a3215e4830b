"""Test that nothing acknowledged is lost: to kill -9, to a disk that fails at any operation, to a disk that is full."""

import mmap
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from polarchive.errors import FormatError, PolError, RecordingError
from polarchive.format import journal, tensors
from polarchive.format.archive import open_archive
from polarchive.recording import spawn
from polarchive.recording.background import Background
from polarchive.recording.recorder import Recording
from polarchive.recording.snapshot import Arrays
from polarchive.recording.start import begin
from tests.recording.faults import ERRORS, VARIABLE, Fault
from tests.recording.lives import (
    Chain,
    Life,
    Nursery,
    check_end,
    check_same,
    contents,
    held,
    hurried,
    record,
    states,
)
from tests.recording.recording_child import EVERY, Order, fed, feed, header_of, hyper_of, keep_pace, state_of
from tests.simulator import PROVER, noise

FULL: Final = "No space left on device"


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path_factory.mktemp("nursery") / "errors")
    yield nursery
    nursery.close()
    assert nursery.errors.read_text() == ""


# kill -9.

VICTIMS: Final[dict[str, tuple[bool, bool, list[str]]]] = {  # is there a process that records, is there salt, who dies
    "at_once": (False, False, ["training"]),
    "at_once_salted": (False, True, ["training"]),
    "training": (True, True, ["training"]),
    "recorder": (True, False, ["recorder"]),
    "both": (True, False, ["recorder", "training"]),
}
KILLS: Final = {"at_once": 23, "at_once_salted": 23, "training": 5, "recorder": 5, "both": 4}
MANY: Final = {"at_once": 400, "at_once_salted": 400, "training": 75, "recorder": 75, "both": 50}
LENGTH: Final = 25  # kills of one run


@pytest.mark.parametrize(
    ("victim", "kills"),
    [
        *(pytest.param(*pair, id=f"{pair[0]}-{pair[1]}") for pair in KILLS.items()),
        *(pytest.param(*pair, id=f"{pair[0]}-{pair[1]}", marks=pytest.mark.slow) for pair in MANY.items()),
    ],
)
def test_nothing_acknowledged_is_lost_to_kills_at_random_moments(
    victim: str, kills: int, nursery: Nursery, tmp_path: Path
) -> None:
    background, salted, victims = VICTIMS[victim]
    for number, start in enumerate(range(0, kills, LENGTH)):
        chance = random.Random(f"{victim} {number}")
        chain = Chain(nursery, tmp_path / str(number) / "run", background, salted)
        for _ in range(min(LENGTH, kills - start)):
            lines = chance.randrange(5)
            life = chain.kill(victims, lines, chance.random() ** 2 * (0.02 if lines or not background else 0.3))
            assert life.status == (-signal.SIGKILL if "training" in victims else 1), life.failure
        chain.finish(tmp_path / str(number))


def test_a_killed_recorder_is_what_the_training_is_told_of(nursery: Nursery, tmp_path: Path) -> None:
    life = Chain(nursery, tmp_path / "run", background=True).kill(["recorder"], lines=3, delay=0)
    assert life.failure[0] == "RecordingError" and "its process ended with status -9" in life.failure[1]


@pytest.mark.parametrize(
    ("kind", "how", "last"), [("any", "kills", 28), ("write", "kills_halfway", 12)], ids=["before", "halfway"]
)
def test_nothing_acknowledged_is_lost_to_a_kill_at_any_operation_on_the_disk(
    kind: str, how: str, last: int, nursery: Nursery, tmp_path: Path
) -> None:
    """Each life goes one operation further: first those of a run that begins, then again those of one that goes on."""
    chain = Chain(nursery, tmp_path / "run")
    for number in [*range(1, last), *range(1, last)]:
        assert chain.live(fault=(kind, how, number)).status == -signal.SIGKILL
    assert chain.durable > 0
    chain.finish(tmp_path)


# What crashes leave behind.


def broken_off(folder: Path, steps: int, salted: bool = False) -> Path:
    """Record so many steps of a run that does not end."""
    begun = begin(Order(folder, salted=salted).wanted, resume=True)
    recording = begun.recording(PROVER, background=False)
    assert next(durable for durable in feed(begun, recording, None) if durable >= steps) == steps
    recording.stop()
    return folder


def test_a_state_in_passing_goes_when_the_next_one_is_durable(tmp_path: Path) -> None:
    order = Order(tmp_path / "run", 9)
    begun = begin(order.wanted, resume=True)
    numbers = []
    for durable in feed(begun, begun.recording(PROVER, background=False), order.steps):
        held(order.folder, durable, left=0)
        numbers.append(len(states(order.folder)))
    assert numbers == [1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("steps", [2, 4], ids=["in_passing", "stored"])
def test_what_a_crash_left_behind_is_gone_after_a_resume(steps: int, tmp_path: Path) -> None:
    folder = broken_off(tmp_path / "run", steps)
    before = contents(folder)
    lost = tensors.root_of(state_of(steps + EVERY)).hex()
    for name in (f"{lost}.safetensors", f"{lost}.coded", f"{lost}.coded.tmp", f"{lost}.safetensors.tmp"):
        (folder / journal.STATES / name).write_bytes(noise(0, name, 999))
    (folder / f"{journal.EPOCH}.tmp").write_bytes(b"1")
    with (folder / journal.JOURNAL).open("ab") as file:
        file.write(journal.frame(journal.ROWS, b"rows") + b"\0\0\0\7E")
    begin(Order(folder).wanted, resume=True).journal.close()
    assert contents(folder) == {**before, journal.EPOCH: b"1\n"}
    record(folder, steps + 3)
    check_same(folder, record(tmp_path / "whole", steps + 3))


def test_resuming_again_and_again_takes_no_room(tmp_path: Path) -> None:
    folder = broken_off(tmp_path / "run", 6)
    before = contents(folder)
    for _ in range(12):
        begin(Order(folder).wanted, resume=True).journal.close()
    assert contents(folder) == {**before, journal.EPOCH: b"12\n"}


def test_a_kill_while_the_secret_is_made_stops_no_resume(nursery: Nursery, tmp_path: Path) -> None:
    """Whatever file a beginning opens, it may get no further."""
    for number in range(1, 4):
        chain = Chain(nursery, tmp_path / str(number) / "run", salted=True)
        assert chain.live(fault=("open", "kills_after", number)).status == -signal.SIGKILL
        chain.finish(tmp_path / str(number))


def test_a_run_is_not_continued_under_another_secret(tmp_path: Path) -> None:
    """Otherwise its first batches could never be shown, and nobody would know before a judge asks."""
    folder = broken_off(tmp_path / "run", 4, salted=True)
    (folder / journal.SECRET).unlink()
    with pytest.raises(PolError, match="secret"):
        begin(Order(folder, salted=True).wanted, resume=True)


@pytest.mark.parametrize("place", [30, 100, 700])
def test_a_run_with_a_damaged_header_is_not_begun_again(place: int, tmp_path: Path) -> None:
    folder = broken_off(tmp_path / "run", 8)
    data = bytearray((folder / journal.JOURNAL).read_bytes())
    data[place] ^= 1
    (folder / journal.JOURNAL).write_bytes(data)
    before = contents(folder)
    with pytest.raises(PolError):
        begin(Order(folder).wanted, resume=True)
    assert contents(folder) == before


# A disk that fails.

STEPS: Final = 5
FAILURES: Final = {
    "no_space": ("write", "fails"),
    "half_a_write": ("write", "falls_short"),
    "sync": ("sync", "fails"),
    "rename": ("rename", "fails"),
    "unlink": ("unlink", "fails"),
}


def attempt(order: Order) -> tuple[int, Recording | None, str]:
    """Record until something fails; return what was durable before it, what recorded, and the error."""
    recording, durable = None, -1
    try:
        begun = begin(order.wanted, resume=True)
        recording = begun.recording(PROVER, order.background)
        for steps in feed(begun, recording, order.steps):
            durable = max(durable, steps or -order.background)
            keep_pace(recording)
    except (OSError, RecordingError) as error:
        assert isinstance(error, RecordingError) or not order.background
        return durable, recording, str(error)
    return durable, recording, ""


def ended(folder: Path) -> bool:
    """Tell whether a run has its end, although this was not acknowledged."""
    with suppress(FormatError), open_archive(folder, trusted=None) as archive:
        return archive.end is not None
    return False


def check_over(recording: Recording, folder: Path) -> None:
    """Check that a recorder that failed refuses to go on, and leaves the directory as it is."""
    before = contents(folder)
    for call in (partial(recording.segment, Arrays(state_of(STEPS)), False), recording.end):
        with pytest.raises(RecordingError):
            call()
    with suppress(RecordingError):
        recording.stop()
    assert contents(folder) == before


@pytest.mark.parametrize("steps", [0, EVERY], ids=["fresh", "resumed"])
@pytest.mark.parametrize(("kind", "how"), FAILURES.values(), ids=FAILURES)
def test_nothing_acknowledged_is_lost_to_any_operation_that_fails(
    kind: str, how: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = record(tmp_path / "whole", STEPS)
    for number in count(1):
        folder = broken_off(tmp_path / str(number) / "run", steps) if steps else tmp_path / str(number) / "run"
        fault = Fault(kind, how, number)
        with monkeypatch.context() as patch:
            fault.plant(patch.setattr)
            durable, recording, error = attempt(Order(folder, STEPS))
            if not error:
                break
            assert os.strerror(ERRORS[kind]) in error and "\n" not in error
            if recording:
                check_over(recording, folder)
        held(folder, max(durable, steps or -1), left=1)
        check_end(folder if ended(folder) else record(folder, STEPS), STEPS, folder.parent)
        check_same(folder, whole)
    assert fault.seen < fault.number and number > 3


@pytest.mark.parametrize(
    ("failure", "number"),
    [
        ("no_space", 1),
        ("no_space", 9),
        ("half_a_write", 2),
        ("half_a_write", 10),
        ("sync", 2),
        ("sync", 7),
        ("rename", 3),
    ],
)
def test_nothing_acknowledged_is_lost_to_an_operation_that_fails_in_another_process(
    failure: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real, fault = tmp_path / "run", spawn.start, Fault(*FAILURES[failure], number)
    with monkeypatch.context() as patch:
        patch.setenv(VARIABLE, fault.spell())
        patch.setattr(spawn, "start", lambda _, *rest: real("tests.recording.faults", *rest))
        durable, recording, error = attempt(Order(folder, background=True))
    assert os.strerror(ERRORS[fault.kind]) in error and "recording failed" in error and "\n" not in error
    assert recording is not None
    check_over(recording, folder)
    segments = held(folder, durable, left=1)
    steps = 3 + sum(segment.steps for segment in segments or [])
    check_end(record(folder, steps), steps, tmp_path)
    check_same(folder, record(tmp_path / "whole", steps))


def test_a_beginning_that_fails_gives_up_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even while the error is looked at, as in a notebook, which keeps it."""
    monkeypatch.setattr(journal, "_PATIENCE", 0.1)
    whole = record(tmp_path / "whole", STEPS)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError) as failure:
        Fault("sync", "fails", 1).plant(patch.setattr)
        begin(Order(tmp_path / "run").wanted, resume=True)
    check_same(record(tmp_path / "run", STEPS), whole)
    assert failure.value.errno == ERRORS["sync"]


class Forgetful:
    """Sign all but one of what it is given, as a key server does that is down for a moment."""

    key = PROVER.key

    def __init__(self, number: int) -> None:
        self._left = number

    def sign(self, message: bytes) -> bytes:
        self._left -= 1
        if not self._left:
            raise ConnectionError("no route to the key")
        return PROVER.sign(message)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_signer_that_fails_once_ends_the_recording(number: int, tmp_path: Path) -> None:
    """Otherwise an entry would stand there twice, and no reader would take either."""
    folder, durable = tmp_path / "run", -1
    begun = begin(Order(folder).wanted, resume=True)
    recording = begun.recording(Forgetful(number), background=False)
    with pytest.raises(ConnectionError):
        for steps in feed(begun, recording, STEPS):
            durable = steps
    check_over(recording, folder)
    held(folder, durable, left=1)
    check_end(record(folder, STEPS), STEPS, tmp_path)


def test_a_process_that_ends_before_it_records_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: Any) -> subprocess.Popen[bytes]:
        process = real(*arguments)
        process.kill()
        process.wait()
        return process

    real = spawn.start
    monkeypatch.setattr(spawn, "start", start)
    order = Order(tmp_path / "run", STEPS, background=True)
    durable, recording, error = attempt(order)
    assert "its process ended with status -9" in error and durable < 0
    if recording:
        check_over(recording, order.folder)


@pytest.mark.parametrize("dead", [False, True], ids=["well", "dead"])
def test_stopping_twice_does_no_harm(dead: bool, tmp_path: Path) -> None:
    begun = begin(Order(tmp_path / "run").wanted, resume=True)
    recording = begun.recording(PROVER, background=True)
    assert isinstance(recording, Background)
    if dead:
        recording._process.kill()
        recording._thread.join()
    for _ in range(2):
        with suppress(RecordingError):
            recording.stop()


@pytest.mark.parametrize(
    "moved", [lambda step: (step + 1) // 2, lambda step: step - step // 16], ids=["pairs", "keyframes"]
)
def test_states_that_repeat_stay_readable(moved: Callable[[int], int], tmp_path: Path) -> None:
    """A state that is there already is not written again, so that it cannot be the keyframe that it should be."""
    wanted = replace(Order(tmp_path / "run").wanted, every=1, store=1)
    begun = begin(wanted, resume=True)
    recording = begun.recording(PROVER, background=False)
    with hurried():
        recording.open(header_of(begun, every=1), Arrays(state_of(moved(0))))
        for step in range(135):
            recording.step(hyper_of(step))
            recording.batch(fed(step))
            recording.segment(Arrays(state_of(moved(step + 1))), last=False)
    recording.stop()
    with open_archive(tmp_path / "run", trusted=None) as archive:
        archive.seal()
    begin(wanted, resume=True).journal.close()


# A disk that is full.

PAGE: Final = mmap.PAGESIZE
MOUNT: Final = f'mount -t tmpfs -o size={256 * PAGE} tmpfs "$0" && exec "$@"'


@dataclass
class Disk:
    """Stand for a small file system, which a nursery of its own sees under this path as everybody does."""

    nursery: Nursery
    path: Path

    def fill(self, left: int) -> None:
        """Leave so many pages."""
        self.clear()
        free = os.statvfs(self.path).f_bavail
        (self.path / "ballast").write_bytes(bytes(PAGE * (free - left)))

    def clear(self) -> None:
        (self.path / "ballast").unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here, not even in a namespace of its own (unshare -rm)")
    nursery = Nursery(tmp_path / "errors", *prefix)
    yield Disk(nursery, Path(f"/proc/{nursery.process.pid}/root{tmp_path}"))
    nursery.close()
    assert nursery.errors.read_text() == ""


def check_full(life: Life) -> None:
    assert life.status == 1 and FULL in life.failure[1] and "\n" not in life.failure[1]
    assert life.failure[0] == ("RecordingError" if "recorder" in life.pids else "OSError")


@pytest.mark.parametrize("background", [False, True], ids=["at_once", "behind"])
def test_a_full_file_system_is_reported_and_nothing_acknowledged_is_lost(
    background: bool, disk: Disk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chain = Chain(disk.nursery, disk.path / "run", background)
    disk.fill(left=64)
    check_full(chain.live())
    assert chain.durable > 50
    check_full(chain.live())  # for there is still no room
    disk.clear()
    chain.finish(tmp_path_factory.mktemp("room"))


@pytest.mark.parametrize(
    "salted",
    [False, True],
    ids=["plain", "salted"],
)
def test_a_file_system_may_be_full_at_any_page(
    salted: bool, disk: Disk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for pages in range(12):
        chain = Chain(disk.nursery, disk.path / str(pages), salted=salted)
        disk.fill(left=pages)
        check_full(chain.live())
        disk.clear()
        chain.finish(tmp_path_factory.mktemp("room"))
        shutil.rmtree(chain.folder)
