"""Test what lies beside the heads: in an archive and in a run directory the same is read, and refused."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from polarchive.errors import FormatError, Reason
from polarchive.format import archive, attach, container, stamp
from polarchive.format.archive import open_archive
from polarchive.format.attached import Attached
from polarchive.format.limits import MAX_STAMP
from tests.authority import Authority, hours
from tests.simulator import Member, Simulation
from tools.catalogue import OK, PLANS, Plan, stamps

FIRST = Authority("first")
SECOND = Authority("second")
NOTES = Simulation().run().notes
CATALOGUE = [plan for plan in PLANS.values() if plan.make.__module__ == stamps.__name__ and plan.kind == "archive"]


def name(number: int, size: int = 2) -> str:
    return container.stamp_name(size, number)


def beside(*members: Member) -> Simulation:
    return Simulation(members=lambda found: sorted([*found, *members]))


def sealed(folder: Path, *members: Member) -> Path:
    return beside(*members).seal(folder / "run.pol")


def recorded(folder: Path, *members: Member) -> Path:
    run = Simulation().record(folder / "run")
    for found, data in members:
        attach.attach(run, found, data)
    return run


def read(path: Path) -> Attached:
    with open_archive(path, trusted=None) as opened:
        return opened.attached


def refusal(path: Path) -> FormatError:
    with pytest.raises(FormatError) as raised:
        open_archive(path, trusted=None)
    return raised.value


FORMS = pytest.mark.parametrize("form", [sealed, recorded])


def renewed(*before: bytes, by: Authority = SECOND, size: int = 2) -> bytes:
    return by.over(stamp.covered(NOTES[size - 1], before))


@FORMS
def test_nothing_is_beside_a_run_at_first(form: Callable[..., Path], tmp_path: Path) -> None:
    assert read(form(tmp_path)) == Attached()


@FORMS
def test_stamps_are_told_in_order_with_what_they_are_over(form: Callable[..., Path], tmp_path: Path) -> None:
    one, two = FIRST.over(NOTES[1]), SECOND.at(hours(1)).over(NOTES[1])
    again, last = renewed(one, two), FIRST.at(hours(2)).over(NOTES[3])
    line = b"\xe2\x80\x94 witness.example " + b"A" * 102 + b"==\n"
    found = read(
        form(
            tmp_path,
            (name(0), one),
            (name(1), two),
            (name(2), again),
            (name(0, 4), last),
            (container.cosignatures_name(4), line),
        )
    )
    assert [(each.size, each.number, each.renewal) for each in found.stamps] == [
        (2, 0, False),
        (2, 1, False),
        (2, 2, True),
        (4, 0, False),
    ]
    assert [each.stamp.raw for each in found.stamps] == [one, two, again, last]
    assert [each.name for each in found.stamps] == [name(0), name(1), name(2), name(0, 4)]
    imprints = [sha256(covered).digest() for covered in (NOTES[1], stamp.covered(NOTES[1], [one, two]), NOTES[3])]
    assert [each.over for each in found.stamps] == [imprints[0], imprints[0], imprints[1], imprints[2]]
    assert [each.stamp.time for each in found.stamps] == [hours(0), hours(1), hours(0), hours(2)]
    assert found.over(2) == found.stamps[:3] and found.over(3) == ()
    assert found.cosignatures == {4: line}
    for each, root in zip(found.stamps, (FIRST, SECOND, SECOND, FIRST), strict=True):
        stamp.check(each.stamp, each.over, [root.root])


@FORMS
def test_a_renewal_is_renewed(form: Callable[..., Path], tmp_path: Path) -> None:
    members: list[Member] = [(name(0), FIRST.over(NOTES[1]))]
    for number in range(1, 6):
        by = FIRST.at(hours(number))
        members.append((name(number), renewed(*(raw for _, raw in members), by=by)))
    assert [each.renewal for each in read(form(tmp_path, *members)).stamps] == [False, *[True] * 5]


@FORMS
@pytest.mark.parametrize("plan", CATALOGUE, ids=lambda plan: plan.name)
def test_what_a_container_may_not_have_beside_it_a_run_directory_may_not_either(
    plan: Plan, form: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "run.pol"
    path.write_bytes(plan.vector().body)
    if form is recorded:
        path = _unpacked(path, tmp_path / "run")
    if plan.expect == OK:
        assert read(path).stamps
    else:
        assert refusal(path).reason == plan.expect


def _unpacked(path: Path, run: Path) -> Path:
    """Return a run directory of the log that this archive's vector is made of, with the same beside it."""
    parts = container.read(path)
    with parts.file:
        simulation = stamps.ONE if parts.listed[container.ENTRIES].size else stamps.NONE
        simulation.record(run)
        for found in filter(container.is_attached, parts.blobs):
            attach.attach(run, found, bytes(parts.blobs[found].read()))
    return run


