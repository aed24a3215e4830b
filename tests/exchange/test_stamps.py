"""Have heads stamped by authorities that work, and by ones that fail in every way: recording never loses a step."""

import shutil
import subprocess
import time
import warnings
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import pytest

import polarchive as pol
from polarchive.exchange import attempts
from polarchive.exchange.authority import reason_of
from polarchive.exchange.stamps import StampClient, Stamps
from polarchive.format import attach, marks, stamp
from polarchive.format.archive import Archive, open_archive, pack
from polarchive.recording.start import begin
from polarchive.verification.verdict import ACCEPTED
from tests import tsa
from tests.authority import hours
from tests.recording.lives import held, hurried
from tests.recording.recording_child import EVERY, Order, feed
from tests.simulator import PROVER
from tests.training.test_writer import Training, judged
from tests.tsa import AUTHORITY, FAULTS, ROOT, Asked, Fault, client
from tools import authority as openssl

STEPS: Final = 8
HEADS: Final = STEPS // EVERY + 2


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(attempts, "GRACE", 0.2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the keys of a real authority."""
    folder = tmp_path_factory.mktemp("authority")
    openssl.make(folder)
    return folder


def record(
    folder: Path, stamps: StampClient, steps: int = STEPS, pause: Callable[[int], object] = lambda _: None
) -> str:
    """Record a run to its end and return what people are told then; `pause` is called whenever more is durable."""
    order = Order(folder)
    begun = begin(replace(order.wanted, stamps=stamps), resume=True)
    recording = begun.recording(PROVER, background=False)
    with hurried():
        for durable in feed(begun, recording, steps):
            pause(durable)
    return recording.stop()


def check_bounds(archive: Archive) -> None:
    """Check that every stamp that an entry names is there, over a head that does not cover the entry."""
    stamps = {each.stamp.digest: each for each in archive.attached.stamps}
    for segment in archive.segments:
        if segment.not_before is not None:
            assert stamps[segment.not_before].size <= segment.index + 1


# Stamps while a run is recorded.


def stamped(folder: Path) -> list[int]:
    """Return the sizes of the heads that have stamps, whose files must all be ones that a reader takes."""
    with open_archive(folder, trusted=[PROVER.key]) as archive:
        check_bounds(archive)
        for each in archive.attached.stamps:
            stamp.check(each.stamp, each.over, [AUTHORITY.root])
        return [each.size for each in archive.attached.stamps]


def until(condition: Callable[[], object]) -> None:
    """Wait for what other threads do."""
    hanging = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < hanging
        time.sleep(0.005)


def told(folder: Path) -> list[tuple[int, str]]:
    return [(mark.size, mark.reason) for mark in marks.read(folder)]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of stamps in the order in which they are known: a stamp is on disk a moment before."""
    known: list[int] = []
    keep = Stamps._keep

    def keep_and_tell(stamps: Stamps, size: int, found: stamp.Stamp) -> None:
        keep(stamps, size, found)
        known.append(size)

    monkeypatch.setattr(Stamps, "_keep", keep_and_tell)
    return known


@pytest.mark.parametrize(("every", "sizes"), [(1, [1, 2, 3, 4, 5, 6]), (2, [1, 3, 5, 6]), (4, [1, 5, 6]), (99, [1, 6])])
def test_the_first_head_is_stamped_and_one_in_so_many_and_the_last(
    every: int, sizes: list[int], folder: Path, kept: list[int]
) -> None:
    def pause(durable: int) -> None:
        heads = durable // EVERY + 1
        until(lambda: len(kept) >= sum(size <= heads and size in sizes[:-1] for size in range(7)))

    with tsa.listening(tsa.stamps()) as url:
        assert record(folder, client(url, every=every), pause=pause) == ""
    assert stamped(folder) == sizes
    with open_archive(folder, trusted=None) as archive:
        digests = {each.size: each.stamp.digest for each in archive.attached.stamps}
        for segment in archive.segments:  # each names the newest stamp that there was
            newest = max(size for size in sizes[:-1] or [1] if size <= segment.index + 1)
            assert segment.not_before == digests[newest]
    assert marks.read(folder) == ()


def test_an_authority_that_is_slower_than_training_gets_the_newest_head(folder: Path) -> None:
    asked, done = Event(), Event()

    def slow(line: Any, request: Asked) -> None:
        asked.set()
        done.wait(5)
        tsa.stamps()(line, request)

    def pause(durable: int) -> None:
        asked.wait(5)
        if durable == STEPS:
            done.set()

    with tsa.listening(slow) as url:
        assert record(folder, client(url, timeout=5.0), pause=pause) == ""
    sizes = stamped(folder)
    assert sizes[0] == 1 and sizes[-1] == HEADS and len(sizes) <= 3
    with open_archive(folder, trusted=None) as archive:
        assert {segment.not_before for segment in archive.segments} == {None}


def test_what_fails_now_and_then_is_asked_again(folder: Path) -> None:
    error = FAULTS["error"].talk
    assert error is not None
    with tsa.listening(tsa.turns(error, error, tsa.stamps())) as url:
        assert record(folder, client(url, every=99)) == ""
    assert stamped(folder)[-1] == HEADS


def test_what_fails_for_good_is_marked_and_told_at_the_end(folder: Path) -> None:
    began = int(time.time())
    with FAULTS["outage"].served(folder) as url:
        said = record(folder, client(url), pause=lambda _: time.sleep(0.05))
    assert stamped(folder) == []
    found = marks.read(folder)
    assert found[-1].size == HEADS and {mark.size for mark in found} <= {*range(1, HEADS + 1)} and len(found) > 1
    assert {(mark.url, mark.reason) for mark in found} == {(url, "unreachable")}
    assert all(began <= mark.time <= time.time() and url in mark.message for mark in found)
    assert said.startswith(f"{folder}: the last head lacks a stamp: {url}: ")
    assert "[unreachable]" in said and said.endswith(f"polarc stamp {folder} --tsa URL adds one later")


def test_an_authority_that_comes_back_stamps_the_last_head(folder: Path) -> None:
    down = [FAULTS[name].talk for name in ("error", "page", "hanging_up", "refusal")]
    with tsa.listening(tsa.turns(*filter(None, down), tsa.stamps())) as url:
        assert record(folder, client(url), pause=lambda _: time.sleep(0.03)) == ""
    assert stamped(folder)[-1] == HEADS
    assert {reason for _, reason in told(folder)} <= {"status", "content-type", "unreachable", "stamp-refused"}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_recording_loses_no_step_whatever_the_authority_does(fault: Fault, folder: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    with fault.served(tmp_path) as url:
        said = record(folder, client(url, patience=fault.timeout, timeout=fault.timeout))
    assert time.monotonic() - began < 10
    segments = held(folder, STEPS)
    assert segments is not None and [segment.first for segment in segments] == [*range(0, STEPS, EVERY)]
    assert {segment.not_before for segment in segments} == {None}
    assert fault.reason in {reason for _, reason in told(folder)} <= {fault.reason, "slow"}  # what has no time left
    assert f"[{fault.reason}]" in said or "[slow]" in said
    pack(folder, tmp_path / "run.pol")
    with open_archive(tmp_path / "run.pol", trusted=[PROVER.key]) as archive:
        archive.seal()
        assert archive.end is not None and archive.end.steps == STEPS
        assert archive.attached.stamps == () and len(archive.heads) == HEADS


def test_each_authority_is_asked_by_itself(folder: Path) -> None:
    with tsa.listening(tsa.silence) as silent, tsa.listening(tsa.stamps()) as url:
        said = record(folder, client(silent, url, patience=0.5), pause=lambda _: time.sleep(0.05))
    assert silent in said and url not in said
    assert stamped(folder)[-1] == HEADS and len(stamped(folder)) > 2


def test_several_authorities_stamp_the_same_heads(folder: Path) -> None:
    with tsa.listening(tsa.stamps()) as first, tsa.listening(tsa.stamps()) as second:
        assert record(folder, client(first, second)) == ""
    assert stamped(folder)[-2:] == [HEADS, HEADS]


def test_training_never_waits_for_an_authority(folder: Path) -> None:
    seen = []
    with tsa.listening(tsa.silence) as url:
        began = time.monotonic()
        stamps = client(url, timeout=60.0, patience=0.2)
        said = record(folder, stamps, pause=lambda _: seen.append(time.monotonic() - began))
    assert max(seen[:-1]) < 3.0  # seconds for all steps
    assert max(seen) < 6.0
    assert "still waited for" in said or "[slow]" in said  # the first request may begin only as recording ends


def test_a_disk_that_fails_for_a_stamp_is_no_failure_of_recording(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(attach, "attach_stamp", full)
    with tsa.listening(tsa.stamps()) as url:
        said = record(folder, client(url))
    assert "No space left" in said and {reason for _, reason in told(folder)} == {"disk"}
    assert held(folder, STEPS)


def test_a_mark_that_cannot_be_made_fails_no_recording(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault of this program")

    monkeypatch.setattr(attach, "attach_stamp", broken)
    monkeypatch.setattr(marks, "append", broken)
    with tsa.listening(tsa.stamps()) as url:
        assert "a fault of this program" in record(folder, client(url))
    assert held(folder, STEPS) and reason_of(ZeroDivisionError()) == "unexpected"


def test_a_run_that_stops_without_an_end_has_its_last_head_stamped(folder: Path) -> None:
    with tsa.listening(tsa.stamps()) as url:
        stop(folder, client(url, every=99), steps=4)
    assert stamped(folder)[-1] == 3


def stop(folder: Path, stamps: StampClient | None, steps: int) -> None:
    """Record some steps of a run that does not end."""
    begun = begin(replace(Order(folder).wanted, stamps=stamps), resume=True)
    recording = begun.recording(PROVER, background=False)
    with hurried():
        assert next(durable for durable in feed(begun, recording, None) if durable >= steps) == steps
    assert recording.stop() == ""


@pytest.mark.parametrize("goes_on_with_stamps", [True, False])
def test_a_run_that_goes_on_knows_the_newest_stamp(goes_on_with_stamps: bool, folder: Path) -> None:
    with tsa.listening(tsa.stamps()) as url:
        stop(folder, client(url), steps=4)
        with open_archive(folder, trusted=None) as archive:
            newest = archive.attached.over(3)[-1].stamp.digest
        stop(folder, client(url, every=99) if goes_on_with_stamps else None, steps=8)
    with open_archive(folder, trusted=None) as archive:
        assert archive.segments[2].not_before == newest
        assert archive.segments[3].not_before is not None
    assert (stamped(folder)[-1] == 5) == goes_on_with_stamps


def test_the_newest_stamp_is_the_one_with_the_latest_time(folder: Path) -> None:
    stop(folder, None, steps=4)
    with open_archive(folder, trusted=None) as archive:
        for head, signed, hour in zip(archive.heads, archive.notes, (1, 3, 2), strict=True):
            attach.attach_stamp(folder, head.size, AUTHORITY.at(hours(hour)).over(signed))
    stop(folder, None, steps=6)
    with open_archive(folder, trusted=None) as archive:
        assert archive.segments[2].not_before == archive.attached.over(2)[0].stamp.digest


def test_a_run_that_goes_on_without_its_damaged_tail_drops_the_stamps_over_it(folder: Path) -> None:
    stop(folder, None, steps=8)
    data = (folder / "journal").read_bytes()
    with open_archive(folder, trusted=None) as archive:
        cut = data.index(archive.notes[2]) + len(archive.notes[2]) + 8
        for head, signed in zip(archive.heads, archive.notes, strict=True):
            attach.attach_stamp(folder, head.size, AUTHORITY.over(signed))
    (folder / "journal").write_bytes(data[:cut] + b"damage" + data[cut + 6 :])
    (folder / attach.FOLDER / ".half-50-stamp-0000000002-001.tsr").write_bytes(b"half a stamp")
    stop(folder, None, steps=8)
    assert stamped(folder) == [1, 2, 3]
    assert {path.name for path in (folder / attach.FOLDER).iterdir()} == {*attach.names(folder)}


def test_a_run_that_begins_has_no_stamps_of_another(folder: Path) -> None:
    folder.mkdir()
    attach.attach_stamp(folder, 1, AUTHORITY.over(b"the head of another run"))
    stop(folder, None, steps=2)
    assert stamped(folder) == []


def test_stamps_that_come_at_once_have_numbers_of_their_own(folder: Path) -> None:
    stop(folder, None, steps=2)
    with open_archive(folder, trusted=None) as archive:
        signed = archive.notes[-1]
    tokens = {AUTHORITY.at(hours(number)).over(signed) for number in range(32)}
    threads = [Thread(target=attach.attach_stamp, args=(folder, 2, token)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {raw for _, raw in attach.attached(folder)} == tokens
    assert stamped(folder) == [2] * 32


def test_a_user_and_a_password_are_sent_and_never_told(folder: Path) -> None:
    asked: list[Asked] = []

    def refuse(line: Any, request: Asked) -> None:
        asked.append(request)
        line.sendall(tsa.reply(b"", "403 Forbidden"))

    with tsa.listening(refuse) as url:
        secret = url.replace("//", "//alice:open%20sesame@") + "?token=hidden"
        assert "alice" not in repr(client(secret))
        said = record(folder, client(secret))
    assert asked[0].headers["Authorization"] == "Basic " + b64encode(b"alice:open sesame").decode()
    assert asked[0].line.split()[1] == "/tsa?token=hidden" and "@" not in asked[0].headers["Host"]
    told = said + (folder / attach.FOLDER / marks.NAME).read_text()
    assert f"{url}: status 403" in told
    assert not any(word in told for word in ("alice", "sesame", "hidden"))


# From a training loop.


@pytest.mark.parametrize("background", [False, True], ids=["at_once", "behind"])
def test_a_training_is_warned_at_its_end_and_never_before(background: bool, folder: Path, tmp_path: Path) -> None:
    training = Training()
    with FAULTS["error"].served(tmp_path) as url:
        log = training.writer(folder, background=background, stamps=client(url, patience=1.0))
        with warnings.catch_warnings(action="error"):
            training.record(log, 9)
        with pytest.warns(UserWarning, match=f"lacks a stamp: {url}: status 500.*polarc stamp {folder} --tsa URL"):
            log.close()
    assert log.durable == 9 and judged(folder) == ACCEPTED


def test_an_exception_of_the_training_is_what_is_seen(folder: Path, tmp_path: Path) -> None:
    training = Training()
    with (
        FAULTS["outage"].served(tmp_path) as url,
        pytest.warns(UserWarning, match="lacks a stamp"),
        pytest.raises(ZeroDivisionError),
        training.writer(folder, stamps=client(url)) as log,
    ):
        training.record(log, 5)
        raise ZeroDivisionError


@pytest.mark.parametrize("background", [False, True], ids=["at_once", "behind"])
def test_a_stamped_run_is_accepted(background: bool, folder: Path) -> None:
    training = Training()
    with tsa.listening(tsa.stamps()) as url:
        stamps = pol.StampClient(url, every=2, roots=[ROOT], timeout=5.0)
        with training.writer(folder, background=background, stamps=stamps) as log:
            training.record(log, 9)
    assert stamped(folder)[-1] == 7 and judged(folder) == ACCEPTED


# What others make of them.

# as in the README
CHECK: Final = """
N=6
unzip -p run.pol 30-heads.txt | sed -n "$((5*N-4)),$((5*N))p" > head.note
unzip -p run.pol "$(printf '50-stamp-%010d-000.tsr' $N)" > head.tsr
openssl ts -verify -data head.note -in head.tsr -CAfile ca.pem
"""


@pytest.mark.skipif(not shutil.which("unzip"), reason="no unzip")
@pytest.mark.parametrize("chain", [False, True], ids=["bare", "chain"])
def test_openssl_accepts_a_stored_stamp(chain: bool, authority: Path, folder: Path, tmp_path: Path) -> None:
    root = shutil.copy(authority / "ca.pem", tmp_path)
    with tsa.real(authority, chain) as url:
        assert record(folder, StampClient(url, roots=[root], timeout=5.0)) == ""
    pack(folder, tmp_path / "run.pol")
    assert "Verification: OK" in shell(CHECK, tmp_path)
    assert "Verification: FAILED" in shell(CHECK.replace("5*N))p", "5*N-1))p"), tmp_path)


def shell(script: str, folder: Path) -> str:
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
