"""Test the spoofs that make their data: what it can do, how far it misses, and who notices (Zhang et al.)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import polarchive as pol
from polarchive.attacks.disturb import Disturbance
from polarchive.attacks.joint_batch import JointBatch
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.ranked import RankedInfinitesimal, ranked
from polarchive.attacks.synthetic_start import SyntheticStart
from polarchive.attacks.synthetic_update import SyntheticUpdate, landing
from polarchive.attacks.workload import Workload
from polarchive.format.archive import Archive
from polarchive.training.kept import kept
from polarchive.verification import policies
from tests.attacks.scene import ADVERSARY, SGD, distance, judged, known, lands, opened, reasons, spoof

SHORT = replace(SGD, steps=16)  # four segments
BRIEF = {"iterations": 3, "attempts": 2}
MADE = {
    "batch by batch": SyntheticStart(**BRIEF),  # type: ignore[arg-type]
    "a segment at once": JointBatch(**BRIEF),  # type: ignore[arg-type]
    "half a segment at once": JointBatch(cut=2, **BRIEF),  # type: ignore[arg-type]
}


@pytest.fixture
def trainer() -> Puppet:
    torch.manual_seed(ADVERSARY)
    return Puppet(SGD)


def errors(folder: Path, workload: Workload, delta: float) -> list[float]:
    """Return how far the replay of each segment ends from what was claimed, which a static threshold lets pass."""
    verdict = judged(folder, workload, policies.jia2021_full(delta, 1.0))
    assert verdict.result == "accepted", verdict.reasons
    return [each.errors["all"] for each in verdict.judged]


def test_a_disturbance_lessens_the_gradient_and_leaves_inputs_in_range(trainer: Puppet) -> None:
    batch = known().batch(0)
    before = sum(float(each.square().sum()) for each in trainer.gradient(batch).values())
    made = Disturbance.of(SGD, 20, 0.0)(trainer, batch)
    genuine = SGD.records[0]
    assert made.gap < 0.6 * before and made.moved > 0
    assert genuine.min() <= made.batch[0].min() and made.batch[0].max() <= genuine.max()
    assert made.batch[1].equal(batch[1])


def test_a_penalty_keeps_a_disturbance_small(trainer: Puppet) -> None:
    batch = known().batch(0)
    moved = [Disturbance.of(SGD, 10, penalty)(trainer, batch).moved for penalty in (1e-3, 1e-1, 1e1)]
    assert moved[0] > moved[1] > moved[2]


def test_a_disturbance_can_find_the_gradient_of_another_batch(trainer: Puppet) -> None:
    one, other = known().batch(0), known().batch(1)
    wanted = trainer.gradient(other)
    none, found = (Disturbance.of(SGD, count, 0.0)(trainer, one, wanted) for count in (0, 30))
    assert found.gap < 0.5 * none.gap


def test_the_gradient_for_a_landing_leads_there(trainer: Puppet) -> None:
    knowing = known()
    for step in range(3):
        trainer.step([knowing.batch(step)])
    before = trainer.save()
    trainer.step([knowing.batch(3)])
    reached = trainer.weights()
    trainer.load(before)
    wanted, true = landing(trainer, reached), trainer.gradient(knowing.batch(3))
    for name in trainer.parameters:
        assert torch.allclose(wanted[name], true[name], atol=1e-4), name


@pytest.mark.parametrize("rate", [None, 1.0])
def test_no_last_step_lands_on_the_victim(tmp_path: Path, rate: float | None) -> None:
    knowing = known(SHORT)
    spoof(SyntheticUpdate(iterations=30, rate=rate), knowing, tmp_path)
    assert lands(tmp_path, knowing)
    verdict = judged(tmp_path, SHORT, policies.jia2021_full(knowing.rules.delta, 1.0))
    *honest, last = [each.errors["all"] for each in verdict.judged]
    jump = segment_length(tmp_path, -1)
    assert max(honest) == 0 and 0.8 * jump < last < 1.5 * jump
    assert verdict.result == "rejected" and {each.segment for each in verdict.reasons} == {SHORT.segments - 1}
    assert reasons(judged(tmp_path, SHORT)) == {"replay", "joint"}


def test_a_last_step_that_is_not_replayed_needs_no_data(tmp_path: Path) -> None:
    knowing = known(SHORT)
    spoof(SyntheticUpdate(), knowing, tmp_path, challenge=[0, 1])
    genuine, last = knowing.batch(SHORT.steps - 1), kept(tmp_path / "batches", SHORT.steps - 1)
    assert lands(tmp_path, knowing) and last[0].equal(genuine[0])


@pytest.mark.parametrize("attack", MADE.values(), ids=MADE.keys())
def test_made_data_passes_a_static_threshold_and_no_relative_one(tmp_path: Path, attack: SyntheticStart) -> None:
    knowing = known(SHORT, delta=2 * piece())
    spoof(attack, knowing, tmp_path)
    assert lands(tmp_path, knowing)
    assert min(errors(tmp_path, SHORT, knowing.rules.delta)) > 0.5 * piece()
    relative, strict = judged(tmp_path, SHORT, policies.relative()), judged(tmp_path, SHORT)
    assert relative.result == "rejected" and len(relative.reasons) == SHORT.segments
    assert strict.result == "rejected" and reasons(strict) >= {"replay", "joint", "initial"}


def test_counters_and_momentum_are_those_of_true_steps(tmp_path: Path) -> None:
    spoof(MADE["batch by batch"], known(SHORT), tmp_path)
    found = [(name, error) for each in judged(tmp_path, SHORT).judged for name, error in each.errors.items()]
    assert all(error == 0 for name, error in found if "momentum" in name or "tracked" in name)
    assert all(error > 0.1 for name, error in found if name.endswith("conv2.weight"))


def test_states_that_stand_still_are_nearer_than_those_with_made_data_at_an_honest_rate(tmp_path: Path) -> None:
    knowing = known(SHORT, delta=4 * piece())
    attacks = {"still": RankedInfinitesimal(), "made": SyntheticStart(rate=None, **BRIEF)}  # type: ignore[arg-type]
    found = {}
    for name, attack in attacks.items():
        spoof(attack, knowing, tmp_path / name)
        found[name] = errors(tmp_path / name, SHORT, knowing.rules.delta)
    assert all(still < made for still, made in zip(found["still"], found["made"], strict=True))


@pytest.mark.parametrize("attack", [SyntheticStart(**BRIEF), JointBatch(**BRIEF)])  # type: ignore[arg-type]
def test_data_is_made_for_challenged_segments_only(tmp_path: Path, attack: SyntheticStart) -> None:
    knowing = known(SHORT, delta=2 * piece())
    full = spoof(attack, knowing, tmp_path / "all").flops
    part = spoof(attack, knowing, tmp_path / "some", challenge=[1, 2])
    assert part.flops < 0.6 * full
    genuine = [kept(tmp_path / "some/batches", step)[0].equal(knowing.batch(step)[0]) for step in range(16)]
    assert genuine == [True] * 4 + [False] * 8 + [True] * 4
    asked = replace(policies.jia2021_full(knowing.rules.delta, 1.0), selection=some)
    assert judged(tmp_path / "some", SHORT, asked).result == "accepted"
    assert lands(tmp_path / "some", knowing)


def some(archive: Archive, challenge: bytes) -> list[int]:
    return [1, 2]


def test_another_batch_is_tried_until_one_fits(trainer: Puppet) -> None:
    tried = []

    def batches() -> Iterator[tuple[torch.Tensor, ...]]:
        for step in range(5):
            tried.append(step)
            yield known().batch(step)

    SyntheticStart(iterations=1)._still(known(), trainer, batches())
    assert tried == [0]
    SyntheticStart(iterations=1, gap=0.0)._still(known(), trainer, batches())
    assert tried == [0, *range(5)]


def piece() -> float:
    """Return how far a segment leads on the line from a ranked start."""
    torch.manual_seed(ADVERSARY)
    victim = known(SHORT).weights
    return distance(ranked(Puppet(SHORT).weights(), victim), victim) / SHORT.segments


def segment_length(folder: Path, index: int) -> float:
    """Return how far the weights are from before a segment to after it, as claimed."""
    with opened(folder) as archive:
        count = len(archive.segments)
        before, after = (pol.to_tensors(archive.state(each)) for each in (count + index, count + index + 1))
    names = [name for name in after if name.startswith("model/")]
    return distance({name: before[name] for name in names}, {name: after[name] for name in names})
