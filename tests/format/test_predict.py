"""Test that what optimizers compute is predicted, and that states come back whatever is predicted."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

import polarchive as pol
from polarchive.errors import FormatError, PolError, Reason
from polarchive.format import delta, groups, plan
from polarchive.format.arithmetic import keeps_subnormals
from polarchive.format.blob import Blob
from polarchive.format.entry import Hyper
from polarchive.format.formula import Formula
from polarchive.format.groups import Group
from polarchive.format.joined import Joined
from polarchive.format.predict import PLAIN, Prediction, Rule, Surroundings
from polarchive.format.tensors import Array, layout_of, size_of, spec_of
from polarchive.training.arrays import to_array
from tests.simulator import State

Made = tuple[State, Hyper]
Optimize = Callable[[nn.Module], Optimizer]


class Model(nn.Module):
    """Holds parameters of several shapes, with and without dimensions, an empty one, and buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 60), nn.BatchNorm1d(60), nn.Tanh(), nn.Linear(60, 60))
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.empty = nn.Parameter(torch.empty(0, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(x) * self.scale + self.empty.sum()
        return found


def trained(optimize: Optimize, dtype: torch.dtype = torch.float32, steps: int = 4, k: int = 1) -> list[Made]:
    """Return states of a small training, every k steps, each with the settings of the steps after it."""
    torch.manual_seed(0)
    model = Model().to(dtype)
    optimizer = optimize(model)
    trainer, found = pol.TorchTrainer(model=model, optimizer=optimizer), []
    for step in range(steps * k):
        if step % k == 0:
            found.append(({name: to_array(each, name) for name, each in trainer.save().items()}, trainer.hyper()))
        optimizer.zero_grad()
        (model(torch.randn(16, 20, dtype=dtype)) ** 2).mean().backward()
        optimizer.step()
    return found


def encode(state: State, base: State, hyper: Hyper = delta.UNKNOWN) -> bytes:
    return b"".join(map(bytes, delta.encode(state, base, 0, hyper)))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[bytes], Blob]]:
    """Return the function that makes a file of bytes."""
    files = []

    def opening(data: bytes) -> Blob:
        (tmp_path / "state.coded").write_bytes(data)
        files.append(Blob.of(tmp_path / "state.coded"))
        return files[-1]

    yield opening
    for each in files:
        each.file.close()


Opened = Callable[[bytes], Blob]


def decode(blob: Blob, base: State) -> State:
    return delta.decode(blob, base, 1 << 30)


def groups_of(blob: Blob) -> dict[str, Group]:
    """Return the group that each tensor of a coded state is in."""
    found = groups.read(blob)
    return {s.name: group for group, layout in zip(found.groups, found.layouts, strict=True) for s in layout}


def two_rates(kind: Any, **settings: Any) -> Optimize:
    """Return what gives biases another learning rate, and no weight decay."""

    def optimize(model: nn.Module) -> Optimizer:
        biases = [each for name, each in model.named_parameters() if name.endswith("bias")]
        others = [each for name, each in model.named_parameters() if not name.endswith("bias")]
        found: Optimizer = kind([{"params": others}, {"params": biases, "lr": 0.003, "weight_decay": 0.0}], **settings)
        return found

    return optimize


def of(kind: Any, **settings: Any) -> Optimize:
    return lambda model: kind(model.parameters(), **settings)


