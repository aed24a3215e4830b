"""Refuse proofs whose files do not fit each other, or not the judge's trainer: one line that names the file."""

import io
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import polarchive as pol
from polarchive.importers.importing import take
from polarchive.importers.layouts import opened
from tests.importers import published
from tests.importers.published import BATCH, STEPS, Net, build, committed
from tests.simulator import STRANGER

Fault = Callable[[Path], Any]
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


def edited(name: str, change: Callable[[dict[str, Any]], Any]) -> Fault:
    """Return what changes a state within its file."""

    def fault(folder: Path) -> None:
        state = torch.load(folder / name, weights_only=True)
        change(state)
        torch.save(state, folder / name)

    return fault


def replaced(name: str, values: Any) -> Fault:
    return lambda folder: np.save(folder / name, values)


def text(content: str) -> Fault:
    return lambda folder: (folder / "dataset.txt").write_text(content)


def image(content: bytes) -> Fault:
    return lambda folder: (folder / "dataset" / "3.png").write_bytes(content)


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG")
    about = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + file.getvalue()[24:29]
    return file.getvalue()[:12] + about + zlib.crc32(about).to_bytes(4, "big") + file.getvalue()[33:]


def group(state: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = state["optimizer"]["param_groups"][0]
    return found


FIRST = "model_step_0"
MIDDLE = "model_step_5"
JIA: dict[str, tuple[Fault, str]] = {
    "state missing": (lambda folder: (folder / "model_step_10").unlink(), "model_step_10 is missing"),
    "one state": (lambda folder: [(folder / f"model_step_{step}").unlink() for step in (5, 10, 12)], "1 states"),
    "indices of other steps": (replaced("indices.npy", np.zeros((STEPS + 1, BATCH), int)), "13 steps"),
    "flat indices": (replaced("indices.npy", np.zeros(STEPS * BATCH, int)), r"shape \(96,\)"),
    "fractional indices": (replaced("indices.npy", np.zeros((STEPS, BATCH))), "float64"),
    "negative indices": (replaced("indices.npy", np.full((STEPS, BATCH), -1)), "beyond the dataset"),
    "no net": (edited(MIDDLE, lambda state: state.pop("net")), f"{MIDDLE}: holds no net"),
    "net of numbers": (edited(MIDDLE, lambda state: state["net"].update(x=1)), f"{MIDDLE}: holds no net"),
    "no optimizer": (edited(MIDDLE, lambda state: state.pop("optimizer")), f"{MIDDLE}: holds no optimizer"),
    "optimizer that is a list": (edited(MIDDLE, lambda state: state.update(optimizer=[])), f"{MIDDLE}: holds no net"),
    "tensor of another shape": (
        edited(MIDDLE, lambda state: state["net"].update({"bn.bias": torch.zeros(5)})),
        f"{MIDDLE}: model/bn.bias",
    ),
    "tensor of another dtype": (
        edited(MIDDLE, lambda state: state["net"].update({"bn.bias": torch.zeros(4).double()})),
        f"{MIDDLE}: model/bn.bias",
    ),
    "tensor that no model has": (
        edited(MIDDLE, lambda state: state["net"].update({"../x": torch.zeros(4)})),
        f"{MIDDLE}: model/../x",
    ),
    "momentum of another shape": (
        edited(MIDDLE, lambda state: state["optimizer"]["state"][2].update(momentum_buffer=torch.zeros(2, 2))),
        f"{MIDDLE}: optimizer/model/bn.bias/momentum_buffer has shape",
    ),
    "momentum that is a text": (
        edited(MIDDLE, lambda state: state["optimizer"]["state"][2].update(momentum_buffer="x")),
        "neither tensor nor number",
    ),
    "momentum under a path": (
        edited(MIDDLE, lambda state: state["optimizer"]["state"][2].update({"a/b": torch.zeros(4)})),
        "cannot be recorded",
    ),
    "momentum of no parameter": (
        edited(MIDDLE, lambda state: state["optimizer"]["state"].update({9: {}})),
        "state for 9",
    ),
    "more parameters than the model": (
        edited(
            MIDDLE,
            lambda state: (group(state).update(params=list(range(99))), state["optimizer"]["state"].update({98: {}})),
        ),
        "has 99 parameters",
    ),
    "two groups": (
        edited(MIDDLE, lambda state: state["optimizer"]["param_groups"].append(group(state))),
        f"{MIDDLE}: its optimizer has no single group",
    ),
    "parameters in another order": (
        edited(MIDDLE, lambda state: group(state).update(params=[1, 0, 2, 3, 4])),
        "not numbered from 0",
    ),
    "parameters that are tensors": (
        edited(MIDDLE, lambda state: group(state).update(params=[torch.zeros(2)] * 5)),
        "not numbered from 0",
    ),
    "name of a tensor that is not printable": (
        edited(MIDDLE, lambda state: state["net"].update({"\x1b[2J": torch.zeros(4)})),
        f"{MIDDLE}: holds no net",
    ),
    "group that is no dict": (
        edited(MIDDLE, lambda state: state["optimizer"].update(param_groups=[3])),
        f"{MIDDLE}: holds no optimizer",
    ),
    "state that is a list": (edited(MIDDLE, lambda state: state["optimizer"].update(state=[])), "by parameter"),
    "learning rate that is a text": (edited(MIDDLE, lambda state: group(state).update(lr="x")), "optimizer/0/lr"),
    "learning rate that is nothing": (edited(MIDDLE, lambda state: group(state).update(lr=None)), "optimizer/0/lr"),
    "learning rate beyond all bounds": (
        edited(MIDDLE, lambda state: group(state).update(lr=1 << 1100)),
        "optimizer/0/lr",
    ),
    "learning rate that is infinite": (
        edited(MIDDLE, lambda state: group(state).update(lr=float("inf"))),
        "optimizer/0/lr",
    ),
    "nesterov that is a number": (edited(MIDDLE, lambda state: group(state).update(nesterov=1)), "optimizer/0/nest"),
    "milestones without bounds": (
        edited(MIDDLE, lambda state: state["scheduler"].update(milestones={6: 1 << 50}, gamma=1e9)),
        "learning rate",
    ),
}
ZHANG: dict[str, tuple[Fault, str]] = {
    "images for no whole batches": (
        lambda folder: text("".join((folder / "dataset.txt").open().readlines()[1:]))(folder),
        "31 images cannot",
    ),
    "no images": (text(""), "0 images"),
    "line that is none": (text("x\n" * 32), "of the form"),
    "name that is no number": (text("a/../../passwd.png 1\n" * 32), "of the form"),
    "label that is no number": (text("a/1.png x\n" * 32), "of the form"),
    "bytes that are no text": (lambda folder: (folder / "dataset.txt").write_bytes(b"\xff"), "ASCII"),
    "image that is missing": (lambda folder: (folder / "dataset" / "3.png").unlink(), r"3\.png: there is no"),
    "image cut short": (lambda folder: image((folder / "dataset/3.png").read_bytes()[:60])(folder), r"3\.png: not an"),
    "image of many pixels": (image(png(60000, 60000)), r"3\.png: not an image to read"),
    "image of a few more pixels": (image(png(2049, 2048)), "2049 x 2048"),
    "image of another size": (image(png(1, 1)), "differ in size"),
    "image of another kind": (image(b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"), r"3\.png: not an image"),
}
FANG: dict[str, tuple[Fault, str]] = {
    "data of other steps": (replaced("data_2.npy", np.zeros((3, BATCH, 3, 8, 8), "f4")), r"data_2\.npy"),
    "labels of other batches": (replaced("label_2.npy", np.zeros((2, BATCH + 1), int)), r"data_2\.npy"),
    "scalar data": (replaced("data_2.npy", np.float32(1)), r"data_2\.npy"),
    "labels missing": (lambda folder: (folder / "label_2.npy").unlink(), r"label_2\.npy: there is no"),
    "data of another dtype": (replaced("data_2.npy", np.zeros((2, BATCH, 3, 8, 8))), "schema"),
    "data that no step can take": (
        replaced("data_0.npy", np.zeros((2, BATCH, 3, 8, 8))),
        r"cannot take the proof's first batch, torch\.float64 \(8, 3, 8, 8\), torch\.int64 \(8,\): ",
    ),
    "state missing": (lambda folder: (folder / "model_2.pt").unlink(), r"data_0\.npy"),
}
FAULTS = {"jia": JIA, "zhang": ZHANG, "fang": FANG}


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


def test_without_pillow_one_line_says_what_to_install(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    proof = opened(whole / "zhang")
    with pytest.raises(pol.PolError, match="pip install pillow"):
        proof.batch(0)
