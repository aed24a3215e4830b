"""Judge honest runs: bit for bit the same on one machine, close on one that sums in another order."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import polarchive as pol
from tests.workloads import CONVNET, RESNET, TRANSFORMER, WARM_RESNET, Batch, Workload, descend, threads, trainer_of

EXACT = pol.Policy(threshold=pol.Fixed(0.0))


@pytest.mark.parametrize("workload", [RESNET, CONVNET, TRANSFORMER], ids=["resnet20", "convnet", "transformer"])
def test_same_stack_replays_bit_for_bit(workload: Workload, tmp_path: Path) -> None:
    verdict = workload.judge(workload.record(tmp_path / "run"), policy=EXACT)
    assert verdict.result == "accepted", verdict.reasons
    assert [judged.steps for judged in verdict.judged] == [workload.every] * (workload.steps // workload.every)
    for judged in verdict.judged:
        assert set(judged.errors) == set(workload_tensors(workload)) and not any(judged.errors.values())


@pytest.mark.parametrize(
    ("workload", "in_a_row", "noisy"),
    [
        (replace(RESNET, every=1, steps=4), 0, "model/conv.weight"),  # at this rate two steps amplify rounding too much
        (WARM_RESNET, 2, "model/conv.weight"),
        (TRANSFORMER, 2, "model/layers.0.attention.k.bias"),
    ],
    ids=["resnet20 step by step", "resnet20 at a low rate", "transformer"],
)
def test_other_thread_count_is_within_a_tenth(workload: Workload, in_a_row: int, noisy: str, tmp_path: Path) -> None:
    with threads(2):
        workload.record(tmp_path / "run")
    with threads(1):
        verdict = workload.judge(tmp_path / "run", policy=pol.Policy(in_a_row=in_a_row))
    assert verdict.result == "accepted", verdict.reasons
    for judged in verdict.judged:
        assert set(judged.errors) == set(workload_tensors(workload))
        assert judged.errors[noisy] > 0, "the replay had no noise to tolerate: this test shows nothing"


def test_other_thread_count_is_refused_where_exactness_is_asked(tmp_path: Path) -> None:
    with threads(2):
        TRANSFORMER.record(tmp_path / "run")
    with threads(1):
        verdict = TRANSFORMER.judge(tmp_path / "run", policy=EXACT)
    assert verdict.result == "rejected"
    assert {finding.check for finding in verdict.reasons} == {"replay"}


def build_with_an_idle_bias(header: object, device: str) -> pol.TorchTrainer:
    """Build a network whose batch norm takes away what the bias before it adds: its gradient is rounding alone."""
    model = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 256), nn.BatchNorm1d(256), nn.Linear(256, 5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return trainer_of(model, optimizer, lambda batch: descend(optimizer, F.cross_entropy(model(batch[0]), batch[1])))


def squares(step: int) -> Batch:
    drawn = torch.randn(256, 20, generator=torch.Generator().manual_seed(step))
    return drawn, (drawn[:, :5] ** 2).argmax(1)


def test_a_bias_without_a_gradient_leaves_open_what_adam_makes_of_its_rounding(tmp_path: Path) -> None:
    workload = Workload(build_with_an_idle_bias, squares, every=5, steps=20)
    with threads(2):
        workload.record(tmp_path / "run")
    with threads(1):
        verdict = workload.judge(tmp_path / "run")
    assert verdict.result == "inconclusive" and {finding.check for finding in verdict.reasons} == {"replay"}
    said = {finding.message.partition(":")[0] for finding in verdict.reasons}
    assert "model/2.bias has next to no gradient" in said and all("2.bias" in each for each in said)


def test_other_dropout_mask_is_no_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CONVNET.record(tmp_path / "run")
    monkeypatch.setattr("polarchive.training.seeds.TAG", b"another derivation")
    assert CONVNET.judge(tmp_path / "run").result == "rejected"


def test_replay_that_draws_other_numbers_is_inconclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CONVNET.record(tmp_path / "run")
    monkeypatch.setattr("polarchive.training.seeds.TAG", b"another derivation")
    monkeypatch.setattr("polarchive.training.seeds.probe", lambda devices: {"cpu": bytes(32)})
    verdict = CONVNET.judge(tmp_path / "run")
    assert verdict.result == "inconclusive"
    assert {finding.check for finding in verdict.reasons} == {"replay", "joint"}
    assert {finding.outcome.value for finding in verdict.reasons} == {"unknown"}


def workload_tensors(workload: Workload) -> set[str]:
    """Return the names of the whole state after one step."""
    trainer = workload.trainer()
    trainer.step([workload.batches(0)])
    return set(trainer.save())
