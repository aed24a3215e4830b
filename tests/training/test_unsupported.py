"""Give the trainer and the writer what they cannot record: one TypeError each, which names the culprit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, NAdam, lr_scheduler

from polarchive.errors import TrainerError
from polarchive.training.batches import to_batch
from polarchive.training.trainer import TorchTrainer
from tests.loops import INPUTS, classify, mlp, sgd, vectors


class Holder(nn.Module):
    """Holds a linear layer, and tensors as buffers of the given names."""

    def __init__(self, **buffers: Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(INPUTS, 3)
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor)


class Counting(nn.Module):
    """Keeps a number outside of its tensors, the way torch provides for it."""

    def get_extra_state(self) -> int:
        return 3


class Twin(nn.Module):
    """Has a child that is called what wrappers call what they wrap."""

    def __init__(self) -> None:
        super().__init__()
        self.module, self.weight = nn.Linear(2, 2), nn.Parameter(torch.ones(2))


class Growing(nn.Module):
    """Keeps all that it has ever seen."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(0, INPUTS))

    def forward(self, x: Tensor) -> Tensor:
        self.seen = torch.cat([self.seen, x])
        return x


class Keeping:
    """Has a state dict that holds one value."""

    def __init__(self, value: object, name: Any = "value") -> None:
        self.state = {name: value}

    def state_dict(self) -> dict[Any, object]:
        return self.state

    def load_state_dict(self, state: dict[Any, object]) -> None:
        self.state = state


class GlobalCount(SGD):
    """Counts its steps under a name that is no parameter."""

    def step(self, closure: Any = None) -> Any:
        self.state["steps"] = {"count": 1}
        return super().step(closure)


def save(**parts: Any) -> dict[str, Tensor]:
    return TorchTrainer(**parts).save()


def quantized() -> Tensor:
    if not hasattr(torch, "quantize_per_tensor"):
        pytest.skip("this torch has no quantized tensors")
    return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


def of_another_model() -> None:
    save(model=mlp(), optimizer=sgd(mlp()))


def given_a_scheduler() -> None:
    model = mlp()
    save(model=model, optimizer=(optimizer := sgd(model)), scheduler=lr_scheduler.StepLR(optimizer, 2))


def named_with_a_slash() -> None:
    model = nn.Module()
    model.add_module("block/0", nn.Linear(2, 2))
    save(model=model)


def stepped_with_a_global_count() -> None:
    model = mlp()
    classify(model, optimizer := GlobalCount(model.parameters(), lr=0.1))(next(vectors()))
    save(model=model, optimizer=optimizer)


def grouped_by_a_function() -> None:
    model = mlp()
    save(model=model, optimizer=SGD([{"params": model.parameters(), "schedule": lambda step: 0.1}], lr=0.1))


def extended_after_the_start() -> None:
    model, late = mlp(), mlp()
    trainer = TorchTrainer(model=model, optimizer=(optimizer := sgd(model)))
    optimizer.add_param_group({"params": late.parameters()})
    classify(late, optimizer)(next(vectors()))
    trainer.save()


STATES: dict[str, tuple[str, Callable[[], object]]] = {
    "quantized tensor": ("model/scale: a quantized tensor", lambda: save(model=Holder(scale=quantized()))),
    "meta tensor": ("model/weight: a meta tensor", lambda: save(model=nn.Linear(2, 2, device="meta"))),
    "sparse tensor": ("model/graph: .*sparse", lambda: save(model=Holder(graph=torch.eye(3).to_sparse()))),
    "complex128": ("model/z: dtype torch.complex128", lambda: save(model=Holder(z=torch.ones(2).cdouble()))),
    "lazy layer": ("model/weight: has no value", lambda: save(model=nn.LazyLinear(3))),
    "extra state": (r"model/1: extra state", lambda: save(model=nn.Sequential(nn.ReLU(), Counting()))),
    "one name for two": ("model/weight: two tensors", lambda: save(model=Twin())),
    "slash in a name": ("block/0", named_with_a_slash),
    "name beyond ASCII": ("größe", lambda: save(model=Holder(größe=torch.ones(2)))),
    "parameter of no part": (r"optimizer: parameter 0 of group 0, of shape \(8, 6\)", of_another_model),
    "group of no part, added late": (r"optimizer: .*shape \(8, 6\)", extended_after_the_start),
    "scheduler as a part": ("scheduler: ", given_a_scheduler),
    "part without state": ("generator: a Generator", lambda: save(generator=torch.Generator())),
    "state under no parameter": ("optimizer: .*'steps'", stepped_with_a_global_count),
    "function in a group": ("optimizer/#0/schedule: a function", grouped_by_a_function),
    "array in a state dict": ("ema/value: a ndarray", lambda: save(ema=Keeping(np.ones(2)))),
    "integer beyond 64 bits": ("ema/value: a int", lambda: save(ema=Keeping(1 << 64))),
    "colon in a key": ("ema: the key 'a:b'", lambda: save(ema=Keeping(1, "a:b"))),
    "key that is a number": ("ema: the key 0", lambda: save(ema=Keeping(1, 0))),
}

