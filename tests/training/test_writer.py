"""Test what the writer promises: what is durable, in which order it acts, and what it refuses."""

import random
import stat
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import polarchive as pol
from polarchive.errors import FormatError, RecordingError
from polarchive.format import journal
from polarchive.format.commitment import Batch as Columns
from polarchive.format.journal import Journal
from polarchive.format.schema import Schema
from polarchive.training import seeds
from polarchive.training.trainer import TorchTrainer
from polarchive.verification.verdict import ACCEPTED
from tests.loops import INPUTS, Batch, classify, mlp, sgd, vectors
from tests.simulator import PROVER

RUN = bytes(range(16, 32))
EXACT = pol.Policy(threshold=pol.Fixed(0.0))


class Training:
    """Hold a tiny training in progress, the same each time."""

    def __init__(self, *middle: nn.Module) -> None:
        torch.manual_seed(0)
        self.model = mlp(*middle)
        self.optimizer = sgd(self.model)
        self.body = classify(self.model, self.optimizer)
        self.trainer = TorchTrainer(self.update, model=self.model, optimizer=self.optimizer)
        self.batches = list(vectors())

    def update(self, batches: Iterable[Batch]) -> None:
        """Make one update from one batch, or from several that accumulate."""
        self.optimizer.zero_grad()
        for x, y in batches:
            nn.functional.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()

    def writer(self, folder: Path, **settings: Any) -> pol.Writer:
        return pol.Writer(
            folder, self.trainer, **{"every": 2, "signer": PROVER, "seed": 0, "background": False, **settings}
        )

    def record(self, log: pol.Writer, steps: int) -> None:
        """Train as a script does."""
        for batch in self.batches[:steps]:
            log.record(batch)
            self.body(batch)


@pytest.fixture
def training() -> Training:
    return Training()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def test_what_is_no_trainer_is_refused_before_there_is_a_folder(training: Training, folder: Path) -> None:
    training.trainer = training.model  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"a Sequential, which is no trainer; wrap it: pol\.TorchTrainer\(model=model"):
        training.writer(folder)
    assert not folder.exists()


def opened(folder: Path) -> pol.Archive:
    return pol.open(folder, trusted=[PROVER.key])


def judged(folder: Path, *middle: nn.Module, size: int = 1) -> str:
    """Return the verdict of a judge who starts afresh and asks for errors of exactly 0."""
    batches = Training().batches

    def fed(step: int) -> Batch:
        return batches[step] if size == 1 else batches[size * step : size * (step + 1)]

    secret = pol.read_secret(folder / "secret")
    archive = opened(folder)
    return pol.verify(archive, lambda *_: Training(*middle).trainer, fed, policy=EXACT, secret=secret).result


def settings(archive: pol.Archive, name: str) -> list[Any]:
    return [step.hyper[name] for segment in archive.segments for step in archive.steps(segment.index)]


# What is recorded, and when it is durable.


def test_a_finished_run_says_what_it_holds(training: Training, folder: Path) -> None:
    with training.writer(folder) as log:
        training.record(log, 5)
    archive = opened(folder)
    assert [segment.steps for segment in archive.segments] == [2, 2, 1]
    assert (archive.end.steps, archive.end.records) == (5, 40)
    assert archive.end.root == archive.segments[-1].root
    assert judged(folder) == ACCEPTED


def test_durable_is_the_last_step_that_a_signed_head_covers(training: Training, folder: Path) -> None:
    seen = []
    with training.writer(folder, every=3) as log:
        for batch in training.batches[:8]:
            log.record(batch)
            seen.append(log.durable)
            training.body(batch)
            assert sum(segment.steps for segment in opened(folder).segments) == log.durable
    assert seen == [0, 0, 0, 3, 3, 3, 6, 6]
    assert log.durable == 8


