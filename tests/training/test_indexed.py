"""Record rows of a dataset that is committed once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset as TorchDataset

import polarchive as pol
from polarchive.errors import RecordingError
from polarchive.format.commitment import index_salt, leaves
from polarchive.format.inspect import inspect
from polarchive.recording import dataset
from polarchive.training.batches import to_batch
from tests.simulator import PROVER
from tests.workloads import CONVNET, IMAGES, LABELS

DATA = (IMAGES, LABELS)
EXACT = pol.Policy(threshold=pol.Fixed(0.0))
WORKLOAD = replace(CONVNET, every=3, steps=8)


def rows(step: int) -> torch.Tensor:
    """Visit the records twice, in an order of its own."""
    return torch.randperm(48, generator=torch.Generator().manual_seed(step // 6))[8 * (step % 6) :][:8]


def shown(step: int, chosen: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return IMAGES[chosen], LABELS[chosen]


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> pol.Dataset:
    return pol.commit_dataset(DATA, tmp_path_factory.mktemp("data") / "cifar", workers=2)


def record(
    folder: Path, data: pol.Dataset, kind: Callable[[Any], Any] = lambda chosen: chosen, **settings: Any
) -> Path:
    trainer = WORKLOAD.trainer()
    with WORKLOAD.writer(folder, trainer, dataset=data, **settings) as log:
        for step in range(log.step, WORKLOAD.steps):
            log.record(rows=kind(rows(step)))
            trainer.step([shown(step, rows(step))])
    return folder


def judged(folder: Path, batches: Callable[..., Any] = shown) -> pol.Verdict:
    return replace(WORKLOAD, batches=batches).judge(folder, policy=EXACT)


# The dataset.


def test_every_leaf_is_that_of_the_record(committed: pol.Dataset) -> None:
    salts = b"".join(index_salt(committed.secret, index) for index in range(len(committed)))
    assert committed.leaves == b"".join(leaves(to_batch(DATA), salts))
    assert len(committed) == 256


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_processes_finds_the_same(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polarchive.training.datasets._CHUNK", 7)
    told = []
    found = pol.commit_dataset(
        DATA, tmp_path / "data", salted=False, workers=workers, progress=lambda done, total: told.append((done, total))
    )
    assert found.leaves == b"".join(leaves(to_batch(DATA), bytes(32 * 256)))
    assert told[-1] == (256, 256) and told == sorted(told)


class Pairs(TorchDataset[Any]):
    """Give image and label one by one, as torchvision does."""

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> Any:
        return IMAGES[index], LABELS[index]


@pytest.mark.parametrize(
    "data",
    [Pairs(), [IMAGES, LABELS], (IMAGES.numpy(), LABELS.numpy()), (IMAGES, LABELS.tolist())],
    ids=["map_style", "list", "numpy", "python"],
)
def test_all_kinds_of_data_are_the_same_records(data: Any, committed: pol.Dataset, tmp_path: Path) -> None:
    found = pol.commit_dataset(data, tmp_path / "data", salted=False, workers=1)
    assert found.schema == committed.schema
    assert found.leaves == b"".join(leaves(to_batch(DATA), bytes(32 * 256)))


def test_what_is_there_is_used_again(committed: pol.Dataset) -> None:
    again = pol.commit_dataset(DATA, committed.folder, workers=1)
    assert (again.leaves, again.secret, again.root) == (committed.leaves, committed.secret, committed.root)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((IMAGES[:200], LABELS[:200]), "256 records are committed, not 200"),
        ((IMAGES.flip(0), LABELS), "is not the one committed"),
        ((IMAGES.float(), LABELS), "is not the one committed"),
    ],
    ids=["fewer", "in_another_order", "of_another_dtype"],
)
def test_other_data_than_what_is_there_is_refused(data: Any, message: str, committed: pol.Dataset) -> None:
    with pytest.raises(RecordingError, match=message):
        pol.commit_dataset(data, committed.folder, workers=1)


@pytest.mark.parametrize(
    ("data", "message"),
    [((), "0 records"), (torch.empty(0, 3), "0 records"), ((IMAGES, LABELS[:9]), "have 9, 256 rows")],
    ids=["nothing", "no_rows", "columns_of_two_lengths"],
)
def test_what_has_no_records_is_refused(data: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=message):
        pol.commit_dataset(data, tmp_path / "data", workers=1)
    assert not dataset.is_there(tmp_path / "data")


def test_a_dataset_broken_off_is_made_again(committed: pol.Dataset, tmp_path: Path) -> None:
    committed_anew = replace(committed, folder=tmp_path / "data")
    committed_anew.save()
    (tmp_path / "data" / dataset.ABOUT).unlink()
    assert len(pol.commit_dataset(DATA, tmp_path / "data", workers=1)) == 256


def test_a_damaged_dataset_is_refused(committed: pol.Dataset, tmp_path: Path) -> None:
    replace(committed, folder=tmp_path / "data").save()
    (tmp_path / "data" / dataset.LEAVES).write_bytes(committed.leaves[:-1] + b"\0")
    with pytest.raises(pol.FormatError, match="not the leaves"):
        pol.commit_dataset(DATA, tmp_path / "data")


# Runs.


@pytest.mark.parametrize("kind", [lambda r: r, lambda r: r.tolist(), lambda r: r.numpy(), lambda r: r.int()])
def test_a_run_is_accepted(kind: Callable[[Any], Any], committed: pol.Dataset, tmp_path: Path) -> None:
    verdict = judged(record(tmp_path / "run", committed, kind))
    assert verdict.result == "accepted", verdict.reasons


def test_runs_of_one_dataset_share_its_commitments(committed: pol.Dataset, tmp_path: Path) -> None:
    for name in "ab":
        record(tmp_path / name, committed)
        assert pol.read_secret(tmp_path / name / "secret") == committed.secret
    headers = [pol.open(tmp_path / name, trusted=None).header for name in "ab"]
    assert headers[0].commitment == headers[1].commitment and headers[0].commitment.mode == "indexed"


def test_a_run_goes_on_later(committed: pol.Dataset, tmp_path: Path) -> None:
    trainer = WORKLOAD.trainer()
    with pytest.raises(KeyError), WORKLOAD.writer(tmp_path / "run", trainer, dataset=committed) as log:
        for step in range(5):
            log.record(rows=rows(step))
            trainer.step([shown(step, rows(step))])
        raise KeyError
    record(tmp_path / "run", committed, resume=True)
    assert judged(tmp_path / "run").result == "accepted"


@pytest.mark.parametrize(
    "batches",
    [
        lambda step, chosen: shown(step, np.roll(chosen, 1)),
        lambda step, chosen: (IMAGES[chosen], LABELS[chosen].flip(0)),
        lambda step, chosen: shown(step, chosen[:-1]),
    ],
    ids=["another_order", "other_labels", "fewer"],
)
def test_other_records_than_the_committed_are_refused(
    batches: Callable[..., Any], committed: pol.Dataset, tmp_path: Path
) -> None:
    verdict = judged(record(tmp_path / "run", committed), batches)
    assert verdict.result == "rejected" and {finding.check for finding in verdict.reasons} == {"openings"}


def test_accumulated_rows_are_judged_together(committed: pol.Dataset, tmp_path: Path) -> None:
    trainer = WORKLOAD.trainer()
    with WORKLOAD.writer(tmp_path / "run", trainer, dataset=committed, accumulate=2) as log:
        for step in range(4):
            for part in range(2):
                log.record(rows=rows(2 * step + part))
            trainer.step([shown(step, rows(2 * step + part)) for part in range(2)])

    def both(step: int, chosen: list[Any]) -> list[Any]:
        return [shown(step, each) for each in chosen]

    with pol.open(tmp_path / "run", trusted=[PROVER.key]) as archive:
        verdict = pol.verify(archive, WORKLOAD.build, both, policy=EXACT, secret=committed.secret)
    assert [judged.steps for judged in verdict.judged] == [3, 1]
    assert not [finding for finding in verdict.reasons if finding.check == "openings"]


def test_rows_and_batches_do_not_mix(committed: pol.Dataset, tmp_path: Path) -> None:
    trainer = WORKLOAD.trainer()
    with WORKLOAD.writer(tmp_path / "fed", trainer) as log:
        with pytest.raises(RecordingError, match="goes with"):
            log.record(rows=[1, 2])
        log.record(WORKLOAD.batches(0))
    log = WORKLOAD.writer(tmp_path / "indexed", trainer, dataset=committed)
    with pytest.raises(RecordingError, match="goes with"):
        log.record(WORKLOAD.batches(0))
    log.abandon()


def test_inspect_says_how_often_records_are_used(committed: pol.Dataset, tmp_path: Path) -> None:
    folder = record(tmp_path / "run", committed)
    pol.pack(folder, tmp_path / "run.pol")
    for path in (folder, tmp_path / "run.pol"):
        summary = inspect(path)
        assert summary.use is not None
        assert (summary.use.records, summary.use.distinct, summary.use.most) == (256, 48, 2)
