"""Test that a log with one fault is refused, though an honest hand signed it, and for the right reason."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polarchive.errors import DigestError, FormatError, Reason, SignatureError, TrustError
from polarchive.format import log, merkle, note
from polarchive.format.archive import open_archive
from polarchive.format.commitment import BatchRow
from polarchive.format.entry import End, Rows, Segment, StepRow
from polarchive.format.note import Head
from polarchive.format.spelling import decode_row, encode_row
from tests.simulator import PROVER, STRANGER, FakeSigner, Hook, Run, Simulation, at, changed, hyper_of

HONEST = Simulation(segments=3)
RUN = HONEST.run()
FIRST, SECOND, THIRD, END = RUN.entries
assert isinstance(FIRST, Segment) and isinstance(SECOND, Segment) and isinstance(END, End)


def forged(**hooks: Any) -> Simulation:
    return replace(HONEST, **hooks)


def head_of(lines: list[bytes], size: int) -> Head:
    return Head(RUN.heads[0].origin, size, merkle.root(map(merkle.leaf, lines[:size])))


def moved(first: int, second: int) -> Callable[[list[Any]], list[Any]]:
    """Return the hook that lets two parts change places."""

    def hook(parts: list[Any]) -> list[Any]:
        parts = list(parts)
        parts[first], parts[second] = parts[second], parts[first]
        return parts

    return hook


def without(index: int) -> Callable[[list[Any]], list[Any]]:
    return lambda parts: [part for number, part in enumerate(parts) if number != index]


def twice(index: int) -> Callable[[list[Any]], list[Any]]:
    return lambda parts: [*parts[: index + 1], *parts[index:]]


def batch(**fields: Any) -> Callable[[StepRow], StepRow]:
    """Return the function that changes the first batch of a row."""
    return lambda row: replace(row, batches=(replace(row.batches[0], **fields), *row.batches[1:]))


def rows_of(index: int, change: Callable[[list[bytes]], list[bytes]]) -> dict[str, Any]:
    """Return the hooks that change the rows of a segment after it committed to the honest ones."""
    honest = RUN.entries[index]
    return {"row_lines": at(index, change), "entries": at(index, lambda _: honest)}


ENTRY_FAULTS: dict[str, Simulation] = {
    "index_skipped": forged(entries=at(1, changed(index=2))),
    "index_repeated": forged(entries=at(1, changed(index=0))),
    "index_from_one": forged(entries=at(0, changed(index=1))),
    "first_step_skipped": forged(entries=at(1, changed(first=3))),
    "first_step_repeated": forged(entries=at(1, changed(first=1))),
    "first_step_not_zero": forged(entries=at(0, changed(first=1))),
    "more_steps_than_every": forged(entries=at(2, changed(steps=3))),
    "a_short_segment_that_is_not_last": forged(entries=at(1, changed(steps=1))),
    "segments_swapped": forged(entries=moved(0, 1)),
    "segment_missing": forged(entries=without(1)),
    "segment_twice": forged(entries=twice(1)),
    "segment_after_the_end": forged(entries=moved(2, 3)),
    "end_twice": forged(entries=twice(3)),
    "end_alone": forged(entries=lambda entries: entries[-1:]),
    "epoch_goes_back": forged(entries=at(1, changed(epoch=1))),
    "end_with_another_state": forged(entries=at(3, changed(root=SECOND.root))),
    "end_with_fewer_steps": forged(entries=at(3, changed(steps=END.steps - 1))),
    "end_with_more_records": forged(entries=at(3, changed(records=END.records + 1))),
    "final_state_not_stored": forged(entries=at(2, changed(stored=False))),
    "every_larger_than_the_segments": forged(header=changed(every=3)),
    "every_smaller_than_the_segments": forged(header=changed(every=1)),
}
SPELLING_FAULTS: dict[str, tuple[Simulation, Reason]] = {
    "entry_with_a_space": (forged(lines=at(2, lambda line: line.replace(b",", b", ", 1))), Reason.JSON),
    "entry_empty": (forged(lines=at(2, lambda _: b"")), Reason.JSON),
    "entry_of_an_unknown_type": (forged(lines=at(2, lambda line: line.replace(b'"segment"', b'"step"'))), Reason.FIELD),
    "header_as_an_entry": (forged(lines=at(2, lambda _: RUN.lines[0])), Reason.FIELD),
    "segment_as_the_header": (forged(lines=lambda lines: lines[1:]), Reason.FIELD),
    "segment_without_steps": (forged(entries=at(1, changed(steps=0))), Reason.LIMIT),
    "version_of_tomorrow": (forged(lines=at(0, lambda line: line.replace(b"/v1", b"/v2"))), Reason.VERSION),
    "two_processes": (forged(header=changed(world=2)), Reason.VERSION),
}
HEAD_FAULTS: dict[str, Simulation] = {
    "no_heads": forged(heads=lambda _: []),
    "last_entry_not_covered": forged(heads=lambda heads: heads[:-1]),
    "only_the_header_covered": forged(heads=lambda heads: heads[:1]),
    "head_twice": forged(heads=twice(1)),
    "heads_swapped": forged(heads=moved(1, 2)),
    "head_of_nothing": forged(heads=at(0, lambda head: replace(head, size=0, root=merkle.EMPTY))),
    "head_beyond_the_log": forged(heads=at(-1, lambda head: replace(head, size=head.size + 1))),
    "head_beyond_u64": forged(heads=at(-1, lambda head: replace(head, size=10**19))),
    "size_of_another_root": forged(heads=at(1, lambda head: replace(head, root=RUN.heads[2].root))),
    "last_root_changed": forged(heads=at(-1, lambda head: replace(head, root=bytes(32)))),
    "first_root_changed": forged(heads=at(0, lambda head: replace(head, root=bytes(32)))),
    "history_rewritten_before_a_head": forged(
        heads=at(1, lambda head: head_of([RUN.lines[0], RUN.lines[2], RUN.lines[1]], 2))
    ),
    "origin_of_another_run": forged(heads=at(1, lambda head: replace(head, origin=note.origin(PROVER.key, bytes(16))))),
    "origin_of_another_key": forged(
        heads=at(1, lambda head: replace(head, origin=note.origin(STRANGER.key, RUN.header.run)))
    ),
}
NAMESAKE = FakeSigner(PROVER.name, STRANGER.seed)
KEY_FAULTS: dict[str, tuple[Simulation, Reason]] = {
    "one_head_by_a_stranger": (forged(notes=at(1, lambda _: note.sign(RUN.heads[1], STRANGER))), Reason.KEY),
    "one_head_by_a_namesake": (forged(notes=at(1, lambda _: note.sign(RUN.heads[1], NAMESAKE))), Reason.KEY),
    "all_heads_by_a_stranger": (forged(notes=lambda _: [note.sign(head, STRANGER) for head in RUN.heads]), Reason.KEY),
    "header_names_a_stranger": (forged(header=changed(key=STRANGER.key)), Reason.KEY),
    "signature_of_another_head": (
        forged(notes=at(1, lambda signed: RUN.heads[1].text + RUN.notes[2].removeprefix(RUN.heads[2].text))),
        Reason.SIGNATURE,
    ),
    "text_changed_after_signing": (
        forged(notes=at(2, lambda signed: signed.replace(b"\n3\n", b"\n4\n"))),
        Reason.SIGNATURE,
    ),
}
ROWS = [decode_row(line, "row") for line in RUN.rows[1].splitlines()]
INDEXED = Simulation(segments=3, dataset=9).run()
INDEXED_ROWS = [decode_row(line, "row") for line in INDEXED.rows[1].splitlines()]
INDICES = INDEXED_ROWS[0].batches[0].indices
ROW_FAULTS: dict[str, Hook[StepRow]] = {
    "row_missing": without(0),
    "row_twice": twice(0),
    "rows_swapped": moved(0, 1),
    "row_of_another_step": at(1, changed(step=4)),
    "rows_of_another_segment": lambda rows: [replace(row, step=row.step - 2) for row in rows],
    "row_without_batches": at(0, changed(batches=())),
    "row_with_too_many_batches": at(0, lambda row: replace(row, batches=row.batches * 2)),
    "row_with_an_empty_batch_more": at(0, lambda row: replace(row, batches=(*row.batches, BatchRow(0, merkle.EMPTY)))),
    "count_less_than_the_segment_says": at(0, batch(count=2)),
    "count_more_than_the_segment_says": at(1, batch(count=4)),
    "indices_in_fed_mode": at(0, batch(indices=(0, 1, 2))),
    "first_row_states_hyper": at(0, changed(hyper={"sgd/0/lr": 9.0})),
    "row_states_no_change_of_hyper": at(1, changed(hyper={})),
}
INDEX_FAULTS: dict[str, Hook[StepRow]] = {
    "no_indices": at(0, batch(indices=None)),
    "an_index_less": at(0, batch(indices=INDICES[1:])),
    "an_index_more": at(0, batch(indices=(*INDICES, 0))),
    "an_index_beyond_the_dataset": at(0, batch(indices=(9, *INDICES[1:]))),
    "an_index_changed": at(0, batch(indices=((INDICES[0] + 1) % 9, *INDICES[1:]))),
    "indices_in_another_order": at(0, batch(indices=INDICES[::-1])),
    "root_of_other_records": at(0, batch(root=INDEXED_ROWS[1].batches[0].root)),
}
DATASET_FAULTS = {
    "empty": b"",
    "a_byte_less": b"".join(INDEXED.dataset)[:-1],
    "a_leaf_less": b"".join(INDEXED.dataset[:-1]),
    "a_leaf_more": b"".join(INDEXED.dataset) + bytes(32),
    "leaves_swapped": b"".join(moved(0, 1)(INDEXED.dataset)),
    "a_leaf_changed": b"".join(at(4, lambda _: bytes(32))(INDEXED.dataset)),
}
HONEST_ROWS = RUN.rows[1]
BYTE_FAULTS = {
    "empty": b"",
    "no_last_line_end": HONEST_ROWS[:-1],
    "another_line_end": HONEST_ROWS + b"\n",
    "a_line_less": HONEST_ROWS.splitlines(keepends=True)[0],
    "a_line_more": HONEST_ROWS + HONEST_ROWS.splitlines(keepends=True)[0],
    "lines_swapped": b"".join(reversed(HONEST_ROWS.splitlines(keepends=True))),
    "line_end_moved": HONEST_ROWS.replace(b"}\n{", b"\n}{"),
    "count_changed": HONEST_ROWS.replace(b'"count":"3"', b'"count":"4"', 1),
    "rows_of_another_segment": RUN.rows[0],
}
ROW_SPELLING_FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "row_with_a_space": lambda line: line.replace(b",", b", ", 1),
    "row_empty": lambda line: b"",
    "row_with_a_duplicate_key": lambda line: line.replace(b',"step"', b',"step":"2","step"'),
}


def check(rows: list[StepRow], run: Run = RUN) -> tuple[log.Step, ...]:
    """Check rows of the second segment that it commits to."""
    lines = [encode_row(row) for row in rows]
    data = b"".join(line + b"\n" for line in lines)
    segment = replace(run.segments[1], rows=Rows(len(data), merkle.root(map(merkle.leaf, lines))))
    return log.check_rows(run.header, segment, data, run.dataset)


def refusal_of(simulation: Simulation, folder: Path) -> FormatError:
    """Return the one error with which opening and sealing refuse a run, as a container and as a run directory."""
    errors = []
    for path in (simulation.seal(folder / "run.pol"), simulation.record(folder / "run")):
        with pytest.raises(FormatError) as refusal, open_archive(path, trusted=[PROVER.key, STRANGER.key]) as archive:
            archive.seal()
        errors.append(refusal.value)
    assert errors[0].reason == errors[1].reason
    return errors[0]


def test_the_run_that_faults_are_planted_in_is_accepted(tmp_path: Path) -> None:
    for path in (HONEST.seal(tmp_path / "run.pol"), HONEST.record(tmp_path / "run")):
        with open_archive(path, trusted=[PROVER.key]) as archive:
            archive.seal()


@pytest.mark.parametrize("simulation", ENTRY_FAULTS.values(), ids=ENTRY_FAULTS)
def test_entries_that_do_not_follow_each_other_are_refused(simulation: Simulation, tmp_path: Path) -> None:
    assert refusal_of(simulation, tmp_path).reason == Reason.ENTRY


@pytest.mark.parametrize(("simulation", "reason"), SPELLING_FAULTS.values(), ids=SPELLING_FAULTS)
def test_entries_spelled_otherwise_are_refused(simulation: Simulation, reason: Reason, tmp_path: Path) -> None:
    assert refusal_of(simulation, tmp_path).reason == reason


@pytest.mark.parametrize("simulation", HEAD_FAULTS.values(), ids=HEAD_FAULTS)
def test_heads_that_do_not_fit_are_refused(simulation: Simulation) -> None:
    run = simulation.run()
    with pytest.raises(TrustError) as refusal:
        log.check(run.lines[0], run.lines[1:], run.notes)
    assert refusal.value.reason == Reason.HEAD


@pytest.mark.parametrize("simulation", HEAD_FAULTS.values(), ids=HEAD_FAULTS)
def test_containers_whose_heads_do_not_fit_are_refused(simulation: Simulation, tmp_path: Path) -> None:
    with pytest.raises(FormatError) as refusal:
        open_archive(simulation.seal(tmp_path / "run.pol"), trusted=None)
    assert refusal.value.reason == Reason.HEAD


@pytest.mark.parametrize(("simulation", "reason"), KEY_FAULTS.values(), ids=KEY_FAULTS)
def test_heads_by_another_key_are_refused(simulation: Simulation, reason: Reason, tmp_path: Path) -> None:
    error = refusal_of(simulation, tmp_path)
    assert isinstance(error, SignatureError) and error.reason == reason


def test_rows_give_every_step_its_batches_and_hyper() -> None:
    steps = [
        step
        for segment, data in zip(RUN.segments, RUN.rows, strict=True)
        for step in log.check_rows(RUN.header, segment, data)
    ]
    assert [step.step for step in steps] == list(range(6))
    assert [step.hyper for step in steps] == [hyper_of(step) for step in range(6)]
    for step in steps:
        RUN.openings[step.step][0].check(step.batches[0])


def test_a_change_of_hyper_lasts_until_the_next() -> None:
    rows = [*ROWS, StepRow(4, ROWS[0].batches), StepRow(5, ROWS[0].batches, {"more": True})]
    data = b"".join(encode_row(row) + b"\n" for row in rows)
    root = merkle.root(merkle.leaf(encode_row(row)) for row in rows)
    segment = replace(SECOND, steps=4, records=12, rows=Rows(len(data), root))
    hypers = [step.hyper for step in log.check_rows(RUN.header, segment, data)]
    assert hypers == [hyper_of(2), hyper_of(3), hyper_of(3), {**hyper_of(3), "more": True}]


@pytest.mark.parametrize("fault", ROW_FAULTS.values(), ids=ROW_FAULTS)
def test_rows_that_do_not_fit_are_refused(fault: Hook[StepRow]) -> None:
    check(ROWS)
    with pytest.raises(FormatError) as refusal:
        check(fault(ROWS))
    assert refusal.value.reason == Reason.ROWS


@pytest.mark.parametrize("fault", INDEX_FAULTS.values(), ids=INDEX_FAULTS)
def test_indices_that_do_not_fit_are_refused(fault: Hook[StepRow]) -> None:
    check(INDEXED_ROWS, INDEXED)
    with pytest.raises(FormatError) as refusal:
        check(fault(INDEXED_ROWS), INDEXED)
    assert refusal.value.reason == Reason.ROWS


def test_nodes_are_not_taken_for_the_leaves_of_a_dataset() -> None:
    nodes = [merkle.root(INDEXED.dataset[:8]), INDEXED.dataset[8]]
    assert merkle.root(nodes) == INDEXED.header.commitment.root
    with pytest.raises(DigestError):
        log.check_dataset(INDEXED.header.commitment, b"".join(nodes))


@pytest.mark.parametrize("data", DATASET_FAULTS.values(), ids=DATASET_FAULTS)
def test_a_dataset_that_is_not_committed_is_refused(data: bytes) -> None:
    assert list(log.check_dataset(INDEXED.header.commitment, b"".join(INDEXED.dataset))) == INDEXED.dataset
    with pytest.raises(DigestError):
        log.check_dataset(INDEXED.header.commitment, data)


@pytest.mark.parametrize("data", BYTE_FAULTS.values(), ids=BYTE_FAULTS)
def test_rows_that_are_not_committed_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as refusal:
        log.check_rows(RUN.header, SECOND, data)
    assert refusal.value.reason == Reason.ROWS


@pytest.mark.parametrize("size", [0, SECOND.rows.size - 1, SECOND.rows.size + 1])
def test_rows_of_another_size_than_committed_are_refused(size: int) -> None:
    with pytest.raises(FormatError) as refusal:
        log.check_rows(RUN.header, replace(SECOND, rows=replace(SECOND.rows, size=size)), HONEST_ROWS)
    assert refusal.value.reason == Reason.ROWS


@pytest.mark.parametrize("fault", ROW_SPELLING_FAULTS.values(), ids=ROW_SPELLING_FAULTS)
def test_rows_spelled_otherwise_are_refused(fault: Callable[[bytes], bytes], tmp_path: Path) -> None:
    error = refusal_of(forged(row_lines=at(1, at(0, fault))), tmp_path)
    assert (error.reason, error.place) == (Reason.JSON, "segment 1 rows")


@pytest.mark.parametrize(
    "changes",
    [{"records": SECOND.records + 1}, {"rows": replace(SECOND.rows, root=bytes(32))}],
    ids=["records", "root"],
)
def test_a_segment_that_does_not_fit_its_rows_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    total = END.records + (1 if "records" in changes else 0)
    simulation = forged(entries=lambda entries: at(3, changed(records=total))(at(1, changed(**changes))(entries)))
    assert refusal_of(simulation, tmp_path).reason == Reason.ROWS


def test_too_many_entries_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_ENTRIES", 3)
    with pytest.raises(FormatError) as refusal:
        log.check(b"not even a header", RUN.lines[1:4], [])
    assert refusal.value.reason == Reason.LIMIT
