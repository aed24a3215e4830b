"""Test that a witness cosigns a log as it grows and no other, and that its client believes nothing but its key."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from polarchive.errors import FormatError, PolError, Reason, SignatureError, Unreachable
from polarchive.exchange import witness
from polarchive.exchange.witness import AnotherLog, NotCosigned
from polarchive.format import attach, container, cosignature, disk, journal
from polarchive.format.archive import Archive, open_archive, pack
from polarchive.format.cosignature import Cosigned
from polarchive.format.limits import MAX_COSIGNATURES
from polarchive.format.note import Head
from tests.simulator import PROVER, STRANGER, FakeSigner, Simulation
from tests.witness import (
    BEGUN,
    FINISHED,
    FIRST,
    NOON,
    ORIGIN,
    REWRITTEN,
    SECOND,
    Reply,
    Witness,
    key_of,
    request,
    serving,
)

KEY = key_of(FIRST)


@contextmanager
def opened(simulation: Simulation, path: Path) -> Iterator[Archive]:
    """Open a simulated run as an archive at `path`."""
    with open_archive(simulation.pack(path), trusted=None) as archive:
        yield archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with opened(FINISHED, tmp_path_factory.mktemp("finished") / "run.pol") as archive:
        yield archive


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with opened(BEGUN, tmp_path_factory.mktemp("begun") / "run.pol") as archive:
        yield archive


@pytest.fixture(scope="module")
def rewritten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with opened(REWRITTEN, tmp_path_factory.mktemp("rewritten") / "run.pol") as archive:
        yield archive


# The client has a log cosigned


def test_a_log_is_cosigned(archive: Archive, tmp_path: Path) -> None:
    keeper = Witness(tmp_path)
    with keeper.serving() as url:
        lines = witness.submit(archive, url, KEY)
    head = archive.heads[-1]
    assert cosignature.read(lines, head.text, [KEY]) == (Cosigned(KEY, NOON),)
    assert keeper.seen == {ORIGIN: (head.size, head.root.hex())}
    assert keeper.requests == [b"old 0\n\n" + archive.notes[-1]]


def test_a_log_is_cosigned_again_as_it_grows(begun: Archive, archive: Archive, tmp_path: Path) -> None:
    keeper = Witness(tmp_path)
    with keeper.serving() as url:
        witness.submit(begun, url, KEY)
        lines = witness.submit(archive, url, KEY, old=3)
    assert cosignature.read(lines, archive.heads[-1].text, [KEY])
    assert keeper.seen[ORIGIN][0] == 6 and len(keeper.requests) == 2
    assert keeper.requests[1].startswith(b"old 3\n") and keeper.requests[1].split(b"\n\n")[0].count(b"\n") > 0


def test_what_a_witness_has_seen_is_learnt_from_itself(begun: Archive, archive: Archive, tmp_path: Path) -> None:
    keeper = Witness(tmp_path)
    with keeper.serving() as url:
        witness.submit(begun, url, KEY)
        assert witness.submit(archive, url, KEY)
    assert [body.split(b"\n")[0] for body in keeper.requests] == [b"old 0", b"old 0", b"old 3"]


def test_what_a_witness_has_seen_is_learnt_from_the_archive(tmp_path: Path) -> None:
    keeper, path = Witness(tmp_path), FINISHED.pack(tmp_path / "run.pol")
    keeper.answer(request(3))
    with open_archive(path, trusted=None) as archive:
        earlier = cosignature.cosign(archive.heads[2].text, FIRST, NOON)
    attach.replace(path, container.cosignatures_name(3), earlier)
    with keeper.serving() as url, open_archive(path, trusted=None) as archive:
        assert witness.submit(archive, url, KEY)
    assert [body.split(b"\n")[0] for body in keeper.requests[1:]] == [b"old 3"]


def test_a_witness_that_has_forgotten_is_told_from_the_beginning(archive: Archive, tmp_path: Path) -> None:
    with Witness(tmp_path).serving() as url:
        assert witness.submit(archive, url, KEY, old=3)


def test_a_log_that_has_not_grown_is_cosigned_again(archive: Archive, tmp_path: Path) -> None:
    keeper = Witness(tmp_path)
    with keeper.serving() as url:
        witness.submit(archive, url, KEY)
        keeper.time += timedelta(hours=1)
        lines = witness.submit(archive, url, KEY)
    assert cosignature.read(lines, archive.heads[-1].text, [KEY])[0].time == keeper.time


# A rewritten log is refused


def test_two_histories_of_one_run_are_not_both_cosigned(archive: Archive, rewritten: Archive, tmp_path: Path) -> None:
    assert archive.header.run == rewritten.header.run and archive.header.key == rewritten.header.key
    assert archive.heads[-1] != rewritten.heads[-1]
    keeper = Witness(tmp_path)
    with keeper.serving() as url:
        witness.submit(archive, url, KEY)
        with pytest.raises(AnotherLog, match=r"has seen another log under this origin.*at this size, 6"):
            witness.submit(rewritten, url, KEY)
    assert keeper.seen[ORIGIN] == (6, archive.heads[-1].root.hex())


@pytest.mark.parametrize("old", [None, 3])
def test_a_rewritten_beginning_is_refused(begun: Archive, rewritten: Archive, old: int | None, tmp_path: Path) -> None:
    keeper = Witness(tmp_path)
    with keeper.serving() as url:
        witness.submit(begun, url, KEY)
        with pytest.raises(AnotherLog, match="another log under this origin: its first 3 entries are not"):
            witness.submit(rewritten, url, KEY, old)
    assert keeper.seen[ORIGIN][0] == 3


def test_a_log_cut_short_is_refused(begun: Archive, archive: Archive, tmp_path: Path) -> None:
    with Witness(tmp_path).serving() as url:
        witness.submit(archive, url, KEY)
        with pytest.raises(AnotherLog, match="another log under this origin: one of 6 entries; this has 3"):
            witness.submit(begun, url, KEY)


@pytest.mark.parametrize("reply", [Reply(409, b"6\n", "text/x.tlog.size"), Reply(409), Reply(422)], ids=str)
def test_a_conflict_at_the_same_size_is_another_log(reply: Reply, archive: Archive) -> None:
    with answering(reply) as url, pytest.raises(AnotherLog):
        witness.submit(archive, url, KEY, old=6)


# What a witness may answer


@contextmanager
def answering(*replies: Reply) -> Iterator[str]:
    """Give these answers one after the other, whatever is asked; there must be as many requests."""
    left = list(replies)
    with serving(lambda _: left.pop(0)) as url:
        yield f"{url}/w1"
    assert not left


def test_an_unknown_log_is_to_be_added_by_the_operator(archive: Archive, tmp_path: Path) -> None:
    for logs in ({}, {ORIGIN: STRANGER.key}):
        with Witness(tmp_path, logs=logs).serving() as url, pytest.raises(NotCosigned) as refusal:
            witness.submit(archive, url, KEY)
        assert ORIGIN in str(refusal.value) and str(PROVER.key) in str(refusal.value)
        assert not isinstance(refusal.value, AnotherLog)


def test_nothing_at_that_address_is_said_to_be_one_of_two_things(archive: Archive, tmp_path: Path) -> None:
    with Witness(tmp_path).serving() as url, pytest.raises(NotCosigned, match=r"404.*or is not there"):
        witness.submit(archive, url + "/elsewhere", KEY)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 405, 410, 413, 422])
def test_other_refusals_are_told(status: int, archive: Archive) -> None:
    with answering(Reply(status, b"because\n")) as url, pytest.raises(NotCosigned, match=f"refuses: {status} because$"):
        witness.submit(archive, url, KEY)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_who_is_out_of_order_may_be_asked_later(status: int, archive: Archive) -> None:
    with answering(Reply(status, b"later\n")) as url, pytest.raises(Unreachable, match=f"{status} later$"):
        witness.submit(archive, url, KEY)


def test_reasons_are_one_short_line(archive: Archive) -> None:
    hostile = b"\x1b[2J\n" + "é".encode() + b"x" * 4000
    with answering(Reply(400, hostile)) as url, pytest.raises(NotCosigned) as refusal:
        witness.submit(archive, url, KEY)
    assert str(refusal.value).isascii() and str(refusal.value).isprintable() and len(str(refusal.value)) < 1000


@pytest.mark.parametrize(
    "body", [b"3", b"03\n", b"+3\n", b"-1\n", b" 3\n", b"3\n\n", b"three\n", b"", b"9" * 30 + b"\n"]
)
def test_a_size_that_is_none_is_not_asked_for(body: bytes, archive: Archive) -> None:
    with answering(Reply(409, body, "text/x.tlog.size")) as url, pytest.raises(NotCosigned, match="refuses: 409"):
        witness.submit(archive, url, KEY)


def test_a_size_without_its_type_is_none(archive: Archive) -> None:
    with answering(Reply(409, b"3\n")) as url, pytest.raises(NotCosigned, match="refuses: 409 3"):
        witness.submit(archive, url, KEY)


def test_a_witness_that_changes_its_mind_is_not_asked_a_third_time(archive: Archive) -> None:
    sizes = (Reply(409, f"{size}\n".encode(), "text/x.tlog.size") for size in (3, 4))
    with answering(*sizes) as url, pytest.raises(NotCosigned, match="refuses: 409 4"):
        witness.submit(archive, url, KEY)


def lines_of(archive: Archive, *signers: FakeSigner) -> bytes:
    return b"".join(cosignature.cosign(archive.heads[-1].text, signer, NOON) for signer in signers)


def test_lines_of_others_are_not_kept(archive: Archive) -> None:
    with answering(Reply(200, lines_of(archive, STRANGER, FIRST, SECOND))) as url:
        assert witness.submit(archive, url, KEY) == lines_of(archive, FIRST)


def test_a_cosignature_by_somebody_else_is_none(archive: Archive) -> None:
    with answering(Reply(200, lines_of(archive, SECOND))) as url, pytest.raises(NotCosigned, match="without a cosig"):
        witness.submit(archive, url, KEY)


def test_a_cosignature_over_another_head_does_not_verify(archive: Archive) -> None:
    other = cosignature.cosign(archive.heads[0].text, FIRST, NOON)
    with answering(Reply(200, other)) as url, pytest.raises(SignatureError):
        witness.submit(archive, url, KEY)


@pytest.mark.parametrize("body", [b"\n", b"no line", b"<html>\n", b"\xff\n"])
def test_what_is_no_signature_line_is_refused(body: bytes, archive: Archive) -> None:
    with answering(Reply(200, body)) as url, pytest.raises(FormatError) as refusal:
        witness.submit(archive, url, KEY)
    assert refusal.value.reason == Reason.COSIGNATURE


def test_an_empty_answer_is_no_cosignature(archive: Archive) -> None:
    with answering(Reply(200)) as url, pytest.raises(NotCosigned, match="without a cosignature"):
        witness.submit(archive, url, KEY)


def test_an_answer_beyond_the_limit_is_not_read(archive: Archive) -> None:
    with answering(Reply(200, bytes(MAX_COSIGNATURES + 1))) as url, pytest.raises(PolError, match="more than 65536"):
        witness.submit(archive, url, KEY)


# Cosignatures are kept beside the log


def test_a_cosignature_is_kept_in_a_run_directory(tmp_path: Path) -> None:
    run = FINISHED.record(tmp_path / "run")
    with Witness(tmp_path).serving() as url:
        head, cosigned = witness.add(run, url, KEY)
    assert cosigned == Cosigned(KEY, NOON)
    assert (run / "attached" / container.cosignatures_name(head.size)).read_bytes() == lines_over(head, FIRST)
    with open_archive(run, trusted=[PROVER.key]) as archive:
        assert archive.attached.cosignatures == {head.size: lines_over(head, FIRST)}


def lines_over(head: Head, *signers: FakeSigner) -> bytes:
    return b"".join(cosignature.cosign(head.text, signer, NOON) for signer in signers)


@pytest.mark.parametrize("name", [None, "cosigned.pol"])
def test_a_cosignature_is_a_member_of_an_archive(name: str | None, tmp_path: Path) -> None:
    path = FINISHED.pack(tmp_path / "run.pol")
    target, before = tmp_path / name if name else None, path.read_bytes()
    with open_archive(path, trusted=None) as archive:
        notes, lines, digest = archive.notes, archive.lines, archive.digest
    with Witness(tmp_path).serving() as url:
        head, _ = witness.add(path, url, KEY, target)
    assert (path.read_bytes() == before) == bool(name)
    with open_archive(target or path, trusted=[PROVER.key]) as archive:
        archive.seal()
        assert archive.attached.cosignatures == {head.size: lines_over(head, FIRST)}
        assert (archive.notes, archive.lines) == (notes, lines) and archive.digest != digest


def test_an_archive_has_the_cosignatures_of_its_run_directory(tmp_path: Path) -> None:
    run = FINISHED.record(tmp_path / "run")
    with Witness(tmp_path).serving() as url:
        head, _ = witness.add(run, url, KEY)
    with open_archive(FINISHED.pack(tmp_path / "bare.pol"), trusted=None) as archive:
        assert archive.attached.cosignatures == {}
    pack(run, tmp_path / "run.pol")
    with open_archive(tmp_path / "run.pol", trusted=None) as archive:
        assert archive.attached.cosignatures == {head.size: lines_over(head, FIRST)}


@pytest.mark.parametrize("make", [Simulation.record, Simulation.pack])
def test_a_second_witness_adds_its_line(make: Callable[[Simulation, Path], Path], tmp_path: Path) -> None:
    path = make(FINISHED, tmp_path / "run")
    for signer in (FIRST, SECOND):
        (tmp_path / signer.seed.hex()).mkdir()
        with Witness(tmp_path / signer.seed.hex(), signer=signer).serving() as url:
            head, _ = witness.add(path, url, key_of(signer))
    with open_archive(path, trusted=None) as archive:
        assert archive.attached.cosignatures == {head.size: lines_over(head, FIRST, SECOND)}


def test_a_witness_that_has_cosigned_a_head_is_not_asked_again(tmp_path: Path) -> None:
    run, keeper = FINISHED.record(tmp_path / "run"), Witness(tmp_path)
    with keeper.serving() as url:
        first = witness.add(run, url, KEY)
        keeper.time += timedelta(hours=1)
        assert witness.add(run, url, KEY) == first and len(keeper.requests) == 1


def test_a_growing_run_is_cosigned_as_it_goes(tmp_path: Path) -> None:
    keeper, run = Witness(tmp_path), BEGUN.record(tmp_path / "run")
    with keeper.serving() as url:
        witness.add(run, url, KEY)
        grown = FINISHED.record(tmp_path / "grown")
        (run / "attached").rename(grown / "attached")
        witness.add(grown, url, KEY)
    assert [body.split(b"\n")[0] for body in keeper.requests] == [b"old 0", b"old 3"]
    with open_archive(grown, trusted=None) as archive:
        heads = {head.size: head for head in archive.heads}
        assert archive.attached.cosignatures == {size: lines_over(heads[size], FIRST) for size in (3, 6)}


def test_a_head_is_on_disk_before_it_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been read from a journal that a recorder has written to, and not yet synced."""
    run, keeper, synced = FINISHED.record(tmp_path / "run"), Witness(tmp_path), list[str]()
    monkeypatch.setattr(disk, "sync", lambda file: synced.append(Path(file.name).name))

    def late(body: bytes) -> Reply:
        return keeper.answer(body) if synced == [journal.JOURNAL] else Reply(500)

    with serving(late) as url:
        assert witness.add(run, f"{url}/w1", KEY)


