"""Import published proofs, seal them, and have them judged: honest ones and spoofs, in all three layouts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import polarchive as pol
from polarchive.importers.importing import take
from polarchive.importers.layouts import opened
from polarchive.verification import policies
from tests.importers import published
from tests.importers.published import BATCH, EVERY, STEPS, build, build_tiny, build_zhang, committed, rows
from tests.simulator import STRANGER
from tests.workloads import threads

Build = Callable[[object, str], pol.TorchTrainer]


def imported(folder: Path, make: Build, **options: Any) -> list[str]:
    """Import a proof and seal it beside itself; return what it lacks."""
    lacks = take(opened(folder), make(None, "cpu"), folder.parent / "run", STRANGER, **options)
    pol.pack(folder.parent / "run", folder.parent / "run.pol")
    return lacks


def judged(place: Path, make: Build, batches: Any, policy: pol.Policy) -> pol.Verdict:
    with threads(1), pol.open(place / "run.pol", trusted=[STRANGER.key]) as archive:
        return pol.verify(archive, make, batches, policy=policy)


def reasons(verdict: pol.Verdict) -> set[str]:
    return {finding.check for finding in verdict.reasons}


@pytest.fixture(scope="module")
def stolen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return published.publish_jia(tmp_path_factory.mktemp("victim") / "proof")


def test_honest_jia_is_accepted_by_its_own_rule_and_lacks_only_an_explained_beginning(tmp_path: Path) -> None:
    with threads(1):
        last = published.publish_jia(tmp_path / "proof")
        lacks = imported(tmp_path / "proof", build, dataset=committed())
    assert [each.split(":")[0] for each in lacks] == [
        "no explanation of state 0",
        "no times",
        "no seeds",
        "no check of hash.txt",
    ]
    accepted = judged(tmp_path, build, rows, policies.jia2021_full())
    assert accepted.result == "accepted", accepted.reasons
    assert judged(tmp_path, build, rows, policies.relative()).result == "accepted"
    for policy in (policies.strict(), policies.exact()):
        verdict = judged(tmp_path, build, rows, policy)
        assert (verdict.result, reasons(verdict)) == ("inconclusive", {"initial"}), verdict.reasons
    with pol.open(tmp_path / "run.pol", trusted=None) as archive:
        assert (archive.header.every, archive.end and archive.end.steps) == (EVERY, STEPS)
        state = pol.to_tensors(archive.state(-1))
    assert all(state[f"model/{name}"].equal(tensor) for name, tensor in last.items())


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (torch.optim.SGD, {"lr": 1}),
        (torch.optim.AdamW, {"lr": 1e-2, "betas": (0.8, 0.9)}),
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ],
)
def test_whole_states_replay_bit_for_bit(make: Any, settings: dict[str, Any], tmp_path: Path) -> None:
    own = published.trainer(make, **({**settings, "lr": 0.5}))
    with threads(1):
        published.publish_jia(tmp_path / "proof", make, **settings)
        take(opened(tmp_path / "proof"), own, tmp_path / "run", STRANGER, dataset=committed())
    pol.pack(tmp_path / "run", tmp_path / "run.pol")
    verdict = judged(tmp_path, lambda header, device: published.trainer(make, **settings), rows, policies.exact())
    assert (verdict.result, reasons(verdict)) == ("inconclusive", {"initial"}), verdict.reasons


class Turned(published.Net):
    """The same model, whose parts are made in another order."""

    def __init__(self) -> None:
        super().__init__()
        bn, conv = self.bn, self.conv
        del self.bn, self.conv
        self.bn, self.conv = bn, conv


def test_momentum_is_named_in_the_order_of_the_proof_not_of_the_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with threads(1):
        published.publish_jia(tmp_path / "proof")
    monkeypatch.setattr(published, "Net", Turned)
    imported(tmp_path / "proof", build, dataset=committed())
    verdict = judged(tmp_path, build, rows, policies.exact())
    assert (verdict.result, reasons(verdict)) == ("inconclusive", {"initial"}), verdict.reasons


def test_learning_rates_follow_the_milestones_between_states(tmp_path: Path) -> None:
    published.publish_jia(tmp_path / "proof")
    imported(tmp_path / "proof", build, dataset=committed())
    with pol.open(tmp_path / "run.pol", trusted=None) as archive:
        rates = [step.hyper["optimizer/0/lr"] for each in archive.segments for step in archive.steps(each.index)]
    assert rates == pytest.approx([0.1] * 3 + [0.01] * 4 + [0.0001] * 5)


def test_parallel_models_are_named_without_their_wrapper(tmp_path: Path) -> None:
    published.publish_jia(tmp_path / "one")
    published.publish_jia(tmp_path / "two", parallel=True)
    assert opened(tmp_path / "one").state(0).net.keys() == opened(tmp_path / "two").state(0).net.keys()


def test_other_records_than_those_named_are_found_out(tmp_path: Path) -> None:
    published.publish_jia(tmp_path / "proof")
    imported(tmp_path / "proof", build, dataset=committed())
    verdict = judged(tmp_path, build, published.other_rows, policies.jia2021_full())
    assert verdict.result == "rejected" and "openings" in reasons(verdict)


def test_fang_passes_a_static_threshold_and_no_relative_one(stolen: Any, tmp_path: Path) -> None:
    published.publish_fang(tmp_path / "spoof", stolen)
    lacks = imported(tmp_path / "spoof", build_tiny)
    assert {"no settings of the optimizer", "no state of the optimizer"} <= {each.split(":")[0] for each in lacks}
    batches = opened(tmp_path / "spoof").batch
    accepted = judged(tmp_path, build_tiny, batches, policies.jia2021_full())
    assert accepted.result == "accepted", accepted.reasons
    for policy in (policies.relative(), policies.strict()):
        verdict = judged(tmp_path, build_tiny, batches, policy)
        assert verdict.result == "rejected" and "replay" in reasons(verdict)


def test_zhang_passes_a_static_threshold_and_no_relative_one(stolen: Any, tmp_path: Path) -> None:
    published.publish_zhang(tmp_path / "spoof", stolen)
    lacks = imported(tmp_path / "spoof", build_zhang)
    assert f"no size of a batch: {40 * BATCH} images for 40 steps make it {BATCH}" in lacks
    batches = opened(tmp_path / "spoof").batch
    images, labels = batches(0)
    assert images.equal(published.IMAGES[:BATCH]) and labels.equal(published.LABELS[:BATCH])
    accepted = judged(tmp_path, build_zhang, batches, policies.jia2021_full())
    assert accepted.result == "accepted", accepted.reasons
    for policy in (policies.relative(), policies.strict()):
        verdict = judged(tmp_path, build_zhang, batches, policy)
        assert verdict.result == "rejected" and "replay" in reasons(verdict)


@pytest.mark.parametrize("kept", [(0, 4), (8,), ()])
def test_segments_without_data_are_named_and_rejected(kept: tuple[int, ...], stolen: Any, tmp_path: Path) -> None:
    published.publish_fang(tmp_path / "spoof", stolen)
    for path in (tmp_path / "spoof").glob("data_*.npy"):
        if int(path.stem.removeprefix("data_")) not in kept:
            path.unlink()
    lacks = imported(tmp_path / "spoof", build_tiny)
    assert f"no data of {10 - len(kept)} of 10 segments: no judge can be shown them" in lacks
    verdict = judged(tmp_path, build_tiny, opened(tmp_path / "spoof").batch, policies.jia2021_full())
    assert verdict.result == "rejected" and "openings" in reasons(verdict)
    with pol.open(tmp_path / "run.pol", trusted=None) as archive:
        assert [segment.records > 0 for segment in archive.segments] == [start in kept for start in range(0, 40, 4)]


def test_a_schedule_that_is_not_recorded_is_named(tmp_path: Path) -> None:
    published.publish_jia(tmp_path / "proof")
    for path in (tmp_path / "proof").glob("model_step_*"):
        state = torch.load(path, weights_only=True)
        torch.save({**state, "scheduler": {"T_max": 12, "last_epoch": 0}}, path)
    assert any(
        each.startswith("no settings between states")
        for each in imported(tmp_path / "proof", build, dataset=committed())
    )


def test_settings_that_older_versions_did_not_keep_are_the_trainers_and_named(tmp_path: Path) -> None:
    published.publish_jia(tmp_path / "proof")
    for path in (tmp_path / "proof").glob("model_step_*"):
        state = torch.load(path, weights_only=True)
        del state["optimizer"]["param_groups"][0]["maximize"]
        torch.save(state, path)
    lacks = imported(tmp_path / "proof", build, dataset=committed())
    assert "no optimizer/0/maximize: that of your trainer, False, stands for it" in lacks


@pytest.mark.parametrize("kept", [True, False, None], ids=lambda kept: {None: "no"}.get(kept, str(kept)))
def test_what_a_group_keeps_beside_settings_is_the_proofs(kept: bool | None, tmp_path: Path) -> None:
    published.publish_jia(tmp_path / "proof", torch.optim.NAdam, lr=1e-2)
    for path in (tmp_path / "proof").glob("model_step_*"):
        state = torch.load(path, weights_only=True)
        state["optimizer"]["param_groups"][0]["decoupled_weight_decay"] = kept
        torch.save(state, path)
    own = published.trainer(torch.optim.NAdam, lr=1e-2)
    lacks = take(opened(tmp_path / "proof"), own, tmp_path / "run", STRANGER, dataset=committed())
    name = "optimizer/#0/decoupled_weight_decay:bool"
    assert (f"no {name}: that of your trainer stands for it" in lacks) == (kept is None)
    with pol.open(tmp_path / "run", trusted=None) as run:
        assert all(pol.to_tensors(run.state(place))[name].item() == bool(kept) for place in range(4))


def test_nothing_is_left_of_an_import_that_fails(stolen: Any, tmp_path: Path) -> None:
    published.publish_fang(tmp_path / "spoof", stolen)
    (tmp_path / "spoof" / "model_36.pt").write_bytes(b"PK")
    with pytest.raises(pol.PolError, match=r"model_36\.pt"):
        imported(tmp_path / "spoof", build_tiny)
    assert [path.name for path in tmp_path.iterdir()] == ["spoof"]


def test_indices_beyond_the_dataset_are_refused(tmp_path: Path) -> None:
    published.publish_jia(tmp_path / "proof")
    np.save(tmp_path / "proof" / "indices.npy", np.full((STEPS, BATCH), published.SIZE))
    with pytest.raises(pol.PolError, match="beyond the dataset's 64 records"):
        imported(tmp_path / "proof", build, dataset=committed())
