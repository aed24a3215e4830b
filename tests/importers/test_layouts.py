"""Refuse proofs whose files do not fit each other, or not the judge's trainer: one line that names the file."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import polarchive as pol
from polarchive.importers.importing import take
from polarchive.importers.layouts import opened
from polarchive.importers.milestones import MAX_MILESTONES
from tests.importers import published
from tests.importers.faults import FAULTS, MIDDLE, edited
from tests.importers.published import STEPS, Net, build, committed
from tests.simulator import STRANGER

STEPS_OF_SPOOF = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish one proof in each layout."""
    place = tmp_path_factory.mktemp("published")
    stolen = published.publish_jia(place / "jia")
    published.publish_zhang(place / "zhang", stolen, STEPS_OF_SPOOF)
    published.publish_fang(place / "fang", stolen, STEPS_OF_SPOOF, 2)
    return place


def copied(source: Path, target: Path) -> Path:
    for path in source.rglob("*"):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).write_bytes(path.read_bytes())
    return target


def imported(folder: Path, trainer: Any = None) -> None:
    proof = opened(folder)
    given = committed() if proof.indices is not None else None
    take(proof, trainer or build(None, "cpu"), folder.parent / "run", STRANGER, dataset=given)


@pytest.mark.parametrize(("layout", "fault"), [(layout, fault) for layout, each in FAULTS.items() for fault in each])
def test_proofs_that_do_not_fit_are_refused(layout: str, fault: str, whole: Path, tmp_path: Path) -> None:
    folder = copied(whole / layout, tmp_path / "proof")
    change, reason = FAULTS[layout][fault]
    change(folder)
    with pytest.raises(pol.PolError, match=reason) as error:
        imported(folder)
    assert str(error.value).isprintable()
    assert [path.name for path in tmp_path.iterdir()] == ["proof"]


@pytest.mark.parametrize("layout", FAULTS)
def test_the_proofs_that_the_faults_are_in_are_imported(layout: str, whole: Path, tmp_path: Path) -> None:
    imported(copied(whole / layout, tmp_path / "proof"))
    with pytest.raises(pol.PolError, match="already"):
        imported(tmp_path / "proof")


def test_states_at_odd_places_are_refused(whole: Path, tmp_path: Path) -> None:
    folder = copied(whole / "jia", tmp_path / "proof")
    (folder / "model_step_7").write_bytes((folder / "model_step_5").read_bytes())
    with pytest.raises(pol.PolError, match="model_step_7 lies between states that are 5 steps apart"):
        opened(folder)
    (folder / "model_step_7").rename(folder / "model_step_15")
    with pytest.raises(pol.PolError, match="model_step_12 lies between"):
        opened(folder)
    (folder / "model_step_10").unlink()
    with pytest.raises(pol.PolError, match="model_step_10 is missing"):
        opened(folder)


def test_steps_beyond_all_bounds_are_refused_at_once(tmp_path: Path) -> None:
    for step in (0, 1, 999999999):
        (tmp_path / f"model_{step}.pt").write_bytes(b"")
    with pytest.raises(pol.PolError, match=r"model_2\.pt is missing"):
        opened(tmp_path)
    (tmp_path / "model_1.pt").unlink()
    with pytest.raises(pol.PolError, match="more steps than"):
        opened(tmp_path)


def test_names_that_only_look_like_states_are_none(whole: Path, tmp_path: Path) -> None:
    folder = copied(whole / "jia", tmp_path / "proof")
    for name in ("model_step_007", "model_step_+5", "model_step_", "model_step_5.bak", "model_step_٥"):
        (folder / name).write_bytes(b"")
    assert opened(folder).states.steps == STEPS


def test_a_folder_without_a_proof_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pol.PolError, match=r"indices\.npy, dataset\.txt, model_0\.pt"):
        opened(tmp_path)


def test_data_are_asked_for_only_where_they_are_lacking(whole: Path, tmp_path: Path) -> None:
    for layout, given in (("jia", None), ("zhang", committed()), ("fang", committed())):
        with pytest.raises(pol.PolError, match="--data"):
            take(opened(whole / layout), build(None, "cpu"), tmp_path / "run", STRANGER, dataset=given)
    with pytest.raises(pol.PolError, match="rows"):
        opened(whole / "jia").batch(0)


@pytest.mark.parametrize("parts", [{"model": Net()}, {"model": Net(), "ema": Net(), "optimizer": None}])
def test_trainers_of_other_parts_are_refused(parts: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    if "optimizer" in parts:
        parts["optimizer"] = torch.optim.SGD(parts["model"].parameters(), lr=0.1)
    with pytest.raises(pol.PolError, match="one model and one optimizer"):
        take(opened(whole / "fang"), pol.TorchTrainer(**parts), tmp_path / "run", STRANGER)


def test_buffers_that_are_not_saved_are_the_trainers_and_named(whole: Path, tmp_path: Path) -> None:
    model = Net()
    model.register_buffer("mean", torch.zeros(3), persistent=False)
    own = pol.TorchTrainer(model=model, optimizer=torch.optim.SGD(nn.ParameterList(model.parameters()), lr=0.1))
    lacks = take(opened(whole / "jia"), own, tmp_path / "run", STRANGER, dataset=committed())
    assert "no model/mean: that of your trainer stands for it" in lacks


def test_settings_between_states_are_those_that_were_read_once(whole: Path) -> None:
    proof = opened(whole / "jia")
    stored = proof.state(0)
    settings = proof.settings(stored)
    stored.scheduler.clear()  # type: ignore[attr-defined]
    assert [settings(ahead)[0]["lr"] for ahead in (0, 2, 3, 7)] == pytest.approx([0.1, 0.1, 0.01, 0.0001])


def test_as_many_milestones_as_are_read_are_imported(whole: Path, tmp_path: Path) -> None:
    folder = copied(whole / "jia", tmp_path / "proof")
    edited(MIDDLE, lambda state: state["scheduler"].update(milestones=dict.fromkeys(range(MAX_MILESTONES), 1)))(folder)
    imported(folder)


def test_a_trainer_of_more_groups_than_the_proof_lends_their_settings_and_they_are_named(
    whole: Path, tmp_path: Path
) -> None:
    model = Net()
    head = list(model.linear.parameters())
    groups = [{"params": [*model.conv.parameters(), *model.bn.parameters()]}, {"params": head, "lr": 0.5}]
    own = pol.TorchTrainer(model=model, optimizer=torch.optim.SGD(groups, lr=0.1))
    lacks = take(opened(whole / "jia"), own, tmp_path / "run", STRANGER, dataset=committed())
    assert "no optimizer/1/lr: that of your trainer, 0.5, stands for it" in lacks


def test_without_pillow_one_line_says_what_to_install(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    proof = opened(whole / "zhang")
    with pytest.raises(pol.PolError, match="pip install pillow"):
        proof.batch(0)