OPTIMIZERS: dict[str, Optimize] = {
    "sgd": of(SGD, lr=0.1, momentum=0.9),
    "sgd_decay": of(SGD, lr=0.1, momentum=0.9, weight_decay=0.01),
    "sgd_dampening": of(SGD, lr=0.1, momentum=0.9, dampening=0.5),
    "sgd_nesterov": of(SGD, lr=0.1, momentum=0.9, nesterov=True),
    "sgd_maximize": of(SGD, lr=0.01, momentum=0.9, maximize=True),
    "sgd_foreach": of(SGD, lr=0.1, momentum=0.9, foreach=True),
    "sgd_fused": of(SGD, lr=0.1, momentum=0.9, fused=True),
    "sgd_two_rates": two_rates(SGD, lr=0.1, momentum=0.9),
    "adam": of(Adam, lr=0.01),
    "adam_decay": of(Adam, lr=0.01, weight_decay=0.01),
    "adam_amsgrad": of(Adam, lr=0.01, amsgrad=True),
    "adamw": of(AdamW, lr=0.01),
    "adamw_maximize": of(AdamW, lr=0.01, maximize=True),
    "adamw_foreach": of(AdamW, lr=0.01, foreach=True),
    "adamw_fused": of(AdamW, lr=0.01, fused=True),
    "adamw_two_rates": two_rates(AdamW, lr=0.01, weight_decay=0.1),
}
FOLLOW = {"model/layers.0.weight", "model/layers.3.weight"}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in OPTIMIZERS for dtype in (torch.float32, torch.float64, torch.bfloat16)]
    + [(name, torch.float16) for name in OPTIMIZERS if "sgd" in name],  # where Adam's second moment is zero
    ids=str,
)
def test_what_an_optimizer_computes_takes_next_to_nothing(name: str, dtype: torch.dtype, opened: Opened) -> None:
    """After one step the weights follow from the moments, and the second moment from the first."""
    made = trained(OPTIMIZERS[name], dtype)
    (base, hyper), (state, _) = made[2], made[3]
    blob = opened(encode(state, base, hyper))
    found, layout = groups_of(blob), {s.name: s for s in layout_of(state)}
    assert decode(blob, base) == state
    follow = FOLLOW | {f"optimizer/{each}/exp_avg_sq" for each in FOLLOW if f"optimizer/{each}/exp_avg_sq" in state}
    for each in follow:
        group = found[each]
        raw = size_of(tuple(layout[other] for other in found if found[other] is group))
        assert group.model in ("rule", "same"), f"{each} is coded as {group.model}"
        assert sum(group.sizes) < (0.2 if "exp_avg_sq" in each or "fused" in name else 0.1) * raw + 100, each


@pytest.mark.parametrize("known", [True, False], ids=["settings_known", "settings_unknown"])
@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("name", ["sgd", "adamw", "adamw_two_rates"])
def test_every_state_comes_back_and_settings_only_help(name: str, k: int, known: bool, opened: Opened) -> None:
    for (base, hyper), (state, _) in pairwise([({}, {}), *trained(OPTIMIZERS[name], k=k)]):
        data = encode(state, base, hyper if known else delta.UNKNOWN)
        assert decode(opened(data), base) == state
        assert len(data) <= 1.02 * len(encode(state, base)) + 200


def test_states_that_are_not_numbers_come_back(opened: Opened) -> None:
    (base, hyper), (state, _) = trained(OPTIMIZERS["adamw"])[2:]
    broken = {}
    for name, array in state.items():
        words = np.frombuffer(array.data, np.uint8).copy()
        if array.dtype == "F32" and array.shape:
            words.view("<u4")[::3] = np.resize([0x7FC00000, 0x7F800001, 0xFF800000, 0x80000000, 1], words[::12].size)
        broken[name] = Array(array.dtype, array.shape, words.data)
    for one, other in ((broken, base), (state, broken), (broken, broken)):
        assert decode(opened(encode(one, other, hyper)), other) == one


@pytest.mark.parametrize(
    "settings", [{"lr": 1}, {"lr": None}, {"lr": True, "momentum": 0.9}, {"lr": 1e300}, {}], ids=str
)
@pytest.mark.parametrize("name", ["sgd", "sgd_nesterov", "adamw"])
def test_strange_settings_change_no_state(name: str, settings: dict[str, Any], opened: Opened) -> None:
    (base, _), (state, _) = trained(OPTIMIZERS[name])[2:]
    hyper = {f"optimizer/{group}/{key}": value for group in "01" for key, value in settings.items()}
    assert decode(opened(encode(state, base, hyper)), base) == state


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
@pytest.mark.parametrize("master", ["master/{}", "optimizer/model/{}/master"])
def test_a_narrow_copy_costs_nothing(master: str, dtype: str, opened: Opened) -> None:
    noise, states = np.random.default_rng(0), []
    for _ in range(2):
        wide = noise.normal(size=(300, 20)).astype("<f4")
        kind = torch.bfloat16 if dtype == "BF16" else torch.float16
        narrow = torch.from_numpy(wide).to(kind).view(torch.int16).numpy().tobytes()
        copies = {master.format("w"): Array("F32", wide.shape, wide.tobytes())}
        states.append({"model/w": Array(dtype, wide.shape, narrow), **copies})
    blob = opened(encode(states[1], states[0]))
    assert decode(blob, states[0]) == states[1]
    group = groups_of(blob)["model/w"]
    assert group.model == "rule" and sum(group.sizes) < 100
    assert decode(opened(encode(states[1], {})), {}) == states[1]


def test_coding_what_an_optimizer_computes_says_the_same_each_time() -> None:
    (base, hyper), (state, _) = trained(OPTIMIZERS["adamw_two_rates"], k=5)[2:]
    again = encode(dict(reversed(state.items())), dict(reversed(base.items())), dict(reversed(hyper.items())))
    assert len(again) == len(encode(state, base, hyper))
    assert encode(state, base, hyper) == encode(state, base, hyper)


