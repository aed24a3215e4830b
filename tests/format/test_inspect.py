"""Test that inspecting says what an archive says of itself, and no more than that."""

from dataclasses import replace
from pathlib import Path

import pytest

from polarchive.errors import FormatError, Reason
from polarchive.format.inspect import Summary, inspect
from tests.format.test_container import flips
from tests.format.test_delta import noise
from tests.simulator import Simulation, at, changed, spell_state

SIMULATION = Simulation(
    segments=3, last=1, store={0, 3}, entries=lambda entries: at(2, changed(epoch=2))(at(1, changed(epoch=1))(entries))
)


@pytest.fixture
def summaries(tmp_path: Path) -> list[Summary]:
    """Return what inspecting tells of the same run in a container and in a run directory."""
    return [inspect(SIMULATION.seal(tmp_path / "run.pol")), inspect(SIMULATION.record(tmp_path / "run"))]


def test_a_summary_counts_what_there_is(summaries: list[Summary]) -> None:
    for found in summaries:
        assert (found.segments, found.steps, found.records) == (3, 5, 15)
        assert (found.heads, found.stamps, found.finished, found.resumes) == (5, 0, True, 2)
        assert found.header == SIMULATION.run().header
        assert (found.stored_states, found.dropped) == (2, 0)


def test_a_summary_counts_bytes(summaries: list[Summary], tmp_path: Path) -> None:
    states = sum(len(spell_state(state)) for _, _, state in SIMULATION.run().stored())
    tensors = sum(len(array.data) for _, _, state in SIMULATION.run().stored() for array in state.values())
    sealed, recorded = summaries
    assert sealed.raw_bytes == recorded.raw_bytes == tensors < states
    assert sealed.stored_bytes == (tmp_path / "run.pol").stat().st_size
    assert recorded.sizes == {"journal": (tmp_path / "run" / "journal").stat().st_size, "state": states}
    assert recorded.stored_bytes == sum(recorded.sizes.values())


def test_bytes_are_told_by_kind_of_tensor(summaries: list[Summary], tmp_path: Path) -> None:
    for found in summaries:
        assert found.kinds.keys() == {"buffer", "model", "optimizer"}
        assert all(raw == stored for raw, stored in found.kinds.values())
    model, momentum = noise("F32", 4000), noise("F32", 4000, seed=1)
    moved = {"model/w": model, "optimizer/model/w/momentum_buffer": momentum}
    states = [{"model/w": model}, moved, {**moved, "model/w": noise("F32", 4000, seed=2)}]
    packed = Simulation(segments=2, states=lambda _: states).pack(tmp_path / "same.pol")
    kinds = inspect(packed).kinds
    assert kinds["model"] == (48000, 32000)  # the second is the first one again
    assert kinds["optimizer momentum_buffer"] == (32000, 16000)


def test_an_unfinished_run_is_said_to_be(tmp_path: Path) -> None:
    assert not inspect(replace(SIMULATION, finished=False).seal(tmp_path / "run.pol")).finished


def test_nothing_is_verified(tmp_path: Path) -> None:
    path = Simulation(notes=lambda notes: [b"\n" * 5 for _ in notes]).seal(tmp_path / "run.pol")
    assert inspect(path).heads == 4


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError) as refusal:
        inspect(tmp_path)
    assert refusal.value.reason == Reason.JOURNAL


def test_a_flipped_bit_is_refused_or_inspected(tmp_path: Path) -> None:
    path, refused = SIMULATION.seal(tmp_path / "run.pol"), 0
    for _ in flips(path, 11):
        try:
            inspect(path)
        except FormatError:
            refused += 1
    assert refused > 1000