BATCHES: dict[str, tuple[str, object]] = {
    "object": ("batch field meta: a value of type object", {"x": torch.ones(2), "meta": object()}),
    "object alone": ("batch field batch: a value of type object", object()),
    "set": (r"batch field 1: a value of type set", (torch.ones(2), {1, 2})),
    "array of strings": ("batch field name: a value of type ndarray <U1", {"name": np.array(["a", "b"])}),
    "array of objects": ("batch field x: a value of type ndarray object", {"x": np.array([None, "b"])}),
    "integer beyond 64 bits": ("batch field id: a value of type int", {"id": 1 << 70}),
    "strings for no record": ("batch field classes: 2 strings", {"x": torch.ones(3), "classes": ["a", "b"]}),
    "complex128": ("x: dtype torch.complex128", {"x": np.ones(2, np.complex128)}),
    "sparse tensor": ("x: .*sparse", {"x": torch.eye(2).to_sparse()}),
    "meta tensor": ("x: a meta tensor", {"x": torch.ones(2, device="meta")}),
    "one name for two": ("batch field 'a.b'", {"a.b": torch.ones(2), "a": {"b": torch.zeros(2)}}),
    "name beyond ASCII": ("batch field 'größe'", {"größe": torch.ones(2)}),
}


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
@pytest.mark.parametrize(("message", "make"), STATES.values(), ids=STATES)
def test_state_that_cannot_be_recorded_is_named(message: str, make: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(("message", "batch"), BATCHES.values(), ids=BATCHES)
def test_a_batch_that_cannot_be_recorded_names_the_field(message: str, batch: object) -> None:
    with pytest.raises(TypeError, match=message):
        to_batch(batch)


# What is fine to record and cannot be taken back is refused when it is loaded.


def test_a_buffer_that_grew_is_named() -> None:
    model = nn.Sequential(Growing(), mlp())
    trainer = TorchTrainer(model=model, optimizer=(optimizer := sgd(model)))
    before = trainer.save()
    classify(model, optimizer)(next(vectors()))
    with pytest.raises(TrainerError, match=r"model/0\.seen"):
        trainer.load(before)


def test_a_group_that_the_trainer_lacks_is_named() -> None:
    model, head = nn.Linear(INPUTS, 4), nn.Linear(4, 3)
    longer = NAdam([{"params": model.parameters()}, {"params": head.parameters()}])
    state = save(model=model, head=head, optimizer=longer)
    shorter = TorchTrainer(model=model, head=head, optimizer=NAdam(model.parameters()))
    with pytest.raises(TrainerError, match=r"#1"):
        shorter.load(state)
    with pytest.raises(TrainerError, match=r"optimizer/1/"):
        shorter.impose(TorchTrainer(model=model, head=head, optimizer=longer).hyper())


@pytest.mark.parametrize("hostile", ["optimizer/#0/params:none", "optimizer/#0/lr:float", "optimizer/#0/foreach:bool"])
def test_a_state_cannot_reach_into_the_settings(hostile: str) -> None:
    model = mlp()
    trainer = TorchTrainer(model=model, optimizer=sgd(model))
    with pytest.raises(TrainerError, match=r"group #0"):
        trainer.load({**trainer.save(), hostile: torch.tensor(0)})


@pytest.mark.parametrize(
    "hostile",
    {
        "name that is a tensor and holds others": {"ema/value": torch.ones(1), "ema/value/0": torch.ones(1)},
        "list without its items": {"ema/value:list": torch.tensor(2)},
        "list longer than memory": {"ema/value:list": torch.tensor(1 << 62)},
        "text that is none": {"ema/value:str": torch.tensor([255, 254], dtype=torch.uint8)},
        "number of many elements": {"ema/value:int": torch.ones(2)},
        "part that nobody gave": {"teacher/weight": torch.ones(2)},
        "parameter that is not there": {"model/weight": torch.ones(2)},
    }.items(),
    ids=lambda item: item[0],
)
def test_a_strangers_state_is_refused_and_not_an_error(hostile: tuple[str, dict[str, Tensor]]) -> None:
    trainer = TorchTrainer(model=mlp(), ema=Keeping(1))
    state = {name: tensor for name, tensor in trainer.save().items() if name.startswith("model/")}
    with pytest.raises(TrainerError):
        trainer.load({**state, **hostile[1]})
