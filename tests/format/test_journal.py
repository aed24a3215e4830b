"""Test the run directory: what was synced survives any torn tail, and no damage makes up anything."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polarchive.errors import FormatError, Reason, RecordingError
from polarchive.format import journal, storage, tensors
from polarchive.format.archive import open_archive, pack
from polarchive.format.journal import MAGIC, Journal, frame
from polarchive.format.storage import PLAIN
from tests.format.test_container import flips
from tests.simulator import Run, Simulation, spell_state, state_of

SIMULATION = Simulation(segments=2, every=1, records=1)
HEADER, FIRST, SECOND, NOTE = b"header", b"first", b"second", b"note"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return SIMULATION.record(tmp_path / "run")


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """Return a run directory that has no journal yet, for tests that write broken ones."""
    (tmp_path / "torn").mkdir()
    return tmp_path / "torn"


def write(folder: Path, *frames: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / journal.JOURNAL).write_bytes(MAGIC + b"".join(frames))
    return folder


def frames(run: Run) -> Iterator[tuple[bytes, bytes]]:
    """Yield the frames of a run in the order in which they are written."""
    for number, line in enumerate(run.lines):
        if 0 < number <= len(run.rows):
            yield journal.ROWS, run.rows[number - 1]
        yield (journal.ENTRY if number else journal.HEADER), line
        yield journal.HEAD, run.notes[number]


def acknowledged(run: Run) -> list[int]:
    """Return the size that the journal has behind each head."""
    sizes, size = [], len(MAGIC)
    for kind, payload in frames(run):
        size += len(frame(kind, payload))
        if kind == journal.HEAD:
            sizes.append(size)
    return sizes


def assert_prefix(found: journal.Run, run: Run, heads: int, size: int) -> None:
    assert found.header == run.lines[0]
    assert found.lines == tuple(run.lines[1:heads])
    assert found.notes == tuple(run.notes[:heads])
    assert found.rows == tuple(run.rows[: heads - 1])[: len(found.lines)]
    assert found.dropped == size - ([0, *acknowledged(run)][heads])


def test_read_is_the_inverse_of_recording(folder: Path) -> None:
    run = SIMULATION.run()
    assert_prefix(journal.read(folder), run, 4, (folder / journal.JOURNAL).stat().st_size)
    for _, root, state in run.stored():
        with journal.read(folder).state(root) as blob:
            assert tensors.read_state(blob, root) == state


def test_the_journal_is_these_frames(folder: Path) -> None:
    expected = MAGIC + b"".join(frame(kind, payload) for kind, payload in frames(SIMULATION.run()))
    assert (folder / journal.JOURNAL).read_bytes() == expected


def test_a_frame_is_as_the_specification_says() -> None:
    checks = "e7c98e6a7bdded09"
    assert frame(b"E", b"payload") == b"\x00\x00\x00\x07Epayload" + bytes.fromhex(checks)


def test_a_tail_torn_at_any_byte_leaves_what_was_acknowledged(folder: Path) -> None:
    run, path = SIMULATION.run(), folder / journal.JOURNAL
    sizes = acknowledged(run)
    for size in reversed(range(path.stat().st_size + 1)):
        os.truncate(path, size)
        heads = sum(end <= size for end in sizes)
        if heads:
            assert_prefix(journal.read(folder), run, heads, size)
        else:
            with pytest.raises(FormatError) as refusal:
                journal.read(folder)
            assert refusal.value.reason == Reason.JOURNAL


def test_every_torn_run_with_a_head_opens(folder: Path) -> None:
    sizes = acknowledged(SIMULATION.run())
    for size in reversed(range(sizes[0], sizes[-1] + 1)):
        os.truncate(folder / journal.JOURNAL, size)
        with open_archive(folder, trusted=None) as archive:
            assert len(archive.heads) == sum(end <= size for end in sizes)
            archive.seal()


def test_every_flipped_bit_leaves_a_prefix(folder: Path) -> None:
    run, path = SIMULATION.run(), folder / journal.JOURNAL
    size = path.stat().st_size
    for place in flips(path):
        heads = sum(end <= place // 8 for end in acknowledged(run))
        try:
            assert_prefix(journal.read(folder), run, heads, size)
        except FormatError as error:
            assert error.reason == Reason.JOURNAL and not heads


@given(tail=st.binary(max_size=100))
def test_garbage_behind_the_last_head_is_dropped(tail: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "garbage"
    whole = [frame(journal.HEADER, HEADER), frame(journal.HEAD, NOTE)]
    found = journal.read(write(folder, *whole, tail))
    assert (found.header, found.lines, found.notes, found.dropped) == (HEADER, (), (NOTE,), len(tail))


NOTHING = {
    "no_magic": b"",
    "half_a_magic": MAGIC[:5],
    "another_magic": MAGIC.replace(b"v1", b"v2"),
    "magic_alone": MAGIC,
    "header_without_a_head": MAGIC + frame(journal.HEADER, HEADER),
    "head_without_a_header": MAGIC + frame(journal.HEAD, NOTE),
    "half_a_header": MAGIC + frame(journal.HEADER, HEADER)[:-1] + frame(journal.HEAD, NOTE),
    "length_beyond_the_file": MAGIC + b"\xff\xff\xff\xffH" + bytes(100),
    "length_of_the_limit": MAGIC + b"\x10\x00\x00\x00H" + bytes(100),
}


STRANGE = {
    "second_header": frame(journal.HEADER, HEADER),
    "unknown_kind": frame(b"X", b"payload"),
    "kind_of_zero": frame(b"\0", b""),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_frames_that_no_writer_writes_are_refused(strange: bytes, torn: Path) -> None:
    with pytest.raises(FormatError) as refusal:
        journal.read(write(torn, frame(journal.HEADER, HEADER), frame(journal.HEAD, NOTE), strange))
    assert refusal.value.reason == Reason.JOURNAL


def test_a_frame_that_no_reader_reads_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_MAX_FRAME", 6)
    writer = Journal.create(tmp_path / "run")
    with pytest.raises(RecordingError, match="fewer steps per segment"):
        writer.append(journal.ROWS, b"seven b")
    writer.append(journal.HEADER, HEADER)
    writer.append(journal.HEAD, NOTE)
    writer.close()
    assert journal.read(tmp_path / "run").header == HEADER


@pytest.mark.parametrize("data", NOTHING.values(), ids=NOTHING)
def test_where_nothing_is_recorded_yet_nothing_is_read(data: bytes, torn: Path) -> None:
    (torn / journal.JOURNAL).write_bytes(data)
    with pytest.raises(FormatError) as refusal:
        journal.read(torn)
    assert refusal.value.reason == Reason.JOURNAL


def test_entries_behind_the_last_head_are_dropped(torn: Path) -> None:
    signed = [frame(journal.HEADER, HEADER), frame(journal.ENTRY, FIRST), frame(journal.HEAD, NOTE)]
    unsigned = [frame(journal.ROWS, b"rows"), frame(journal.ENTRY, SECOND)]
    found = journal.read(write(torn, *signed, *unsigned))
    assert found.lines == (FIRST,) and found.dropped == len(b"".join(unsigned))


def test_a_folder_without_a_journal_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FormatError) as refusal:
        open_archive(tmp_path, trusted=None)
    assert refusal.value.reason == Reason.JOURNAL


def test_a_second_writer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_PATIENCE", 0.1)
    writer = Journal.create(tmp_path / "run")
    with pytest.raises(RecordingError, match="another process"):
        Journal.reopen(tmp_path / "run")
    with pytest.raises(RecordingError, match="holds a recorded run"):
        Journal.create(tmp_path / "run")
    writer.close()
    Journal.reopen(tmp_path / "run")[0].close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    writer = Journal.create(tmp_path / "run")
    code = "from pathlib import Path; from polarchive.format import journal; journal._PATIENCE = 0.1; "
    code += "journal.Journal.reopen(Path('run'))"
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    writer.close()
    assert other.returncode == 1 and "another process is recording" in other.stderr


def test_a_run_is_not_recorded_over_another(folder: Path) -> None:
    before = (folder / journal.JOURNAL).read_bytes()
    with pytest.raises(RecordingError, match="holds a recorded run"):
        Journal.create(folder)
    assert (folder / journal.JOURNAL).read_bytes() == before


def test_what_is_synced_is_in_the_file(tmp_path: Path) -> None:
    writer = Journal.create(tmp_path / "run")
    writer.append(journal.HEADER, HEADER)
    writer.append(journal.HEAD, NOTE)
    writer.sync()
    assert journal.read(tmp_path / "run").header == HEADER
    writer.close()


def test_names_and_bytes_are_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    writer = Journal.create(tmp_path / "run")
    assert {str(tmp_path / "run" / journal.JOURNAL), str(tmp_path / "run")} <= set(synced)
    synced.clear()
    writer.store(bytes(32), PLAIN, [b"state"])
    path = journal.find(tmp_path / "run", bytes(32))
    assert path is not None
    assert [name.removesuffix(".tmp") for name in synced] == [str(path), str(path.parent)]
    synced.clear()
    writer.append(journal.HEADER, HEADER)
    writer.sync()
    assert synced == [str(tmp_path / "run" / journal.JOURNAL)]
    writer.close()


def test_a_state_is_stored_once_under_its_root(tmp_path: Path) -> None:
    writer, state = Journal.create(tmp_path / "run"), state_of(0, 0)
    root = tensors.root_of(state)
    assert writer.store(root, PLAIN, storage.plain(state))
    path = journal.find(tmp_path / "run", root)
    assert path is not None
    assert path.read_bytes() == spell_state(state) and path.name == f"{root.hex()}.safetensors"
    before = path.stat().st_ino
    assert not writer.store(root, PLAIN, storage.plain(state))
    assert path.stat().st_ino == before
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    writer.close()


def test_a_state_that_is_gone_is_a_format_error(folder: Path) -> None:
    shutil.rmtree(folder / journal.STATES)
    with open_archive(folder, trusted=None) as archive, pytest.raises(FormatError) as refusal:
        archive.state(0)
    assert refusal.value.reason == Reason.STATE


def test_a_state_that_took_the_place_of_another_is_refused(folder: Path) -> None:
    roots = [root for _, root, _ in SIMULATION.run().stored()]
    paths = [journal.find(folder, root) for root in roots]
    assert paths[0] and paths[1]
    shutil.copy(paths[0], paths[1])
    with open_archive(folder, trusted=None) as archive, pytest.raises(FormatError) as refusal:
        archive.seal()
    assert refusal.value.reason == Reason.STATE


def test_rows_that_are_gone_are_a_format_error(torn: Path) -> None:
    run = SIMULATION.run()
    write(torn, *(frame(kind, payload) for kind, payload in frames(run) if kind != journal.ROWS))
    with open_archive(torn, trusted=None) as archive, pytest.raises(FormatError) as refusal:
        archive.steps(1)
    assert refusal.value.reason == Reason.ROWS


def test_a_killed_writer_leaves_what_it_appended(tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        writer = Journal.create(tmp_path / "run")
        writer.append(journal.HEADER, HEADER)
        writer.append(journal.HEAD, NOTE)
        os._exit(9)
    os.waitpid(pid, 0)
    assert journal.read(tmp_path / "run").header == HEADER


def test_a_run_with_a_damaged_state_is_not_sealed(folder: Path, tmp_path: Path) -> None:
    path = journal.find(folder, tensors.root_of(state_of(0, 1)))
    assert path is not None
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FormatError) as refusal:
        pack(folder, tmp_path / "run.pol")
    assert refusal.value.reason == Reason.STATE
    assert not (tmp_path / "run.pol").exists()
