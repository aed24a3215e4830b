"""Judge runs that store some states only: the others are shown, or computed again, and must have their roots."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import polarchive as pol
from polarchive.errors import OpeningError
from polarchive.verification import report
from polarchive.verification.selections import Range
from tests.simulator import PROVER
from tests.workloads import CONVNET, TRANSFORMER, threads

WORKLOAD = replace(CONVNET, every=3, steps=14)  # five segments; states 0, 2, 4 and the last are stored
STORE = 2
EXACT = pol.Policy(threshold=pol.Fixed(0.0), in_a_row=0)
States = Callable[[int], Mapping[str, Tensor] | None]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with threads(1):
        return WORKLOAD.record(tmp_path_factory.mktemp("states") / "run", store=STORE)


@pytest.fixture(scope="module")
def all_states(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Tensor]]:
    """Return the states of the same run with all of them stored."""
    with threads(1):
        folder = WORKLOAD.record(tmp_path_factory.mktemp("states") / "whole")
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        return {index: pol.to_tensors(archive.state(index)) for index in range(6)}


def judged(run: Path, states: States | None = None, **options: Any) -> pol.Verdict:
    return WORKLOAD.judge(run, states=states, policy=EXACT, **options)


def test_the_first_every_nth_and_the_last_are_stored(run: Path, tmp_path: Path) -> None:
    pol.pack(run, tmp_path / "run.pol")
    with pol.open(tmp_path / "run.pol", trusted=[PROVER.key]) as archive:
        assert [archive.is_stored(index) for index in range(6)] == [True, False, True, False, True, True]
        archive.seal()
        with pytest.raises(OpeningError, match="by its root only"):
            archive.state(1)
    assert len(list((run / "states").iterdir())) == 4


def test_the_same_states_have_the_same_roots_stored_or_not(run: Path, all_states: dict[int, Any]) -> None:
    with pol.open(run, trusted=[PROVER.key]) as archive:
        secret = pol.read_secret(run / "secret")
        again = pol.regenerate(archive, WORKLOAD.build, WORKLOAD.batches, 3, secret=secret)
    assert again.keys() == all_states[3].keys()
    assert all(again[name].equal(tensor) for name, tensor in all_states[3].items())


def test_states_are_computed_again_where_none_are_shown(run: Path) -> None:
    verdict = judged(run)
    assert verdict.result == "accepted", verdict.reasons
    assert (verdict.stored, set(verdict.obtained)) == (4, {1, 3})
    assert "states    4 of 6 stored; 2 computed again, bit for bit" in list(report.text(verdict))
    assert report.as_json(verdict)["states_stored"] == 4


def test_states_are_taken_from_the_prover(run: Path, all_states: dict[int, dict[str, Tensor]]) -> None:
    asked = []

    def shown(index: int) -> dict[str, Tensor]:
        asked.append(index)
        return all_states[index]

    verdict = judged(run, shown)
    assert verdict.result == "accepted" and set(asked) == {1, 3}
    assert set(verdict.obtained.values()) == {"shown by the prover"}


def changed(states: dict[int, dict[str, Tensor]], index: int) -> dict[str, Tensor]:
    return {name: tensor + 1 if name == "model/conv1.weight" else tensor for name, tensor in states[index].items()}


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (lambda states, index: None, "was asked for and not shown"),
        (changed, "is not the one committed"),
        (lambda states, index: states[index - 1], "is not the one committed"),
        (lambda states, index: {}, "is not the one committed"),
    ],
    ids=["withheld", "changed", "another", "nothing"],
)
def test_a_state_that_is_not_the_committed_one_rejects(
    lie: Callable[..., Any], message: str, run: Path, all_states: dict[int, dict[str, Tensor]]
) -> None:
    verdict = judged(run, lambda index: lie(all_states, index) if index == 3 else all_states[index])
    assert verdict.result == "rejected"
    assert {finding.segment for finding in verdict.reasons} == {2, 3}
    assert all(finding.check == "openings" and message in finding.message for finding in verdict.reasons)


def test_what_another_machine_cannot_compute_again_is_inconclusive(tmp_path: Path) -> None:
    workload = replace(TRANSFORMER, every=2, steps=8)
    with threads(2):
        workload.record(tmp_path / "run", store=STORE)
    verdict = workload.judge(tmp_path / "run")
    assert verdict.result == "inconclusive"
    assert {finding.outcome.value for finding in verdict.reasons} == {"unknown"}


def test_a_forged_state_that_is_not_stored_is_not_accepted(tmp_path: Path) -> None:
    """Jump in the middle of two stored states: whoever computes again does not come to it."""
    trainer = WORKLOAD.trainer()
    with WORKLOAD.writer(tmp_path / "run", trainer, store=STORE) as log:
        for step in range(WORKLOAD.steps):
            batch = WORKLOAD.batches(step)
            log.record(batch)
            trainer.step([batch])
            if step == 4:
                jumped = {name: tensor * 1.5 for name, tensor in trainer.save().items()}
                trainer.load({name: t.to(trainer.save()[name].dtype) for name, t in jumped.items()})
    assert judged(tmp_path / "run").result != "accepted"


def forgetful(header: object, device: str) -> pol.TorchTrainer:
    """Build a trainer that counts its steps where no state shows it, and takes the later ones further."""
    trainer, seen = WORKLOAD.build(header, device), []
    plain, weights = trainer.step, next(each for each in trainer.view().values() if each.is_floating_point())

    def step(fed: Iterable[Any]) -> None:
        plain(fed)
        seen.append(None)
        with torch.no_grad():
            weights.mul_(1 + 1e-2 * len(seen))

    trainer.step = step  # type: ignore[method-assign]
    return trainer


def test_what_states_do_not_declare_is_not_carried_on_from_where_one_was_computed_again(tmp_path: Path) -> None:
    workload = replace(WORKLOAD, build=forgetful)
    workload.record(tmp_path / "run", store=STORE)
    verdict = workload.judge(tmp_path / "run", policy=replace(EXACT, selection=Range(1, 2)))
    assert set(verdict.obtained) == {1}
    assert verdict.result == "rejected" and verdict.judged[0].residual > 0
