"""Run `polarc witness` as a prover does: what it prints, what it leaves behind, and how it ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from polarchive.cli.exits import Exit
from polarchive.format import container
from polarchive.format.archive import open_archive
from polarchive.format.note import origin
from tests.cli.test_cli import Ended, is_one_line, polarc
from tests.simulator import PROVER, Simulation, at, state_of
from tests.witness import Witness, key_of

ORIGIN = origin(PROVER.key, Simulation().run().header.run)


class Place:
    """Hold a witness that answers, its key as a file, and a run as a directory and as an archive."""

    def __init__(self, folder: Path, url: str, keeper: Witness) -> None:
        self.folder, self.url, self.keeper = folder, url, keeper
        (folder / "w1.pub").write_text(f"{keeper.key}\n")
        Simulation().pack(folder / "run.pol")

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def witness(self, name: str = "run.pol", *more: object, key: str = "w1.pub") -> Ended:
        return polarc("witness", self / name, "--url", self.url, "--key", self / key, *more)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    keeper = Witness(tmp_path, {ORIGIN: PROVER.key})
    with keeper.serving() as url:
        yield Place(tmp_path, url, keeper)


def test_an_archive_is_cosigned_in_its_place(place: Place) -> None:
    done = place.witness()
    assert done.code == Exit.OK
    cosigned, digest = done.out.splitlines()
    assert cosigned == f"{place / 'run.pol'}: head of size 4 cosigned by witness.example/w1 at 2026-07-01T12:00:00Z"
    with open_archive(place / "run.pol", trusted=[PROVER.key]) as archive:
        assert digest == f"digest {(archive.digest or b'').hex()}"
        assert list(archive.attached.cosignatures) == [4]


def test_an_archive_is_left_as_it_is_where_another_is_asked_for(place: Place) -> None:
    before = (place / "run.pol").read_bytes()
    done = place.witness("run.pol", "-o", place / "cosigned.pol")
    assert done.code == Exit.OK and str(place / "cosigned.pol") in done.out
    assert (place / "run.pol").read_bytes() == before
    with open_archive(place / "cosigned.pol", trusted=[PROVER.key]) as archive:
        assert list(archive.attached.cosignatures) == [4]


def test_a_run_directory_keeps_what_an_archive_of_it_will_have(place: Place) -> None:
    done = place.witness("run.run")
    assert done.code == Exit.OK and "digest" not in done.out
    assert polarc("pack", place / "run.run", "-o", place / "packed.pol").code == Exit.OK
    with open_archive(place / "packed.pol", trusted=[PROVER.key]) as archive:
        assert list(archive.attached.cosignatures) == [4]


@pytest.mark.parametrize("name", ["run.pol", "run.run"])
def test_json_says_the_same(name: str, place: Place) -> None:
    said = place.witness(name, "--json").json
    with open_archive(place / name, trusted=None) as archive:
        digest = archive.digest.hex() if archive.digest else None
    assert said == {"size": 4, "witness": "witness.example/w1", "time": "2026-07-01T12:00:00Z", "archive": digest}


def test_a_run_directory_is_not_written_elsewhere(place: Place) -> None:
    done = place.witness("run.run", "-o", place / "cosigned.pol")
    assert done.code == Exit.USAGE and not place.keeper.requests


def test_it_may_be_done_twice(place: Place) -> None:
    first = place.witness()
    assert place.witness() == first and len(place.keeper.requests) == 1


def test_a_second_history_is_refused_in_one_clear_line(place: Place) -> None:
    assert place.witness().code == Exit.OK
    Simulation(states=at(1, lambda _: state_of(9, 1))).pack(place / "other.pol")
    before = (place / "other.pol").read_bytes()
    refused = place.witness("other.pol")
    assert refused.code == Exit.USAGE and is_one_line(refused.err) and not refused.out
    assert "the witness has seen another log under this origin" in refused.err
    assert (place / "other.pol").read_bytes() == before


def test_a_witness_that_does_not_know_the_log_says_what_its_operator_must_add(place: Place) -> None:
    place.keeper.logs = {}
    refused = place.witness()
    assert refused.code == Exit.USAGE and is_one_line(refused.err)
    assert ORIGIN in refused.err and str(PROVER.key) in refused.err


def test_a_witness_that_is_not_there_leaves_it_open(place: Place) -> None:
    place.url = "http://127.0.0.1:1"
    refused = place.witness()
    assert refused.code == Exit.INCONCLUSIVE and is_one_line(refused.err)


@pytest.mark.parametrize("url", ["here", "https://", "ftp://w1.example/"])
def test_an_address_that_is_none_is_refused(url: str, place: Place) -> None:
    place.url = url
    refused = place.witness()
    assert refused.code == Exit.USAGE and is_one_line(refused.err)


def test_a_provers_key_is_no_witness(place: Place) -> None:
    (place / "prover.pub").write_text(f"{PROVER.key}\n")
    refused = place.witness(key="prover.pub")
    assert refused.code == Exit.BROKEN and is_one_line(refused.err) and not place.keeper.requests


def test_another_witness_than_the_one_that_was_named_does_not_count(place: Place) -> None:
    (place / "other.pub").write_text(f"{key_of(PROVER)}\n")
    refused = place.witness(key="other.pub")
    assert refused.code == Exit.USAGE and "without a cosignature" in refused.err
    with open_archive(place / "run.pol", trusted=None) as archive:
        assert archive.attached.cosignatures == {}


def test_a_broken_archive_is_not_submitted(place: Place) -> None:
    broken = Simulation(heads=at(-1, lambda head: type(head)(head.origin, head.size, bytes(32))))
    broken.seal(place / "broken.pol")
    refused = place.witness("broken.pol")
    assert refused.code == Exit.BROKEN and is_one_line(refused.err) and not place.keeper.requests


def test_the_heads_themselves_are_untouched(place: Place) -> None:
    with open_archive(place / "run.pol", trusted=None) as archive:
        before = archive.notes
    place.witness()
    parts = container.read(place / "run.pol")
    with parts.file:
        assert parts.read(container.HEADS, 1 << 20) == b"".join(before)