@FORMS
@pytest.mark.parametrize(
    ("members", "reason", "place"),
    [
        pytest.param([(name(0), FIRST.over(NOTES[2]))], Reason.STAMP_IMPRINT, name(0), id="over_the_next_head"),
        pytest.param([(name(0), bytes(MAX_STAMP + 1))], Reason.LIMIT, name(0), id="too_large"),
        pytest.param([(container.cosignatures_name(2), b"\n" * (MAX_STAMP + 1))], Reason.LIMIT, None, id="many_lines"),
        pytest.param([(container.cosignatures_name(2), b"")], Reason.COSIGNATURE, None, id="cosignatures_empty"),
        pytest.param(
            [(name(0), FIRST.over(NOTES[1])), (name(1), FIRST.over(stamp.RENEWAL + stamp.prefixed(NOTES[1])))],
            Reason.STAMP_IMPRINT,
            name(1),
            id="renewal_of_nothing_after_a_stamp",
        ),
    ],
)
def test_what_does_not_belong_is_refused(
    members: list[Member], reason: Reason, place: str | None, form: Callable[..., Path], tmp_path: Path
) -> None:
    error = refusal(form(tmp_path, *members))
    assert error.reason == reason and place in (None, error.place)


@pytest.mark.parametrize("beyond", [name(0, 9), container.cosignatures_name(9)])
def test_what_is_over_no_head_is_refused_in_an_archive_and_not_looked_at_in_a_run(beyond: str, tmp_path: Path) -> None:
    """Whose writer may be at work, so that the head is there when one looks again."""
    members = [(name(0), FIRST.over(NOTES[1])), (beyond, b"x\n")]
    assert refusal(sealed(tmp_path, *members)).reason == Reason.MEMBER
    run = recorded(tmp_path, *members)
    assert [each.name for each in read(run).stamps] == [name(0)] and not read(run).cosignatures
    archive.pack(run, tmp_path / "packed.pol")
    assert [each.name for each in read(tmp_path / "packed.pol").stamps] == [name(0)]


def test_other_files_beside_a_run_are_not_looked_at(tmp_path: Path) -> None:
    run = recorded(tmp_path, (name(0), FIRST.over(NOTES[1])))
    for junk in (f".1234-{name(1)}", f"{name(1)}.tmp", "notes.txt", "50-stamp-2-1.tsr", "zz-index.json"):
        (run / attach.FOLDER / junk).write_bytes(b"half")
    assert [each.name for each in read(run).stamps] == [name(0)]
    archive.pack(run, tmp_path / "run.pol")
    assert [each.name for each in read(tmp_path / "run.pol").stamps] == [name(0)]


def test_a_stamp_that_differs_from_the_index_is_refused_when_opened(tmp_path: Path) -> None:
    raw = FIRST.over(NOTES[1])
    path = sealed(tmp_path, (name(0), raw))
    path.write_bytes(path.read_bytes().replace(raw, raw[:-1] + bytes([raw[-1] ^ 1])))
    assert refusal(path).reason == Reason.DIGEST
