"""Record every loop of the catalogue and replay each of its segments alone, bit for bit, in a soiled trainer."""

import copy
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import polarchive as pol
from polarchive.format.archive import Archive
from polarchive.format.entry import Header
from polarchive.format.tensors import root_of
from polarchive.training.arrays import to_array, to_tensors
from polarchive.training.trainer import State, TorchTrainer
from polarchive.verification.case import Case
from polarchive.verification.evidence import Evidence
from polarchive.verification.replay import replay
from polarchive.verification.selections import Range
from polarchive.verification.showing import Own
from polarchive.verification.verdict import ACCEPTED, INCONCLUSIVE, REJECTED
from tests.loops import CATALOGUE, UNDECLARED, Batch, Loop, Script, mlp
from tests.simulator import PROVER

SEED, EVERY = 5, 4
EXACT = pol.Policy(threshold=pol.Fixed(0.0))


@dataclass(frozen=True)
class Recording:
    """Hold a recorded loop, the batches as they were loaded, and a script of the judge's to soil and replay with."""

    loop: Loop
    archive: Archive
    script: Script
    shown: list[Batch]
    secret: bytes

    @classmethod
    def of(cls, loop: Loop, folder: Path, seed: int | None = SEED) -> "Recording":
        """Run the script with the one added line."""
        torch.manual_seed(SEED)
        script, shown = loop.make(), []
        trainer, size = TorchTrainer(**script.parts), script.accumulate
        with pol.Writer(
            folder, trainer, every=EVERY, signer=PROVER, seed=seed, accumulate=size, background=False
        ) as log:
            script.train(log.record, kept(script.data(), shown))
        archive = pol.open(folder, trusted=[PROVER.key])
        return cls(loop, archive, loop.make(), shown, pol.read_secret(folder / "secret"))

    def batches(self, step: int) -> Any:
        """Return a copy of what was loaded for a step, which the judge may change in place."""
        size = self.script.accumulate
        found = copy.deepcopy(self.shown[step * size : (step + 1) * size])
        return found if size > 1 else found[0]

    def case(self) -> Case:
        """Return the case of a judge whose trainer holds the parts of `script`."""
        trainer = TorchTrainer(self.script.update, **self.script.parts)
        own = Own(self.batches, self.secret)
        return Case.of(self.archive, lambda header, device: trainer, own, self.script.device)

    def verify(self, policy: pol.Policy = EXACT) -> pol.Verdict:
        """Return the verdict of a judge who makes everything afresh."""

        def build(header: Header, device: str) -> TorchTrainer:
            script = self.loop.make()
            return TorchTrainer(script.update, **script.parts)

        device = self.script.device
        return pol.verify(self.archive, build, self.batches, policy=policy, secret=self.secret, device=device)


def kept(batches: Iterable[Batch], shown: list[Batch]) -> Iterator[Batch]:
    """Yield batches as a loader does, and keep a copy of each."""
    for batch in batches:
        shown.append(copy.deepcopy(batch))
        yield batch


