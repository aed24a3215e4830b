"""Test that stamps are put beside a log whole or not at all, and that nothing else changes and nothing is lost."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from polarchive.errors import DigestError, FormatError, PolError, Reason
from polarchive.format import archive, attach, container, disk, journal, stamp
from polarchive.format.archive import open_archive
from polarchive.format.limits import MAX_STAMP
from tests.authority import Authority, hours
from tests.simulator import PROVER, Simulation

TSA = Authority()
NOTES = Simulation().run().notes
FIRST = TSA.over(NOTES[1])
SECOND = TSA.at(hours(1)).over(NOTES[1])
NAME = container.stamp_name(2, 0)
ROOT = Path(__file__).parent.parent.parent
KILLED = """
import os, sys
from pathlib import Path
from polarchive.format import attach

def die(*_):
    os._exit(9)

setattr(os, sys.argv[1], die)
attach.attach(Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]).read_bytes())
"""


def members(path: Path) -> dict[str, bytes]:
    parts = container.read(path)
    with parts.file:
        return {name: bytes(blob.read()) for name, blob in parts.blobs.items() if name != container.INDEX}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stamps(path: Path) -> list[bytes]:
    with open_archive(path, trusted=[PROVER.key]) as opened:
        opened.seal()
        return [each.stamp.raw for each in opened.attached.stamps]


def sealed(folder: Path) -> Path:
    return Simulation().seal(folder / "run.pol")


def recorded(folder: Path) -> Path:
    return Simulation().record(folder / "run")


FORMS = pytest.mark.parametrize("form", [sealed, recorded])
Form = Callable[[Path], Path]


def test_an_archive_gets_a_stamp_and_stays_what_it_was(tmp_path: Path) -> None:
    path = sealed(tmp_path)
    before = members(path)
    with open_archive(path, trusted=None) as old:
        digest, notes, lines = old.digest, old.notes, old.lines
    assert attach.attach(path, NAME, FIRST) == path
    assert members(path) == {**before, NAME: FIRST}
    with open_archive(path, trusted=[PROVER.key]) as new:
        assert new.digest != digest and (new.notes, new.lines) == (notes, lines)
    assert os.listdir(tmp_path) == [path.name]


def test_an_archive_may_be_written_elsewhere(tmp_path: Path) -> None:
    path, target = sealed(tmp_path), tmp_path / "stamped.pol"
    before = path.read_bytes()
    assert attach.attach(path, NAME, FIRST, target) == target
    assert path.read_bytes() == before and stamps(target) == [FIRST]


def test_a_run_directory_gets_a_file_and_stays_what_it_was(tmp_path: Path) -> None:
    run = recorded(tmp_path)
    before = files(run)
    assert attach.attach(run, NAME, FIRST) == run / attach.FOLDER / NAME
    assert files(run) == {**before, f"{attach.FOLDER}/{NAME}": FIRST}


@FORMS
def test_other_stamps_are_kept(form: Form, tmp_path: Path) -> None:
    path = form(tmp_path)
    later = TSA.over(NOTES[3])
    names = [attach.attach_stamp(path, size, raw) for size, raw in ((2, FIRST), (4, later), (2, SECOND))]
    assert names == [NAME, container.stamp_name(4, 0), container.stamp_name(2, 1)]
    assert stamps(path) == [FIRST, SECOND, later]
    third = TSA.over(stamp.covered(NOTES[1], [FIRST, SECOND]))
    assert attach.attach_stamp(path, 2, third) == container.stamp_name(2, 2)
    assert stamps(path) == [FIRST, SECOND, third, later]


@FORMS
def test_no_name_is_given_twice(form: Form, tmp_path: Path) -> None:
    path = form(tmp_path)
    attach.attach(path, NAME, FIRST)
    before = stamps(path)
    for target in (None, tmp_path / "another.pol"):
        with pytest.raises(FileExistsError):
            attach.attach(path, NAME, SECOND, target)
    assert stamps(path) == before == [FIRST] and not (tmp_path / "another.pol").exists()
    attach.replace(path, NAME, SECOND)
    assert stamps(path) == [SECOND]


@FORMS
def test_what_is_not_there_is_replaced_too(form: Form, tmp_path: Path) -> None:
    attach.replace(path := form(tmp_path), NAME, FIRST)
    assert stamps(path) == [FIRST]


@FORMS
def test_several_are_put_at_once_or_none(form: Form, tmp_path: Path) -> None:
    path = form(tmp_path)
    attach.attach_all(path, {NAME: FIRST, container.stamp_name(2, 1): SECOND})
    assert stamps(path) == [FIRST, SECOND]
    with pytest.raises(FileExistsError):
        attach.attach_all(path, {NAME: SECOND, container.stamp_name(2, 2): SECOND})
    assert stamps(path) == [FIRST, SECOND]


def test_there_is_room_for_a_thousand(tmp_path: Path) -> None:
    run = recorded(tmp_path)
    (run / attach.FOLDER).mkdir()
    for number in range(attach.MOST):
        (run / attach.FOLDER / container.stamp_name(2, number)).touch()
    with pytest.raises(PolError, match="no more"):
        attach.attach_stamp(run, 2, FIRST)


@FORMS
def test_what_is_sealed_carries_stamps_byte_for_byte(form: Form, tmp_path: Path) -> None:
    """Of which a renewal is over the bytes: those of a chain in an order of its own, too."""
    path, again = form(tmp_path), tmp_path / "again.pol"
    chain = Authority("chain", chain=True).over(NOTES[1])
    found = [FIRST, chain, TSA.at(hours(9)).over(stamp.covered(NOTES[1], [FIRST, chain]))]
    for raw in found:
        attach.attach_stamp(path, 2, raw)
    with open_archive(path, trusted=None) as opened:
        container.write(again, opened.members())
    assert stamps(again) == found
    if form is recorded:
        archive.pack(path, tmp_path / "packed.pol")
        assert (tmp_path / "packed.pol").read_bytes() == again.read_bytes()
    else:
        assert again.read_bytes() == path.read_bytes()


def failing(*_: object, **__: object) -> Any:
    raise OSError("no space left on device")


@FORMS
@pytest.mark.parametrize("step", ["sync", "rename", "sync_folder"])
def test_a_disk_that_fails_loses_nothing(form: Form, step: str, tmp_path: Path, monkeypatch: Any) -> None:
    path = form(tmp_path)
    attach.attach(path, NAME, FIRST)
    before = stamps(path)
    monkeypatch.setattr(disk, step, failing)
    with pytest.raises(OSError, match="no space"):
        attach.attach_stamp(path, 2, SECOND)
    monkeypatch.undo()
    assert stamps(path) in ([before, [*before, SECOND]] if step == "sync_folder" else [before])
    assert not [name for name in files(tmp_path) if name.endswith(".tmp") or "/." in name]


def test_a_link_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    run = recorded(tmp_path)
    before = files(run)
    monkeypatch.setattr(os, "link", failing)
    with pytest.raises(OSError, match="no space"):
        attach.attach(run, NAME, FIRST)
    assert files(run) == before


@FORMS
@pytest.mark.parametrize("step", ["fsync", "link", "unlink", "replace"])
def test_a_crash_leaves_nothing_that_breaks_reading(form: Form, step: str, tmp_path: Path) -> None:
    path = form(tmp_path)
    attach.attach(path, NAME, FIRST)
    name, data = container.stamp_name(2, 1), tmp_path / "stamp.tsr"
    data.write_bytes(SECOND)
    command = [sys.executable, "-c", KILLED, step, str(path), name, str(data)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode in (0, 9)
    found = stamps(path)
    assert found in ([FIRST], [FIRST, SECOND])
    if found == [FIRST]:
        attach.attach(path, name, SECOND)
    assert stamps(path) == [FIRST, SECOND]


def test_a_crash_between_writing_and_naming_is_cleared_away_by_who_goes_on(tmp_path: Path) -> None:
    run = recorded(tmp_path)
    attach.attach(run, NAME, FIRST)
    attach.attach(run, container.stamp_name(4, 0), TSA.over(NOTES[3]))
    (run / attach.FOLDER / f".0123-{NAME}").write_bytes(b"half")
    assert attach.names(run) == [NAME, container.stamp_name(4, 0)]
    attach.keep_only(run, 3)
    assert os.listdir(run / attach.FOLDER) == [NAME]


def test_a_member_that_is_not_as_listed_is_not_listed_anew(tmp_path: Path) -> None:
    path = sealed(tmp_path)
    attach.attach(path, NAME, FIRST)
    broken = path.read_bytes().replace(FIRST, FIRST[:-1] + bytes([FIRST[-1] ^ 1]))
    path.write_bytes(broken)
    with pytest.raises(DigestError) as refusal:
        attach.attach_stamp(path, 2, SECOND)
    assert (refusal.value.reason, refusal.value.place) == (Reason.DIGEST, NAME)
    assert path.read_bytes() == broken and os.listdir(tmp_path) == [path.name]


def test_what_is_no_archive_gets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.pol"
    path.write_bytes(b"no archive")
    with pytest.raises(FormatError):
        attach.attach(path, NAME, FIRST)
    assert path.read_bytes() == b"no archive"


def test_many_at_once_take_different_names(tmp_path: Path) -> None:
    run = recorded(tmp_path)
    raws = [TSA.at(hours(number)).over(NOTES[1]) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda raw: attach.attach_stamp(run, 2, raw), raws))
    assert sorted(names) == [container.stamp_name(2, number) for number in range(24)]
    assert dict(attach.attached(run)) == dict(zip(names, raws, strict=True))
    assert sorted(stamps(run)) == sorted(raws) and len(os.listdir(run / attach.FOLDER)) == 24


def test_the_same_name_is_given_to_one_of_many(tmp_path: Path) -> None:
    run = recorded(tmp_path)
    raws = [TSA.at(hours(number)).over(NOTES[1]) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda raw: _tried(run, raw), raws))
    assert done.count(True) == 1 and stamps(run) == [raws[done.index(True)]]


def _tried(run: Path, raw: bytes) -> bool:
    try:
        attach.attach(run, NAME, raw)
    except FileExistsError:
        return False
    return True


def test_a_stamp_that_an_entry_names_is_the_one_beside_it(tmp_path: Path) -> None:
    path = sealed(tmp_path)
    attach.attach(path, NAME, FIRST)
    with open_archive(path, trusted=None) as opened:
        assert [each.stamp.digest for each in opened.attached.stamps] == [sha256(FIRST).digest()]


def test_large_files_beside_a_run_are_not_read(tmp_path: Path) -> None:
    run = recorded(tmp_path)
    attach.attach(run, NAME, bytes(MAX_STAMP + 1))
    with pytest.raises(FormatError) as refusal:
        list(attach.attached(run))
    assert (refusal.value.reason, refusal.value.place) == (Reason.LIMIT, NAME)


def test_a_run_without_the_folder_has_nothing_beside_it(tmp_path: Path) -> None:
    run = recorded(tmp_path)
    assert attach.names(run) == [] and not (run / attach.FOLDER).exists()
    assert (run / journal.JOURNAL).exists()
    attach.keep_only(run, 0)
