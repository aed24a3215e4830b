"""Test archives as a whole: a run directory and its container say the same, and no changed byte is accepted."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polarchive.errors import DigestError, FormatError, OpeningError, Reason, SignatureError
from polarchive.format import container, journal, tensors
from polarchive.format.archive import open_archive, pack
from polarchive.format.commitment import RecordOpening
from polarchive.format.note import VerifierKey
from polarchive.format.tensors import Array
from tests.format.test_container import flips, forge
from tests.simulator import (
    PROVER,
    STRANGER,
    FakeSigner,
    Hook,
    Member,
    Run,
    Simulation,
    at,
    changed,
    digest_of,
    hyper_of,
    spell_state,
    state_of,
)

SMALL = Simulation(every=1, records=1, store={2}, heads=lambda heads: heads[1::2])
RUNS: dict[str, Simulation] = {
    "default": Simulation(),
    "unsalted": Simulation(salted=False),
    "accumulating": Simulation(micro=3),
    "indexed": Simulation(dataset=7, micro=2),
    "indexed_and_unsalted": Simulation(dataset=7, salted=False),
    "short_last_segment": Simulation(segments=3, every=4, last=1),
    "no_segments": Simulation(segments=0),
    "only_the_last_state_stored": Simulation(segments=4, store={4}),
    "one_head": Simulation(heads=lambda heads: heads[-1:]),
    "unfinished": Simulation(finished=False),
    "unfinished_without_segments": Simulation(segments=0, finished=False),
    "resumed": Simulation(
        segments=3, entries=lambda entries: at(2, changed(epoch=4))(at(1, changed(epoch=1))(entries))
    ),
    "empty_tensors": Simulation(states=at(1, lambda state: state | {"x": Array("F32", (0, 3), b"")})),
    "no_tensors": Simulation(states=lambda states: [{} for _ in states]),
    "equal_states": Simulation(states=lambda states: [states[0] for _ in states]),
    "no_hyper": Simulation(
        entries=lambda entries: [replace(part, hyper={}) if hasattr(part, "hyper") else part for part in entries]
    ),
}


def open_and_seal(path: Path, trusted: list[VerifierKey] | None = None) -> None:
    with open_archive(path, trusted=trusted) as archive:
        archive.seal()


def refusal_of(path: Path) -> FormatError | None:
    """Return the error with which opening and sealing refuse a file; any other exception escapes and fails a test."""
    try:
        open_and_seal(path)
    except FormatError as error:
        return error
    return None


def summary(path: Path, run: Run) -> dict[str, Any]:
    """Return all that an archive says."""
    with open_archive(path, trusted=[PROVER.key]) as archive:
        stored = [index for index in range(len(archive.segments) + 1) if archive.is_stored(index)]
        return {
            "header": archive.header,
            "segments": archive.segments,
            "end": archive.end,
            "heads": archive.heads,
            "notes": archive.notes,
            "roots": [archive.root(index) for index in range(len(archive.segments) + 1)],
            "states": {index: archive.state(index) for index in stored},
            "steps": [archive.steps(index) for index in range(len(archive.segments))],
            "members": [(name, b"".join(chunks)) for name, chunks in archive.members()],
        }


@pytest.mark.parametrize("simulation", RUNS.values(), ids=RUNS)
def test_a_run_directory_and_its_container_say_the_same(simulation: Simulation, tmp_path: Path) -> None:
    path, run = simulation.pack(tmp_path / "run.pol"), simulation.run()
    sealed, recorded = summary(path, run), summary(tmp_path / "run.run", run)
    assert sealed == recorded
    assert sealed["header"] == run.header and sealed["segments"] == tuple(run.segments)
    assert sealed["heads"] == tuple(run.heads) and sealed["notes"] == tuple(run.notes)
    assert sealed["states"] == {index: state for index, _, state in run.stored()}
    assert sealed["members"] == run.members()


@pytest.mark.parametrize("simulation", RUNS.values(), ids=RUNS)
def test_honest_runs_are_accepted(simulation: Simulation, tmp_path: Path) -> None:
    open_and_seal(simulation.pack(tmp_path / "run.pol"), [PROVER.key])
    open_and_seal(tmp_path / "run.run", [PROVER.key])


@pytest.mark.parametrize("simulation", RUNS.values(), ids=RUNS)
def test_the_same_run_gives_the_same_bytes(simulation: Simulation, tmp_path: Path) -> None:
    first, again = simulation.pack(tmp_path / "a.pol"), simulation.pack(tmp_path / "b.pol")
    assert first.read_bytes() == again.read_bytes() == simulation.seal(tmp_path / "c.pol").read_bytes()


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    first, other = Simulation(seed=1).seal(tmp_path / "a.pol"), Simulation(seed=2).seal(tmp_path / "b.pol")
    assert digest_of(first) != digest_of(other)


def test_sealing_what_is_sealed_changes_nothing(honest_archive: Path, tmp_path: Path) -> None:
    with open_archive(honest_archive, trusted=None) as archive:
        digest = container.write(tmp_path / "again.pol", archive.members())
        assert digest == archive.digest
    assert (tmp_path / "again.pol").read_bytes() == honest_archive.read_bytes()


def test_the_digest_names_a_container_and_no_run_directory(tmp_path: Path) -> None:
    digest = pack(Simulation().record(tmp_path / "run"), tmp_path / "run.pol")
    with (
        open_archive(tmp_path / "run.pol", trusted=None) as sealed,
        open_archive(tmp_path / "run", trusted=None) as run,
    ):
        assert sealed.digest == digest and run.digest is None


def test_steps_are_those_recorded(honest_archive: Path, honest_run: Run) -> None:
    with open_archive(honest_archive, trusted=None) as archive:
        steps = [step for index in range(2) for step in archive.steps(index)]
    assert [step.step for step in steps] == [0, 1, 2, 3]
    assert [step.hyper for step in steps] == [hyper_of(step) for step in range(4)]
    for step in steps:
        honest_run.openings[step.step][0].check(step.batches[0])


def test_salts_of_accumulated_batches_differ() -> None:
    run = Simulation(micro=3).run()
    salts = [opening.salts[at : at + 32] for opening in run.openings[1] for at in range(0, len(opening.salts), 32)]
    assert len(set(salts)) == len(salts) == 3 * 4


@pytest.mark.parametrize("index", [-1, 2])
def test_the_last_state_has_two_names(index: int, honest_archive: Path) -> None:
    with open_archive(honest_archive, trusted=None) as archive:
        assert archive.state(index) == state_of(0, 2)


def test_a_run_cut_off_is_sealed_up_to_its_last_head(tmp_path: Path) -> None:
    folder = Simulation(segments=3).record(tmp_path / "run")
    os.truncate(folder / journal.JOURNAL, (folder / journal.JOURNAL).stat().st_size - 1)
    pack(folder, tmp_path / "cut.pol")
    with open_archive(folder, trusted=None) as run, open_archive(tmp_path / "cut.pol", trusted=None) as sealed:
        assert run.dropped > 0 and sealed.dropped == 0
        assert sealed.end is None and len(sealed.segments) == 3 and len(sealed.heads) == 4
        sealed.seal()
    expected = Simulation(segments=3, finished=False).seal(tmp_path / "expected.pol")
    assert (tmp_path / "cut.pol").read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("form", ["seal", "record"])
@pytest.mark.parametrize(
    "trusted",
    [[], [STRANGER.key], [VerifierKey("other.example", PROVER.key.public)], [FakeSigner(PROVER.name, bytes(32)).key]],
    ids=["nobody", "stranger", "other_name", "other_bytes"],
)
def test_a_key_that_is_not_trusted_is_refused(trusted: list[VerifierKey], form: str, tmp_path: Path) -> None:
    path = getattr(Simulation(), form)(tmp_path / "run")
    open_and_seal(path, [STRANGER.key, PROVER.key])
    open_and_seal(path, None)
    with pytest.raises(SignatureError) as refusal:
        open_archive(path, trusted=trusted)
    assert refusal.value.reason == Reason.KEY and str(PROVER.key) in str(refusal.value)


def test_the_small_archive_has_two_segments_and_two_heads(tmp_path: Path) -> None:
    with open_archive(SMALL.seal(tmp_path / "run.pol"), trusted=[PROVER.key]) as archive:
        archive.seal()
        assert len(archive.segments) == len(archive.heads) == 2 and archive.end is not None
        assert (tmp_path / "run.pol").stat().st_size < 7000


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_refused(step: int, tmp_path: Path) -> None:
    path = SMALL.seal(tmp_path / "run.pol")
    accepted = [place for place in flips(path, step) if refusal_of(path) is None]
    assert accepted == []
    assert refusal_of(path) is None


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = SMALL.seal(tmp_path / "run.pol")
    for size in reversed(range(path.stat().st_size)):
        os.truncate(path, size)
        assert refusal_of(path) is not None


@pytest.mark.parametrize("index", range(6))
def test_flipped_bits_of_members_are_refused_in_a_fresh_container(index: int, tmp_path: Path) -> None:
    members, path = SMALL.run().members(), tmp_path / "run.pol"
    name, data = members[index]
    for place in range(0, 8 * len(data), 7):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(forge(at(index, lambda _, changed=flipped: (name, bytes(changed)))(members)))
        assert refusal_of(path) is not None, (name, place)


def without(name: str) -> Hook[Member]:
    return lambda members: [member for member in members if member[0] != name]


def replaced(name: str, data: Callable[[bytes], bytes]) -> Hook[Member]:
    return lambda members: [(found, data(held) if found == name else held) for found, held in members]


def added(name: str, data: bytes = b"data") -> Hook[Member]:
    return lambda members: sorted([*members, (name, data)])


STATE = container.state_name(1)
MEMBER_FAULTS: dict[str, tuple[Hook[Member], Reason]] = {
    **{f"without_{name}": (without(name), Reason.MEMBER) for name in (*container.REQUIRED, STATE)},
    "without_the_final_state": (without(container.state_name(2)), Reason.MEMBER),
    "state_that_no_entry_has": (added(container.state_name(3)), Reason.MEMBER),
    "dataset_in_fed_mode": (added(container.DATASET), Reason.MEMBER),
    "stamp_over_no_head": (added(container.stamp_name(9, 0)), Reason.MEMBER),
    "cosignatures_over_no_head": (added(container.cosignatures_name(9)), Reason.MEMBER),
    "header_empty": (replaced(container.HEADER, lambda data: b""), Reason.JSON),
    "entries_empty": (replaced(container.ENTRIES, lambda data: b""), Reason.HEAD),
    "entries_without_last_line_end": (replaced(container.ENTRIES, lambda data: data[:-1]), Reason.ENTRY),
    "entries_with_an_empty_line": (replaced(container.ENTRIES, lambda data: data + b"\n"), Reason.JSON),
    "entries_with_carriage_returns": (
        replaced(container.ENTRIES, lambda data: data.replace(b"\n", b"\r\n")),
        Reason.JSON,
    ),
    "heads_empty": (replaced(container.HEADS, lambda data: b""), Reason.HEAD),
    "heads_with_half_a_note": (replaced(container.HEADS, lambda data: data + b"half\n"), Reason.NOTE),
    "rows_empty": (replaced(container.ROWS, lambda data: b""), Reason.ROWS),
    "rows_with_a_line_more": (replaced(container.ROWS, lambda data: data + b"{}\n"), Reason.ROWS),
    "rows_of_the_same_size": (replaced(container.ROWS, lambda data: bytes(len(data))), Reason.ROWS),
    "state_of_another_run": (replaced(STATE, lambda data: spell_state(state_of(1, 1))), Reason.STATE),
    "state_of_another_segment": (replaced(STATE, lambda data: spell_state(state_of(0, 2))), Reason.STATE),
    "state_empty": (replaced(STATE, lambda data: b""), Reason.TENSORS),
    "state_with_a_byte_more": (replaced(STATE, lambda data: data + b"\0"), Reason.TENSORS),
}


@pytest.mark.parametrize(("members", "reason"), MEMBER_FAULTS.values(), ids=MEMBER_FAULTS)
def test_members_that_do_not_fit_the_entries_are_refused(members: Hook[Member], reason: Reason, tmp_path: Path) -> None:
    error = refusal_of(Simulation(members=members).seal(tmp_path / "run.pol"))
    assert error is not None and error.reason == reason


def test_a_dataset_is_needed_in_indexed_mode(tmp_path: Path) -> None:
    indexed = Simulation(dataset=7)
    error = refusal_of(replace(indexed, members=without(container.DATASET)).seal(tmp_path / "run.pol"))
    assert error is not None and (error.reason, error.place) == (Reason.MEMBER, container.DATASET)
    folder = indexed.record(tmp_path / "run")
    (folder / journal.DATASET).unlink()
    error = refusal_of(folder)
    assert error is not None and error.reason == Reason.DIGEST


def test_a_dataset_is_checked_when_an_archive_is_opened(tmp_path: Path) -> None:
    members = replaced(container.DATASET, lambda data: data[::-1])
    with pytest.raises(DigestError):
        open_archive(Simulation(dataset=7, members=members).seal(tmp_path / "run.pol"), trusted=None)


def test_records_of_a_dataset_open(tmp_path: Path) -> None:
    simulation = Simulation(dataset=7, micro=2)
    run = simulation.run()
    with open_archive(simulation.seal(tmp_path / "run.pol"), trusted=None) as archive:
        batches = [batch for index in range(2) for step in archive.steps(index) for batch in step.batches]
    openings = [opening for step in run.openings for opening in step]
    for row, opening in zip(batches, openings, strict=True):
        opening.check(row)
        RecordOpening.of(opening, 1).check(row)


def test_the_layout_is_that_of_state_0(tmp_path: Path) -> None:
    other = Simulation(header=changed(layout=tensors.layout_of(state_of(0, 1)))).seal(tmp_path / "run.pol")
    with open_archive(other, trusted=None) as archive:
        assert archive.state(1) == state_of(0, 1)
        with pytest.raises(FormatError) as refusal:
            archive.state(0)
    assert refusal.value.reason == Reason.STATE


STATE_FAULTS: dict[str, Hook[dict[str, Array]]] = {
    "bool_that_is_neither": at(1, lambda state: state | {"x": Array("BOOL", (1,), b"\x02")}),
    "tensor_named_as_metadata": at(1, lambda state: state | {"__metadata__": Array("U8", (1,), b"a")}),
    "tensor_without_a_name": at(1, lambda state: state | {"": Array("U8", (1,), b"a")}),
}


@pytest.mark.parametrize("states", STATE_FAULTS.values(), ids=STATE_FAULTS)
def test_states_that_are_committed_and_malformed_are_refused(states: Hook[Any], tmp_path: Path) -> None:
    error = refusal_of(Simulation(states=states).seal(tmp_path / "run.pol"))
    assert error is not None and error.reason == Reason.TENSORS


def test_a_state_is_checked_when_it_is_read(tmp_path: Path) -> None:
    path = Simulation(members=replaced(STATE, lambda data: spell_state(state_of(0, 2)))).seal(tmp_path / "run.pol")
    with open_archive(path, trusted=[PROVER.key]) as archive:
        assert archive.state(0) == state_of(0, 0)
        with pytest.raises(DigestError):
            archive.state(1)


def test_a_state_that_is_not_stored_is_still_committed(tmp_path: Path) -> None:
    with open_archive(Simulation(store={2}).seal(tmp_path / "run.pol"), trusted=None) as archive:
        assert [archive.is_stored(index) for index in range(3)] == [True, False, True]
        assert archive.root(1) == tensors.root_of(state_of(0, 1))
        with pytest.raises(OpeningError):
            archive.state(1)


@pytest.mark.parametrize("simulation", [Simulation(notes=lambda notes: notes[:0] + [n[::-1] for n in notes])])
def test_a_broken_run_is_not_sealed(simulation: Simulation, tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        simulation.pack(tmp_path / "run.pol")
    assert not (tmp_path / "run.pol").exists()


@pytest.mark.parametrize("trusted", [[PROVER.key], []], ids=["broken", "untrusted"])
def test_a_refused_file_is_closed(trusted: list[VerifierKey], tmp_path: Path) -> None:
    broken = Simulation(notes=lambda notes: [note[::-1] for note in notes])
    path = (broken if trusted else Simulation()).seal(tmp_path / "run.pol")
    with pytest.raises(FormatError) as refusal:
        open_archive(path, trusted=trusted)
    assert str(path) not in set(descriptors())
    assert refusal.value.__traceback__ is not None  # which keeps what was opened alive, for the line above to tell


def descriptors() -> Iterator[str]:
    """Yield the files that this process has open, where the system tells."""
    folder = Path("/proc/self/fd")
    return (os.path.realpath(path) for path in folder.iterdir()) if folder.is_dir() else iter(())
