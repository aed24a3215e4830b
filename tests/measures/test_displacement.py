"""Measure how far segments moved, against numpy on the states themselves."""

from pathlib import Path

import numpy as np
import pytest

import polarchive as pol
from polarchive.errors import DigestError
from polarchive.format.tensors import Array
from polarchive.measures.displacement import displacements
from tests.simulator import Simulation, State


def state(*values: float, bf16: int = 0x3F80, counter: int = 0, momentum: float | None = None) -> State:
    found = {
        "model/w": Array("F32", (len(values),), np.array(values, "<f4").tobytes()),
        "model/b": Array("BF16", (1,), bf16.to_bytes(2, "little")),
        "model/n": Array("I64", (), counter.to_bytes(8, "little")),
    }
    later = {} if momentum is None else {"optimizer/w": Array("F32", (), np.array(momentum, "<f4").tobytes())}
    return found | later


def measured(path: Path, *states: State, store: set[int] | None = None) -> list[float | None]:
    simulation = Simulation(segments=len(states) - 1, store=store, states=lambda _: list(states))
    with pol.open(simulation.record(path / "run"), trusted=None) as archive:
        return displacements(archive)


def test_lengths_are_those_of_floats_that_state_0_has(tmp_path: Path) -> None:
    moved = [state(0, 0), state(3, 4, counter=9, momentum=7.0), state(3, 4, bf16=0x4040, momentum=99.0)]
    assert measured(tmp_path, *moved) == [5.0, 2.0]


def test_what_cannot_be_measured_has_no_length(tmp_path: Path) -> None:
    assert measured(tmp_path, *(state(index) for index in range(5)), store={1, 4}) == [1.0, None, None, None]


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_no_number_counts_as_far(odd: float, tmp_path: Path) -> None:
    assert measured(tmp_path, state(0), state(odd), state(0)) == [np.inf, np.inf]


def test_a_state_that_is_not_the_committed_one_is_not_measured(tmp_path: Path) -> None:
    folder = Simulation(segments=1).record(tmp_path / "run")
    for path in (folder / "states").iterdir():
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    with pol.open(folder, trusted=None) as archive, pytest.raises(DigestError):
        displacements(archive)
