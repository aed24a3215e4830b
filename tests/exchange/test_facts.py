"""Test that facts that count are never lost, and that what did not count leaves no trace."""

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from polarchive.errors import FormatError, Reason
from polarchive.exchange import releases
from polarchive.exchange.ledger import FILE, Earlier, Ledger
from polarchive.exchange.releases import Admitted, Fact, Refused, Released, Releases
from polarchive.format import disk
from polarchive.format.note import Head
from tests.exchange.scene import JUDGE, NOW, OTHER

RUN, ANOTHER = bytes(16), bytes([1] * 16)
HEAD = Head(f"prover.example/key/{RUN.hex()}", 3, bytes(32))
LATER = replace(HEAD, size=5)
FACTS: list[Fact] = [
    Admitted(NOW, JUDGE.key, bytes(32), bytes([1] * 32), bytes([2] * 32)),
    Released(NOW, JUDGE.key, bytes(32), "state-0000000001", bytes([3] * 32), 88, False),
    Refused(NOW, JUDGE.key, "127.0.0.1:1", bytes(32), "state-0000000002", "not among the states"),
    Refused(NOW, None, "127.0.0.1:1", None, None, "no certificate"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    record = Releases(tmp_path / "releases.jsonl")
    for fact in FACTS:
        record.add(fact)
    record.close()
    return tmp_path / "releases.jsonl"


def test_facts_are_read_as_they_were_written(path: Path) -> None:
    assert releases.read(path) == FACTS


def test_a_fact_is_a_line_that_people_can_read(path: Path) -> None:
    assert json.loads(path.read_text().splitlines()[1]) == {
        "event": "released",
        "at": str(NOW),
        "judge": str(JUDGE.key),
        "request": "00" * 32,
        "part": "state-0000000001",
        "sha256": "03" * 32,
        "size": "88",
        "again": False,
    }


def test_what_was_released_is_remembered(path: Path) -> None:
    record = Releases(path)
    assert record.was_released(JUDGE.key, "state-0000000001")
    assert not record.was_released(OTHER.key, "state-0000000001")
    assert record.substance(JUDGE.key, bytes([1] * 32)) == bytes([2] * 32)
    assert record.substance(JUDGE.key, bytes(32)) is None
    assert record.was_admitted(bytes(32)) and not record.was_admitted(bytes([1] * 32))
    record.close()


def test_a_torn_line_never_counted(path: Path) -> None:
    whole = path.read_bytes()
    for size in range(len(whole) - 1, 0, -41):
        path.write_bytes(whole[:size])
        record = Releases(path)
        record.add(FACTS[0])
        record.close()
        assert releases.read(path) == [*FACTS[: whole[:size].count(b"\n")], FACTS[0]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data.replace(b"released", b"revealed"), Reason.FIELD),
        (lambda data: data.replace(b'"event":"admitted",', b""), Reason.FIELD),
        (lambda data: b"[]\n" + data, Reason.FIELD),
        (lambda data: b"\n" + data, Reason.JSON),
        (lambda data: data.replace(b'"size":"88"', b'"size":88'), Reason.JSON),
        (lambda data: data.replace(b'"at":"1000000",', b"", 1), Reason.FIELD),
    ],
)
def test_a_damaged_line_is_refused(path: Path, change: Callable[[bytes], bytes], reason: Reason) -> None:
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FormatError, match="line") as refusal:
        Releases(path)
    assert refusal.value.reason == reason


def test_what_could_not_be_written_is_not_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(file: disk.Raw, data: bytes) -> None:
        file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    record = Releases(path)
    with monkeypatch.context() as patch:
        patch.setattr(disk.Raw, "append", half)
        with pytest.raises(OSError, match="No space"):
            record.add(FACTS[1])
    record.add(FACTS[0])
    record.close()
    assert releases.read(path) == [*FACTS, FACTS[0]]


def test_a_ledger_gives_one_nonce_for_one_head(tmp_path: Path) -> None:
    nonces = [Ledger(tmp_path / "ledger").nonce(RUN, HEAD) for _ in range(3)]
    assert len(set(nonces)) == 1 and len(nonces[0]) == 32
    assert Ledger(tmp_path / "ledger").nonce(RUN, LATER) not in nonces
    assert Ledger(tmp_path / "another").nonce(RUN, HEAD) not in nonces


def test_a_nonce_is_on_disk_before_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    ledger = Ledger(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("polarchive.format.disk.sync", fail)
        with pytest.raises(OSError, match="Input/output"):
            ledger.nonce(RUN, HEAD)
    nonce = ledger.nonce(RUN, HEAD)
    assert nonce.hex() in (tmp_path / FILE).read_text()


def test_earlier_challenges_of_a_run_are_listed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, clock=lambda: NOW)
    newest = replace(HEAD, size=9)
    first, second = ledger.nonce(RUN, HEAD), ledger.nonce(RUN, LATER)
    ledger.nonce(ANOTHER, replace(HEAD, origin=f"prover.example/key/{ANOTHER.hex()}"))
    assert ledger.earlier(RUN, HEAD) == (Earlier(LATER, second, None),)
    ledger.finished(RUN, LATER, "inconclusive")
    ledger.finished(RUN, LATER, "rejected")
    assert ledger.earlier(RUN, newest) == (Earlier(HEAD, first, None), Earlier(LATER, second, "rejected"))
    assert ledger.earlier(ANOTHER, newest)[0].verdict is None


def test_each_head_has_a_folder_of_its_own(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.folder(RUN, HEAD) == Ledger(tmp_path).folder(RUN, HEAD) != ledger.folder(RUN, LATER)
    assert ledger.folder(RUN, HEAD).parent == tmp_path


def test_what_a_judge_keeps_is_its_owners(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger")
    assert (tmp_path / "ledger").stat().st_mode & 0o777 == 0o700


def draw(folder: Path) -> bytes:
    return Ledger(folder).nonce(RUN, HEAD)


def test_judges_processes_agree_on_the_nonce(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert len(set(pool.map(draw, [tmp_path] * 6))) == 1