def test_a_refused_head_leaves_an_archive_as_it_was(tmp_path: Path) -> None:
    path = REWRITTEN.pack(tmp_path / "run.pol")
    before, keeper = path.read_bytes(), Witness(tmp_path)
    keeper.answer(request(6))
    with keeper.serving() as url, pytest.raises(AnotherLog):
        witness.add(path, url, KEY)
    assert path.read_bytes() == before


def test_there_is_room_for_so_many_cosignatures_only(tmp_path: Path) -> None:
    run, keeper = FINISHED.record(tmp_path / "run"), Witness(tmp_path)
    with open_archive(run, trusted=None) as archive:
        full = lines_of(archive, SECOND)
    full *= MAX_COSIGNATURES // len(full)
    path = attach.replace(run, container.cosignatures_name(6), full)
    with keeper.serving() as url, pytest.raises(FormatError) as refusal:
        witness.add(run, url, KEY)
    assert refusal.value.reason == Reason.LIMIT and path.read_bytes() == full


def test_lines_that_came_meanwhile_are_kept(tmp_path: Path) -> None:
    """Two witnesses are asked at once, by two commands: the one that ends last has read what the other wrote."""
    run, keeper = FINISHED.record(tmp_path / "run"), Witness(tmp_path)

    def slowly(body: bytes) -> Reply:
        with open_archive(run, trusted=None) as archive:
            attach.replace(run, container.cosignatures_name(6), lines_of(archive, SECOND))
        return keeper.answer(body)

    with serving(slowly) as url:
        head, _ = witness.add(run, f"{url}/w1", KEY)
    with open_archive(run, trusted=None) as archive:
        assert archive.attached.cosignatures == {6: lines_over(head, SECOND, FIRST)}