def junk(value: Any) -> Any:
    """Return a batch of the same kind that nobody recorded."""
    if isinstance(value, Mapping):
        return {key: junk(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(junk, value))
    if isinstance(value, np.ndarray):
        return value[::-1] * value.dtype.type(1)
    if isinstance(value, Tensor):
        return torch.randn(value.shape) if value.is_floating_point() else value.flip(0)
    return value


def soil(recording: Recording, trainer: pol.Trainer, state: int, steps: int) -> None:
    """Leave the trainer as the judge must not mind: elsewhere, trained on junk, with gradients and other settings."""
    trainer.load(to_tensors(recording.archive.state(state)))
    trainer.impose({name: spoilt(value) for name, value in trainer.hyper().items()})
    for step in range(steps):
        trainer.step([junk(recording.shown[step])] * recording.script.accumulate)
    for part in recording.script.parts.values():
        for parameter in part.parameters() if isinstance(part, nn.Module) else ():
            parameter.grad = torch.ones_like(parameter) if parameter.is_leaf else None
    random.random(), np.random.rand(), torch.rand(3)


def spoilt(value: Any) -> Any:
    return value / 2 if isinstance(value, float) else value


def differing(evidence: Evidence) -> dict[str, float]:
    """Return the tensors that are not bit for bit the claimed ones, with their largest error."""
    return {name: distance.linf for name, distance in evidence.distances.items() if not distance.equal}


def root(state: State) -> bytes:
    return root_of({name: to_array(tensor, name) for name, tensor in state.items()})


@pytest.fixture(scope="module")
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return Recording.of(request.param, tmp_path_factory.mktemp(request.param.name) / "run")


every_loop = pytest.mark.parametrize(
    "recorded", [pytest.param(loop, marks=loop.marks, id=name) for name, loop in CATALOGUE.items()], indirect=True
)


def just(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("recorded", [pytest.param(CATALOGUE[name], id=name)], indirect=True)


@every_loop
def test_each_segment_replays_alone_in_a_soiled_trainer(recorded: Recording) -> None:
    case, last = recorded.case(), len(recorded.archive.segments) - 1
    assert last >= 1
    for index in (last, 0, *range(1, last)):
        soil(recorded, case.trainer, state=0 if index else last, steps=1 + index)
        evidence = replay(case, index)
        assert (evidence.refused, evidence.misfits, differing(evidence)) == (None, (), {}), f"segment {index}"
        assert evidence.distances


@every_loop
def test_is_accepted_with_no_error_at_all(recorded: Recording) -> None:
    verdict = recorded.verify()
    assert verdict.result == ACCEPTED, [finding.message for finding in verdict.reasons]
    assert [judged.index for judged in verdict.judged] == list(range(len(recorded.archive.segments)))


@every_loop
def test_what_is_loaded_is_what_is_saved(recorded: Recording) -> None:
    trainer = recorded.case().trainer
    for index in reversed(range(len(recorded.archive.segments) + 1)):
        soil(recorded, trainer, state=0 if index else -1, steps=2)
        state = to_tensors(recorded.archive.state(index))
        trainer.load(state)
        assert trainer.save().keys() == state.keys()
        assert root(trainer.save()) == recorded.archive.root(index)


@every_loop
def test_a_step_leaves_the_loaded_state_alone(recorded: Recording) -> None:
    trainer, state = recorded.case().trainer, to_tensors(recorded.archive.state(-1))
    trainer.load(state)
    trainer.step([junk(recorded.shown[0])] * recorded.script.accumulate)
    assert root(trainer.save()) != root(state) == recorded.archive.end.root


@every_loop
def test_every_segment_trains(recorded: Recording) -> None:
    roots = [recorded.archive.header.root, *(segment.root for segment in recorded.archive.segments)]
    assert len(set(roots)) == len(roots) > 2


# What the catalogue is there to show must really occur in its loops.


@just("grad_scaler_with_overflow")
def test_the_scaler_overflows(recorded: Recording) -> None:
    scales = [recorded.archive.state(index)["scaler/scale:float"] for index in range(4)]
    assert len({bytes(scale.data) for scale in scales}) > 2


@just("sgd_with_dampening")
def test_momentum_is_absent_at_first_and_not_zero(recorded: Recording) -> None:
    name = "optimizer/model/0.weight/momentum_buffer"
    assert name not in recorded.archive.state(0) and name in recorded.archive.state(1)


@just("buffer_that_appears")
def test_a_buffer_is_absent_at_first(recorded: Recording) -> None:
    assert "model/0.mean" not in recorded.archive.state(0) and "model/0.mean" in recorded.archive.state(1)


@just("tied_weights")
def test_tied_weights_are_recorded_once(recorded: Recording) -> None:
    assert [name for name in recorded.archive.state(0) if name.startswith("model/")] == ["model/encoder.weight"]


@just("two_heads_on_one_body")
def test_what_two_parts_share_is_recorded_once(recorded: Recording) -> None:
    shared = {name for name in recorded.archive.state(3) if "/0.weight" in name}
    assert shared == {"actor/0.weight", "optimizer/actor/0.weight/square_avg", "optimizer/actor/0.weight/step"}


@just("compiled_without_code")
def test_a_wrapper_changes_no_name(recorded: Recording) -> None:
    parameters = {f"model/{name}" for name, _ in mlp(nn.Dropout()).named_parameters()}
    assert {name for name in recorded.archive.state(0) if name.startswith("model/")} == parameters


@just("frozen_parameters")
def test_frozen_parameters_are_state_and_their_optimizer_has_none(recorded: Recording) -> None:
    assert "model/0.weight" in recorded.archive.state(3)
    assert not any(name.startswith("optimizer/model/0.") for name in recorded.archive.state(3))


@just("schedule_free")
def test_hidden_values_are_state_and_settings_are_not(recorded: Recording) -> None:
    state = recorded.archive.state(3)
    assert {"optimizer/#0/k:int", "optimizer/#0/weight_sum", "optimizer/#0/lr_max:float"} <= state.keys()
    assert recorded.archive.segments[0].hyper == {"optimizer/0/lr": 0.1}


@just("ragged_last_batch")
def test_the_last_batch_has_fewer_records(recorded: Recording) -> None:
    assert [row.batches[0].count for row in recorded.archive.steps(2)] == [8, 3]


@just("nested_batches")
def test_records_are_counted_by_what_has_rows(recorded: Recording) -> None:
    levels = {field.name: field.level for field in recorded.archive.header.schema.fields}
    per_record = {name for name, level in levels.items() if level == "record"}
    assert per_record == {"inputs.x.0", "inputs.text", "label", "weight"}
    assert per_record < levels.keys() and recorded.archive.end.records == 8 * 12


SCHEDULED = ("one_cycle", "step_lr", "cosine", "warm_up_then_cosine", "reduce_on_plateau", "adam_with_tensor_settings")


@pytest.mark.parametrize("recorded", [pytest.param(CATALOGUE[name], id=name) for name in SCHEDULED], indirect=True)
def test_the_schedule_moves_within_a_segment(recorded: Recording) -> None:
    rates = [[step.hyper["optimizer/0/lr"] for step in recorded.archive.steps(index)] for index in range(3)]
    assert any(len(set(segment)) > 1 for segment in rates)


@pytest.mark.parametrize("loop", [pytest.param(loop, id=name) for name, loop in UNDECLARED.items()])
def test_a_loop_that_hides_something_is_found_out(loop: Loop, tmp_path: Path) -> None:
    recording = Recording.of(loop, tmp_path / "run")
    case = recording.case()
    soil(recording, case.trainer, state=0, steps=1)
    assert differing(replay(case, 2))
    assert recording.verify(pol.Policy(selection=Range(2, 3))).result == REJECTED


def test_a_run_from_weights_of_unknown_origin_is_no_proof(tmp_path: Path) -> None:
    recording = Recording.of(CATALOGUE["adamw_plain"], tmp_path / "run", seed=None)
    verdict = recording.verify()
    assert verdict.result == INCONCLUSIVE
    assert [finding.check for finding in verdict.reasons] == ["initial"]
    assert all(judged.accepted for judged in verdict.judged)
