"""Make one thing in a published proof wrong, and say what an import answers: a table for each layout."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from polarchive.importers.milestones import MAX_MILESTONES
from tests.importers.published import BATCH, STEPS

Fault = Callable[[Path], Any]


def edited(name: str, change: Callable[[dict[str, Any]], Any]) -> Fault:
    """Return what changes a state within its file."""

    def fault(folder: Path) -> None:
        state = torch.load(folder / name, weights_only=True)
        change(state)
        torch.save(state, folder / name)

    return fault


def replaced(name: str, values: Any) -> Fault:
    return lambda folder: np.save(folder / name, values)


def linked(name: str) -> Fault:
    """Return what puts a symbolic link in place of a file or a folder."""

    def fault(folder: Path) -> None:
        (folder / name).symlink_to((folder / name).rename(folder / "elsewhere"))

    return fault


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
LAST = f"model_step_{STEPS}"
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
    "milestones in great number": (
        edited(MIDDLE, lambda state: state["scheduler"].update(milestones=dict.fromkeys(range(MAX_MILESTONES + 1), 1))),
        f"{MIDDLE}: its scheduler has 1025 milestones",
    ),
    "later state without a tensor": (
        edited(MIDDLE, lambda state: state["net"].pop("bn.running_mean")),
        f"{MIDDLE}: lacks model/bn.running_mean, which state 0 has",
    ),
    "last state without a tensor": (
        edited(LAST, lambda state: state["net"].pop("bn.running_var")),
        f"{LAST}: lacks model/bn.running_var, which state 0 has",
    ),
    "later state without settings": (
        edited(MIDDLE, lambda state: (group(state).pop("momentum"), group(state).pop("lr"))),
        f"{MIDDLE}: lacks optimizer/0/lr, which state 0 has",
    ),
    "later state without what the optimizer keeps": (
        lambda folder: (
            edited(FIRST, lambda state: state["optimizer"]["state"].update({0: {"count": 1}}))(folder),
            edited(MIDDLE, lambda state: state["optimizer"]["state"].clear())(folder),
        ),
        f"{MIDDLE}: lacks optimizer/model/conv.weight/count:int, which state 0 has",
    ),
    "later state without its scheduler": (
        edited(MIDDLE, lambda state: state.pop("scheduler")),
        f"{MIDDLE}: has no scheduler, where state 0 has a MultiStepLR",
    ),
    "later state with another scheduler": (
        edited(MIDDLE, lambda state: state["scheduler"].pop("milestones")),
        f"{MIDDLE}: has a scheduler that is no MultiStepLR, where state 0 has a MultiStepLR",
    ),
    "two names that become one": (
        edited(MIDDLE, lambda state: state["net"].update({"module.linear.weight": torch.zeros(4, 4)})),
        f"{MIDDLE}: its net has linear.weight twice",
    ),
    "number of steps beyond all bounds": (
        edited(MIDDLE, lambda state: state["optimizer"]["state"][0].update(step=1 << 1500)),
        f"{MIDDLE}: optimizer/model/conv.weight/step is a whole number of more than 64 bits",
    ),
    "number of the optimizer beyond 64 bits": (
        edited(MIDDLE, lambda state: state["optimizer"]["state"][0].update(count=1 << 63)),
        f"{MIDDLE}: optimizer/model/conv.weight/count is a whole number of more than 64 bits",
    ),
    "link to a state": (linked(MIDDLE), f"{MIDDLE}: is a symbolic link"),
    "link to the indices": (linked("indices.npy"), r"indices\.npy: is a symbolic link"),
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
    "link to an image": (linked("dataset/3.png"), r"3\.png: is a symbolic link"),
    "link to the images": (linked("dataset"), "dataset: is a symbolic link"),
    "link to the list of images": (linked("dataset.txt"), r"dataset\.txt: is a symbolic link"),
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
    "link to data": (linked("data_2.npy"), r"data_2\.npy: is a symbolic link"),
    "later state without a tensor": (
        edited("model_2.pt", lambda state: state["net"].pop("linear.weight")),
        r"model_2\.pt: lacks model/linear\.weight, which state 0 has",
    ),
    "data that no step can take": (
        replaced("data_0.npy", np.zeros((2, BATCH, 3, 8, 8))),
        r"cannot take the proof's first batch, torch\.float64 \(8, 3, 8, 8\), torch\.int64 \(8,\): ",
    ),
    "state missing": (lambda folder: (folder / "model_2.pt").unlink(), r"data_0\.npy"),
}
FAULTS = {"jia": JIA, "zhang": ZHANG, "fang": FANG}