def test_an_exception_drops_the_open_segment_and_leaves_an_unfinished_run(training: Training, folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), training.writer(folder) as log:
        training.record(log, 5)
        raise ZeroDivisionError
    archive = opened(folder)
    assert archive.end is None
    assert [segment.steps for segment in archive.segments] == [2, 2]
    archive.seal()


def test_an_exception_before_the_first_batch_leaves_nothing_to_read(training: Training, folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), training.writer(folder):
        raise ZeroDivisionError
    with pytest.raises(FormatError, match="nothing is recorded yet"):
        opened(folder)


def test_a_run_without_a_batch_is_refused(training: Training, folder: Path) -> None:
    with pytest.raises(RecordingError, match="no batch"), training.writer(folder):
        pass


def test_a_second_writer_is_refused_while_and_after_the_first_records(training: Training, folder: Path) -> None:
    with training.writer(folder) as log:
        with pytest.raises(RecordingError, match="another directory"):
            training.writer(folder)
        training.record(log, 4)
    with pytest.raises(RecordingError, match="another directory"):
        training.writer(folder)
    assert judged(folder) == ACCEPTED


def test_a_directory_is_locked_while_it_is_recorded_into(
    training: Training, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_PATIENCE", 0.1)
    log = training.writer(folder)
    with pytest.raises(RecordingError, match="another process"):
        Journal.reopen(folder)
    log.abandon()
    Journal.reopen(folder)[0].close()


def test_the_secret_is_its_owners_alone_and_in_no_archive(training: Training, folder: Path) -> None:
    with training.writer(folder) as log:
        training.record(log, 2)
    secret = pol.read_secret(folder / "secret")
    assert stat.S_IMODE((folder / "secret").stat().st_mode) == 0o600
    pol.pack(folder, folder.with_suffix(".pol"))
    for public in (folder.with_suffix(".pol"), folder / "journal"):
        assert secret not in public.read_bytes() and secret.hex().encode() not in public.read_bytes()


def test_runs_without_salt_have_no_secret(training: Training, folder: Path) -> None:
    with training.writer(folder, salted=False) as log:
        training.record(log, 2)
    assert not (folder / "secret").exists()
    assert not opened(folder).header.commitment.salted


def test_the_same_inputs_and_run_id_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        training = Training(nn.Dropout(0.5))
        with training.writer(tmp_path / name, salted=False, run=RUN) as log:
            torch.rand(len(name))
            training.record(log, 5)
    first, second = ((tmp_path / name / "journal").read_bytes() for name in ("first", "second"))
    assert first == second


def test_the_same_inputs_under_other_run_ids_make_other_runs(tmp_path: Path) -> None:
    roots = []
    for name in ("first", "second"):
        training = Training(nn.Dropout(0.5))
        with training.writer(tmp_path / name) as log:
            training.record(log, 2)
        roots.append(opened(tmp_path / name).segments[0].root)
    assert roots[0] != roots[1]


# Record comes first: state, batch, settings, seed, all before the body.


def test_state_0_is_the_state_before_the_first_step(training: Training, folder: Path) -> None:
    before = {name: tensor.clone() for name, tensor in training.trainer.save().items()}
    with training.writer(folder) as log:
        training.record(log, 2)
    recorded = pol.to_tensors(opened(folder).state(0))
    assert recorded.keys() == before.keys()
    assert all(torch.equal(recorded[name], before[name]) for name in before)
    assert not torch.equal(training.model[0].weight, before["model/0.weight"])


def test_the_last_state_is_what_the_block_leaves(training: Training, folder: Path) -> None:
    with training.writer(folder) as log:
        training.record(log, 3)
    recorded = pol.to_tensors(opened(folder).state(-1))
    assert all(torch.equal(recorded[name], tensor) for name, tensor in training.trainer.save().items())


def test_what_the_body_does_to_a_batch_comes_too_late(training: Training, folder: Path) -> None:
    with training.writer(folder) as log:
        for x, y in training.batches[:2]:
            fed = x.clone(), y.clone()
            log.record(fed)
            training.body(fed)
            fed[0].zero_(), fed[1].zero_()
    assert judged(folder) == ACCEPTED


def draw() -> tuple[float, float, float]:
    return torch.rand(()).item(), random.random(), float(np.random.rand())


def test_the_body_draws_from_the_seed_of_its_step(training: Training, folder: Path) -> None:
    with training.writer(folder, run=RUN) as log:
        for step, batch in enumerate(training.batches[:3]):
            draw()
            log.record(batch)
            drawn = draw()
            seeds.apply(seeds.derive(RUN, step))
            assert drawn == draw()


def test_recording_draws_nothing_from_the_default_generators(training: Training, folder: Path) -> None:
    seeds.apply(1)
    expected = draw()
    seeds.apply(1)
    log = training.writer(folder)
    assert draw() == expected
    log.abandon()


def test_accumulated_batches_have_seeds_of_their_own(training: Training, folder: Path) -> None:
    drawn = []
    with training.writer(folder, accumulate=2, run=RUN) as log:
        for batch in training.batches[:4]:
            log.record(batch)
            drawn.append(draw())
    for index, found in enumerate(drawn):
        seeds.apply(seeds.derive(RUN, index // 2, index % 2))
        assert found == draw()


# Settings.


def test_settings_are_stated_once_and_then_where_they_change(training: Training, folder: Path) -> None:
    with training.writer(folder, every=6) as log:
        for step, batch in enumerate(training.batches[:6]):
            training.optimizer.param_groups[0]["lr"] = 0.1 if step < 3 else 0.05
            log.record(batch)
            training.body(batch)
    archive = opened(folder)
    assert archive.segments[0].hyper["optimizer/0/lr"] == 0.1
    assert settings(archive, "optimizer/0/lr") == [0.1] * 3 + [0.05] * 3
    lines = (folder / "journal").read_bytes().count(b'"hyper":{"optimizer/0/lr":')
    assert lines == 1  # the row of step 3; the segment's own begins with another setting


def test_a_scheduler_that_moves_within_a_segment_is_recorded(training: Training, folder: Path) -> None:
    scheduler = torch.optim.lr_scheduler.ExponentialLR(training.optimizer, 0.5)
    with training.writer(folder, every=3) as log:
        for batch in training.batches[:5]:
            log.record(batch)
            training.body(batch)
            scheduler.step()
    assert settings(opened(folder), "optimizer/0/lr") == [0.1, 0.05, 0.025, 0.0125, 0.00625]
    assert judged(folder) == ACCEPTED


def test_a_setting_that_is_no_number_stops_the_recording(training: Training, folder: Path) -> None:
    with pytest.raises(RecordingError, match="optimizer/0/lr is nan"), training.writer(folder) as log:
        training.record(log, 2)
        training.optimizer.param_groups[0]["lr"] = float("nan")
        log.record(training.batches[2])
    assert [segment.steps for segment in opened(folder).segments] == [2]


def test_a_setting_that_is_mended_in_time_spoils_nothing(training: Training, folder: Path) -> None:
    with training.writer(folder) as log:
        training.record(log, 2)
        training.optimizer.param_groups[0]["lr"] = float("inf")
        with pytest.raises(RecordingError):
            log.record(training.batches[2])
        training.optimizer.param_groups[0]["lr"] = 0.1
        for batch in training.batches[2:4]:
            log.record(batch)
            training.body(batch)
    assert judged(folder) == ACCEPTED


# Batches.


@pytest.mark.parametrize(
    ("second", "message"),
    {
        "dtype": ({"x": torch.ones(4, 2).double(), "y": torch.ones(4)}, "field x"),
        "dimensions": ({"x": torch.ones(4, 2, 1), "y": torch.ones(4)}, "field x"),
        "level": ({"x": torch.ones(4, 2), "y": torch.ones(())}, "field y"),
        "rows": ({"x": torch.ones(4, 2), "y": torch.ones(3)}, "field y"),
        "another field": ({"x": torch.ones(4, 2), "y": torch.ones(4), "z": torch.ones(4)}, "z"),
    }.values(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_batch_of_another_kind_is_refused_by_field(
    training: Training, folder: Path, second: Batch, message: str
) -> None:
    with pytest.raises(RecordingError, match=f"step 1: .*{message}"), training.writer(folder) as log:
        log.record({"x": torch.ones(4, 2), "y": torch.ones(4)})
        log.record(second)


def test_a_refused_batch_leaves_the_run_as_it_was(training: Training, folder: Path) -> None:
    with training.writer(folder) as log:
        training.record(log, 2)
        with pytest.raises(RecordingError):
            log.record((training.batches[2][0].double(), training.batches[2][1]))
        for batch in training.batches[2:4]:
            log.record(batch)
            training.body(batch)
    assert [segment.steps for segment in opened(folder).segments] == [2, 2]
    assert judged(folder) == ACCEPTED


def bounded(batch: Columns) -> Schema:
    return Schema.of(batch, exact=True, bounds={"0": (-1.0, 1.0)})


def test_a_schema_may_bound_values_and_fix_shapes(training: Training, folder: Path) -> None:
    x, y = torch.linspace(-1, 1, 48).reshape(8, INPUTS), torch.zeros(8).long()
    outside = pytest.raises(RecordingError, match=r"step 1: field 0 has a value outside \[-1\.0, 1\.0\]")
    with outside, training.writer(folder, schema=bounded) as log:
        log.record((x, y))
        log.record((x * 1.01, y))
    field = opened(folder).header.schema.fields[0]
    assert (field.name, field.shape, field.low, field.high) == ("0", (INPUTS,), -1.0, 1.0)


def test_a_first_batch_out_of_bounds_begins_no_run(training: Training, folder: Path) -> None:
    with pytest.raises(RecordingError, match="step 0: field 0"), training.writer(folder, schema=bounded) as log:
        log.record((torch.full((8, INPUTS), torch.nan), torch.zeros(8)))
    with pytest.raises(FormatError, match="nothing is recorded"):
        opened(folder)


def test_a_schema_may_say_what_the_first_batch_cannot(training: Training, folder: Path) -> None:
    def classes_are_no_records(batch: Columns) -> Schema:
        whole = {"classes": batch.columns["classes"]}
        return Schema.of(Columns(batch.count, {"x": batch.columns["x"]}, whole))

    with training.writer(folder, schema=classes_are_no_records) as log:
        for rows in (3, 2):
            log.record({"classes": torch.arange(3), "x": torch.ones(rows, 2)})
    assert [row.batches[0].count for row in opened(folder).steps(0)] == [3, 2]


def test_strings_are_per_record_in_a_list_and_of_the_batch_alone(training: Training, folder: Path) -> None:
    with training.writer(folder) as log:
        for text in (["a", "", "ä"], ["longer"]):
            log.record({"split": "train", "text": text, "x": torch.ones(len(text), 1)})
    archive = opened(folder)
    found = {field.name: (field.level, field.dtype) for field in archive.header.schema.fields}
    assert found == {"split": ("batch", "U8"), "text": ("record", "UTF8"), "x": ("record", "F32")}
    assert archive.end.records == 4


def test_a_step_that_lacks_batches_warns_and_is_no_part_of_the_run(folder: Path) -> None:
    training = Training(nn.BatchNorm1d(8))
    with pytest.warns(UserWarning, match="accumulate"), training.writer(folder, accumulate=2) as log:
        for index, batch in enumerate(training.batches[:7]):
            log.record(batch)
            nn.functional.cross_entropy(training.model(batch[0]), batch[1]).backward()
            if index % 2:
                training.optimizer.step()
                training.optimizer.zero_grad()
    archive = opened(folder)
    assert [segment.steps for segment in archive.segments] == [2]
    assert (archive.end.steps, archive.end.records) == (2, 32)
    assert judged(folder, nn.BatchNorm1d(8), size=2) == ACCEPTED


@pytest.mark.parametrize("wrong", [{"every": 0}, {"accumulate": 0}])
def test_a_segment_and_a_step_hold_at_least_one(training: Training, folder: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        training.writer(folder, **wrong)
    assert not folder.exists()


# Any trainer will do.


class Perceptron:
    """Trains in plain tensors, without torch's optimizers: a trainer by shape alone."""

    def __init__(self) -> None:
        self.weight, self.rate = torch.zeros(INPUTS), 0.5

    def save(self) -> dict[str, Tensor]:
        return {"weight": self.weight.clone()}

    def load(self, state: dict[str, Tensor]) -> None:
        self.weight = state["weight"].clone()

    def hyper(self) -> pol.Hyper:
        return {"rate": self.rate, "shuffled": False, "margin": None}

    def impose(self, hyper: pol.Hyper) -> None:
        self.rate = float(hyper["rate"] or 0)

    def step(self, batches: Iterable[Batch]) -> None:
        for x, y in batches:
            wrong = ((x @ self.weight > 0) != (y > 0)).float() * (2 * (y > 0) - 1)
            self.weight += self.rate * (wrong @ x + 0.01 * torch.randn(INPUTS))


def test_a_trainer_of_any_kind_records_and_is_judged(folder: Path) -> None:
    trainer, batches = Perceptron(), list(vectors())
    with pol.Writer(folder, trainer, every=5, signer=PROVER, seed=0) as log:
        for batch in batches:
            log.record(batch)
            trainer.step([batch])
            trainer.rate *= 0.9
    secret = pol.read_secret(folder / "secret")
    verdict = pol.verify(opened(folder), lambda *_: Perceptron(), batches.__getitem__, policy=EXACT, secret=secret)
    assert verdict.result == ACCEPTED
    assert len({segment.root for segment in opened(folder).segments}) == 3


# Seeds and the probe (SPEC.md, "Seeds").


@pytest.mark.parametrize(
    ("step", "micro", "rank", "seed"),
    [
        (0, 0, 0, 1018441501460943983),
        (2, 0, 0, 8680444038032839442),
        (2, 1, 0, 6599255957042819569),
        (2, 0, 1, 4355087803454438551),
        ((1 << 64) - 1, 0, 0, 13934221478775529344),
    ],
)
def test_seeds_are_pinned(step: int, micro: int, rank: int, seed: int) -> None:
    assert seeds.derive(RUN, step, micro, rank) == seed


def test_a_seed_moves_every_default_generator() -> None:
    seeds.apply(1 << 63)
    first = draw()
    seeds.apply(1 << 63 | 1)
    other = draw()
    seeds.apply(1 << 63)
    assert draw() == first
    assert all(left != right for left, right in zip(first, other, strict=True))


@pytest.fixture
def other_default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


CPU = [torch.device("cpu")]


def test_the_probe_is_stable_and_draws_from_a_generator_of_its_own() -> None:
    seeds.apply(3)
    expected = draw()
    seeds.apply(3)
    first = seeds.probe(CPU)
    assert draw() == expected
    assert seeds.probe([]) == seeds.probe(CPU * 2) == first
    assert first.keys() == {"cpu"}


def test_the_probe_is_a_digest_of_uniforms_and_a_permutation() -> None:
    generator = torch.Generator().manual_seed(0)
    uniforms, order = torch.rand(65536, generator=generator), torch.randperm(256, generator=generator)
    assert seeds.probe(CPU) == {"cpu": sha256(uniforms.numpy().tobytes() + order.numpy().tobytes()).digest()}


def test_the_probe_does_not_depend_on_the_default_dtype(other_default_dtype: None) -> None:
    found = seeds.probe(CPU)
    torch.set_default_dtype(torch.float32)
    assert found == seeds.probe(CPU)