def test_a_thread_that_flushes_subnormal_numbers_predicts_nothing(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base, hyper), (state, _) = trained(OPTIMIZERS["sgd"])[2:]
    predicted = encode(state, base, hyper)
    monkeypatch.setattr(plan, "keeps_subnormals", lambda: False)
    monkeypatch.setattr(delta, "keeps_subnormals", lambda: False)
    blob = opened(encode(state, base, hyper))
    assert {group.model for group in groups_of(blob).values()} & {"rule"} == set()
    assert decode(blob, base) == state
    with pytest.raises(PolError, match="set_flush_denormal"):
        decode(opened(predicted), base)
    assert keeps_subnormals()


def test_large_groups_are_cut(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    (base, hyper), (state, _) = trained(OPTIMIZERS["adamw"])[2:]
    monkeypatch.setattr(plan, "_LARGEST", 5000)
    blob = opened(encode(state, base, hyper))
    found = groups.read(blob)
    assert all(len(layout) == 1 or size_of(layout) <= 5000 for layout in found.layouts)
    assert len(found.groups) > 8 and decode(blob, base) == state


pieces = st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=6), min_size=1, max_size=6)


@given(found=pieces, start=st.integers(0, 40), stop=st.integers(0, 40), step=st.integers(1, 7))
def test_joined_pieces_are_as_one(found: list[list[int]], start: int, stop: int, step: int) -> None:
    joined = Joined([np.array(piece, "<u4") for piece in found])
    whole = [word for piece in found for word in piece]
    assert len(joined) == len(whole) and joined.nbytes == 4 * len(whole)
    assert joined[start:stop:step].tolist() == whole[start:stop:step] and joined[:].tolist() == whole


W = Array("F32", (4,), np.arange(4, dtype="<f4").tobytes())
LAYOUT = (spec_of("a/p/m", W),)


def predicted(state: State, names: tuple[tuple[str, str], ...], *steps: str) -> list[int]:
    prediction = Prediction.of(Rule(names, Formula(steps)), Surroundings(LAYOUT, state, state))
    assert (
        prediction[1:].tolist() == prediction[:].tolist()[1:]
        and prediction[::2].tolist() == prediction[:].tolist()[::2]
    )
    return prediction[:].view("<f4").tolist()


def test_names_are_what_stands_around_the_parameter() -> None:
    state = {"a/p/m": W, "p": Array("F32", (4,), np.full(4, 2, "<f4").tobytes()), "b/p": W}
    assert predicted(state, (("a/", "/m"), PLAIN), "old0", "old1", "*") == [0, 2, 4, 6]
    assert predicted(state, (("a/", "/m"), ("b/", "")), "new1") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "names",
    [
        (("b/", "/m"), PLAIN),
        (("a/", "/n"), PLAIN),
        (("a/p/m", "m"), PLAIN),
        (("a/", "/m"), ("c/", "")),
        (("a/", "/m"), ("short/", "")),
        (("a/", "/m"), ("integer/", "")),
        (("a/", "/m"), ("turned/", "")),
    ],
    ids=str,
)
def test_a_rule_that_does_not_fit_predicts_nothing(names: tuple[tuple[str, str], ...]) -> None:
    state = {"a/p/m": W, "p": W, "integer/p": Array("I32", (4,), W.data), "turned/p": Array("F32", (2, 2), W.data)}
    state["short/p"] = Array("F32", (3,), bytes(12))
    with pytest.raises(ValueError):
        predicted(state, names, "old1")


def test_a_rule_names_all_that_it_reads() -> None:
    for names in ((), (PLAIN,)):
        with pytest.raises(ValueError):
            Rule(names, Formula(("old1",)))


def test_every_flipped_bit_of_a_rule_is_refused_or_gives_another_state(opened: Opened, tmp_path: Path) -> None:
    small = {name: array for name, array in trained(OPTIMIZERS["sgd"])[3][0].items() if "layers.0" in name}
    base = {name: array for name, array in trained(OPTIMIZERS["sgd"])[2][0].items() if name in small}
    data = encode(small, base, {"optimizer/0/lr": 0.1})
    assert groups_of(opened(data))["model/layers.0.weight"].model == "rule"
    spare = 0
    for place in range(8 * 28, 8 * groups.read(opened(data)).start, 7):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        try:
            spare += decode(opened(bytes(changed)), base) == small
        except FormatError as error:
            assert error.reason in (Reason.CODING, Reason.FIELD, Reason.JSON, Reason.LIMIT)
    assert spare < 20
