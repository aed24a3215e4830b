"""Run `polarc stamp` as people do: stamps come beside a run later, and are renewed years on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from polarchive.cli.exits import Exit
from polarchive.exchange.late import add
from polarchive.exchange.stamps import StampClient
from polarchive.format import attach, marks, stamp
from polarchive.format.archive import open_archive
from polarchive.format.attached import Stamped
from polarchive.format.marks import Mark
from tests import tsa
from tests.authority import Authority, hours
from tests.cli.test_cli import is_one_line, polarc
from tests.simulator import PROVER, Simulation
from tests.tsa import AUTHORITY, FAULTS

LATER = AUTHORITY.at(hours(24 * 365))
OTHER = Authority("other.example", accuracy=None)
HEADS = 4


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Simulation().record(tmp_path / "run")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return Simulation().pack(tmp_path / "sealed.pol")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return AUTHORITY.save_root(tmp_path / "root.pem")


@pytest.fixture
def url() -> Iterator[str]:
    with tsa.listening(tsa.stamps()) as url:
        yield url


def found(path: Path, *authorities: Authority) -> tuple[Stamped, ...]:
    """Return the stamps in an archive or run directory, which one of these authorities each must have made."""
    with open_archive(path, trusted=[PROVER.key]) as opened:
        opened.seal()
        for each in opened.attached.stamps:
            stamp.check(each.stamp, each.over, [authority.root for authority in (AUTHORITY, *authorities)])
        return opened.attached.stamps


def digest(path: Path) -> str:
    with open_archive(path, trusted=None) as opened:
        return (opened.digest or b"").hex()


def test_a_run_directory_is_stamped(run: Path, url: str, root: Path) -> None:
    done = polarc("stamp", run, "--tsa", url, "--tsa-root", root)
    name = "50-stamp-0000000004-000.tsr"
    assert (done.code, done.err) == (Exit.OK, "")
    assert done.out == f"{name}: 2026-01-01T00:00:00Z ± 1 s, policy 1.2.3.4.1, by {url}\n"
    assert [each.name for each in found(run)] == [name]


def test_an_archive_is_stamped_in_its_own_place_and_has_another_digest(archive: Path, url: str, root: Path) -> None:
    before = digest(archive)
    done = polarc("stamp", archive, "--tsa", url, "--tsa-root", root)
    assert done.code == Exit.OK and done.out.splitlines()[1] == f"digest {digest(archive)}"
    assert digest(archive) != before
    assert [each.size for each in found(archive)] == [HEADS]


def test_an_archive_may_be_left_as_it_is(archive: Path, url: str, tmp_path: Path) -> None:
    before = archive.read_bytes()
    done = polarc("stamp", archive, "--tsa", url, "-o", tmp_path / "new.pol")
    assert done.code == Exit.OK and digest(tmp_path / "new.pol") in done.out
    assert archive.read_bytes() == before and len(found(tmp_path / "new.pol")) == 1


def test_a_run_directory_has_no_other_output(run: Path, url: str, tmp_path: Path) -> None:
    assert polarc("stamp", run, "--tsa", url, "-o", tmp_path / "new").code == Exit.USAGE
    assert found(run) == ()


@pytest.mark.parametrize("kind", ["run", "archive"])
def test_several_authorities_may_stamp(kind: str, url: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    with tsa.listening(tsa.stamps(OTHER)) as other:
        done = polarc("stamp", path, "--tsa", url, "--tsa", other, "--json")
        again = polarc("stamp", path, "--tsa", url)
    assert (done.code, again.code) == (Exit.OK, Exit.OK)
    said = done.json["stamps"]
    assert [(each["authority"], each["accuracy"]) for each in said] == [(url, "1"), (other, None)]
    assert [each.number for each in found(path, OTHER)] == [0, 1, 2]
    assert not any(each.renewal for each in found(path, OTHER))
    assert (done.json["archive"] is None) == path.is_dir()


@pytest.mark.parametrize("kind", ["run", "archive"])
def test_a_renewal_is_over_the_stamps_that_are_there(kind: str, url: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    with tsa.listening(tsa.stamps(LATER)) as later, tsa.listening(tsa.stamps(OTHER)) as other:
        assert polarc("stamp", path, "--tsa", url).code == Exit.OK
        assert polarc("stamp", path, "--tsa", later, "--tsa", other, "--renew").code == Exit.OK
        assert polarc("stamp", path, "--tsa", later, "--renew").code == Exit.OK
    stamps = found(path, OTHER)
    assert [(each.number, each.renewal) for each in stamps] == [(0, False), (1, True), (2, True), (3, True)]
    assert stamps[1].stamp.time == LATER.time


def test_every_stamped_head_is_renewed(run: Path, url: str) -> None:
    with open_archive(run, trusted=None) as opened:
        for head, note in zip(opened.heads[:2], opened.notes, strict=False):
            attach.attach_stamp(run, head.size, AUTHORITY.over(note))
    assert polarc("stamp", run, "--tsa", url, "--renew").code == Exit.OK
    assert [(each.size, each.renewal) for each in found(run)] == [(1, False), (1, True), (2, False), (2, True)]


def test_where_there_is_no_stamp_there_is_none_to_renew(run: Path, url: str) -> None:
    done = polarc("stamp", run, "--tsa", url, "--renew")
    assert done.code == Exit.USAGE and "no stamp to renew" in done.err and is_one_line(done.err)


@pytest.mark.parametrize("fault", ["outage", "error", "page", "refusal", "other_root", "other_head", "garbage"])
def test_what_fails_is_said_in_one_line_with_its_code_and_changes_nothing(
    fault: str, archive: Path, root: Path, tmp_path: Path
) -> None:
    before = archive.read_bytes()
    with FAULTS[fault].served(tmp_path) as url:
        done = polarc("stamp", archive, "--tsa", url, "--tsa-root", root)
    reason = FAULTS[fault].reason
    assert done.code == (Exit.BROKEN if reason.startswith("stamp") else Exit.USAGE)
    assert is_one_line(done.err) and done.err.startswith(f"polarc: {url}: ") and f"[{reason}]" in done.err
    assert done.out == "" and archive.read_bytes() == before


def test_one_authority_that_fails_keeps_no_other_from_stamping(run: Path, url: str, tmp_path: Path) -> None:
    with FAULTS["other_head"].served(tmp_path) as false, FAULTS["outage"].served(tmp_path) as down:
        done = polarc("stamp", run, "--tsa", down, "--tsa", false, "--tsa", url, "--json")
    assert done.code == Exit.BROKEN and len(done.err.splitlines()) == 2
    assert [each["authority"] for each in json.loads(done.out)["stamps"]] == [url]
    assert len(done.json["failures"]) == 2 and len(found(run)) == 1


@pytest.mark.parametrize("kind", ["run", "archive"])
def test_a_renewal_is_not_kept_if_another_stamp_came_first(kind: str, url: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(kind)
    assert polarc("stamp", path, "--tsa", url).code == Exit.OK

    class Slow(StampClient):
        def ask(self, url: str, message: bytes, left: float = 9.0) -> stamp.Stamp:
            assert polarc("stamp", path, "--tsa", url).code == Exit.OK
            return StampClient(url).ask(url, message)

    with pytest.raises(FileExistsError, match="meanwhile"):
        add(path, Slow(url), renew=True)
    assert [each.renewal for each in found(path)] == [False, False]


def test_files_that_are_no_certificates_are_refused(run: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("none")
    done = polarc("stamp", run, "--tsa", url, "--tsa-root", tmp_path / "none.pem")
    assert done.code == Exit.USAGE and "none.pem" in done.err and is_one_line(done.err)
    assert polarc("stamp", run, "--tsa", "tsa.example").code == Exit.USAGE


# inspect


def test_inspect_counts_stamps(run: Path, archive: Path, url: str) -> None:
    for path in (run, archive):
        assert f"heads    {HEADS}, with 0 stamps" in polarc("inspect", path).out
        assert polarc("stamp", path, "--tsa", url).code == Exit.OK
        assert f"heads    {HEADS}, with 1 stamps" in polarc("inspect", path).out
        assert polarc("inspect", path, "--json").json["stamps"] == 1


def test_inspect_names_stamps_that_did_not_come(run: Path) -> None:
    for size in range(1, 6):
        marks.append(
            run, Mark(size, "http://tsa.example/", "status", "status 500 \x1b[31mred\nü [status]", 86400 * size)
        )
    with (run / attach.FOLDER / marks.NAME).open("ab") as file:
        file.write(b'{"message":"torn')
    said = polarc("inspect", run).out
    assert "  the last 3 of 5 times a stamp did not come:" in said
    assert "  1970-01-06T00:00:00Z head 5: status 500 ?[31mred?\\xfc [status]" in said
    failed = polarc("inspect", run, "--json").json["failed"]
    assert [each["size"] for each in failed] == [1, 2, 3, 4, 5]
    assert {each["reason"] for each in failed} == {"status"}


def test_marks_are_never_packed(run: Path, tmp_path: Path) -> None:
    marks.append(run, Mark(1, "http://tsa.example/", "status", "status 500", 0))
    assert polarc("pack", run, "-o", tmp_path / "run.pol").code == Exit.OK
    assert polarc("inspect", tmp_path / "run.pol", "--json").json["failed"] == []
