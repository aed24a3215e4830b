"""List the training loops of the world: somebody's script each, for which `log.record(batch)` must be enough.

To add a loop, write a function under `@loop` that makes its parts and returns a Script of them. `UNDECLARED` are loops
that hide something from the trainer: none of them may replay.
"""

import copy
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler as schedulers
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset, TensorDataset

Batch: TypeAlias = Any
Parts: TypeAlias = dict[str, Any]

STEPS, RECORDS, INPUTS, CLASSES = 12, 8, 6, 3


def nothing() -> None:
    """Stand for a loop whose body is all that it does."""


def vectors() -> Iterator[Batch]:
    """Yield STEPS batches of vectors and their classes."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        x = torch.randn(RECORDS, INPUTS, generator=generator)
        yield x, x[:, :CLASSES].argmax(1)


def images() -> Iterator[Batch]:
    """Yield the same as tiny images."""
    return ((x.reshape(RECORDS, 1, 2, 3).expand(-1, 3, -1, -1), y) for x, y in vectors())


def words() -> Iterator[Batch]:
    """Yield the same as sentences of six words out of ten."""
    return (((x.abs() * 5).long() % 10, y) for x, y in vectors())


@dataclass(frozen=True)
class Script:
    """Hold a script: what its trainer is given, what its loop does with a batch, and where the batches come from.

    `rest` is the part of the loop's body that the judge has no need of: a scheduler, an evaluation. `step` is what the
    judge does with the batches of one update, if that is not the body for each of them.
    """

    parts: Parts
    body: Callable[[Batch], None]
    data: Callable[[], Iterable[Batch]] = vectors
    rest: Callable[[], None] = nothing
    step: Callable[[Iterable[Batch]], None] | None = None
    accumulate: int = 1
    device: str = "cpu"

    def train(self, record: Callable[[Batch], None], batches: Iterable[Batch]) -> None:
        """Train as the script does, with the one added line."""
        for batch in batches:
            record(batch)
            self.body(batch)
            self.rest()

    def update(self, batches: Iterable[Batch]) -> None:
        """Make one update as the judge does."""
        if self.step is not None:
            return self.step(batches)
        for batch in batches:
            self.body(batch)
        return None


@dataclass(frozen=True)
class Loop:
    """Name a script that is made afresh by prover and judge, under the same seed."""

    name: str
    make: Callable[[], Script]
    marks: tuple[pytest.MarkDecorator, ...] = field(default=())


CATALOGUE: dict[str, Loop] = {}
UNDECLARED: dict[str, Loop] = {}


def loop(make: Callable[[], Script]) -> Callable[[], Script]:
    """Put a script in the catalogue."""
    CATALOGUE[make.__name__] = Loop(make.__name__, make)
    return make


def slow(make: Callable[[], Script]) -> Callable[[], Script]:
    """Put a script in the catalogue that takes its time."""
    CATALOGUE[make.__name__] = Loop(make.__name__, make, (pytest.mark.slow,))
    return make


def undeclared(make: Callable[[], Script]) -> Callable[[], Script]:
    """Put a script among those that cannot be replayed."""
    UNDECLARED[make.__name__] = Loop(make.__name__, make)
    return make


# What most scripts have in common.


def mlp(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), *middle, nn.Linear(8, CLASSES))


def classify(model: nn.Module, *optimizers: torch.optim.Optimizer) -> Callable[[Batch], None]:
    """Return the body of the most common loop."""

    def body(batch: Batch) -> None:
        x, y = batch
        for optimizer in optimizers:
            optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        for optimizer in optimizers:
            optimizer.step()

    return body


def plain(model: nn.Module, optimizer: torch.optim.Optimizer, **more: Any) -> Script:
    """Return the script that has nothing but a model and an optimizer."""
    return Script({"model": model, "optimizer": optimizer}, classify(model, optimizer), **more)


def sgd(model: nn.Module, **settings: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), **{"lr": 0.1, "momentum": 0.9, **settings})


def adamw(model: nn.Module, **settings: Any) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), **{"lr": 1e-2, **settings})


# Optimizers of torch.


@loop
def sgd_with_dropout_and_batch_norm() -> Script:
    model = mlp(nn.BatchNorm1d(8), nn.Dropout(0.3))
    return plain(model, sgd(model, weight_decay=1e-3))


@loop
def sgd_with_dampening() -> Script:
    model = mlp()
    return plain(model, sgd(model, dampening=0.5))


@loop
def sgd_nesterov() -> Script:
    model = mlp()
    return plain(model, sgd(model, nesterov=True))


@loop
def adamw_plain() -> Script:
    model = mlp(nn.Dropout(0.1))
    return plain(model, adamw(model))


@loop
def adamw_fused() -> Script:
    model = mlp()
    return plain(model, adamw(model, fused=True))


@loop
def adamw_foreach_amsgrad() -> Script:
    model = mlp()
    return plain(model, adamw(model, foreach=True, amsgrad=True))


@loop
def adam_with_tensor_settings() -> Script:
    model = mlp()
    betas = torch.tensor(0.8), torch.tensor(0.9)
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(1e-2), betas=betas)
    scheduler = schedulers.ExponentialLR(optimizer, 0.9)
    return plain(model, optimizer, rest=scheduler.step)


@loop
def adam_capturable() -> Script:
    if not torch.cuda.is_available():
        pytest.skip("torch refuses capturable optimizers on the CPU")
    model = mlp().cuda()
    body = classify(model, optimizer := adamw(model, lr=torch.tensor(1e-2, device="cuda"), capturable=True))
    parts = {"model": model, "optimizer": optimizer}
    return Script(parts, lambda batch: body([part.cuda() for part in batch]), device="cuda")


@loop
def rmsprop() -> Script:
    model = mlp()
    return plain(model, torch.optim.RMSprop(model.parameters(), lr=1e-2, centered=True, momentum=0.5))


def of_torch(name: str, **settings: Any) -> None:
    """Put the plainest script with one of torch's optimizers in the catalogue."""

    def make() -> Script:
        model = mlp()
        return plain(model, getattr(torch.optim, name)(model.parameters(), **settings))

    CATALOGUE[name.lower()] = Loop(name.lower(), make)


of_torch("Adadelta")
of_torch("Adafactor", lr=1e-2)
of_torch("Adagrad", lr=1e-2)
of_torch("Adamax")
of_torch("ASGD", lr=0.1, t0=3, lambd=1e-2)
of_torch("NAdam", decoupled_weight_decay=True)
of_torch("RAdam", lr=1e-2)
of_torch("Rprop", lr=1e-2)


@loop
def muon_and_adamw() -> Script:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    model = mlp()
    muon = torch.optim.Muon([p for p in model.parameters() if p.ndim == 2], lr=1e-2)
    other = torch.optim.AdamW([p for p in model.parameters() if p.ndim != 2], lr=1e-2)
    return Script({"model": model, "muon": muon, "adamw": other}, classify(model, muon, other))


def lbfgs_with(**settings: Any) -> Script:
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=3, history_size=3, **settings)

    def body(batch: Batch) -> None:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch[0]), batch[1])
            loss.backward()
            return loss

        optimizer.step(closure)

    return Script({"model": model, "optimizer": optimizer}, body)


@loop
def lbfgs() -> Script:
    return lbfgs_with()


@loop
def lbfgs_with_line_search() -> Script:
    return lbfgs_with(line_search_fn="strong_wolfe")


@loop
def sparse_adam() -> Script:
    model = nn.Sequential(nn.Embedding(10, CLASSES, sparse=True), nn.Flatten(), nn.Unflatten(1, (INPUTS, CLASSES)))
    optimizer = torch.optim.SparseAdam(model.parameters(), lr=1e-2)

    def body(batch: Batch) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]).mean(1), batch[1]).backward()
        optimizer.step()

    return Script({"model": model, "optimizer": optimizer}, body, words)


@loop
def groups_with_settings_of_their_own() -> Script:
    model = mlp()
    groups = [
        {"params": model[0].parameters(), "lr": 0.05, "name": "backbone"},
        {"params": model[2].parameters(), "weight_decay": 1e-2, "name": "head"},
    ]
    return plain(model, torch.optim.SGD(groups, lr=0.1, momentum=0.9))


# Optimizers that people write.


class MasterCopy(torch.optim.Optimizer):
    """Trains bfloat16 weights through float32 copies, and counts steps in the group, once there are any (apex)."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.99)})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            for parameter in group["params"]:
                self.update(parameter, self.state[parameter], group)

    def update(self, parameter: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        if not state:
            state["master"] = parameter.float()
            state["average"] = torch.zeros_like(state["master"])
        state["average"].lerp_(parameter.grad.float(), 1 - group["betas"][0])
        correction = 1 - group["betas"][0] ** group["step"]
        state["master"].sub_(state["average"] / correction, alpha=group["lr"])
        parameter.copy_(state["master"])


@loop
def bfloat16_with_float32_master() -> Script:
    model = mlp().bfloat16()
    body = classify(model, optimizer := MasterCopy(model.parameters(), lr=1e-3))
    return Script({"model": model, "optimizer": optimizer}, lambda batch: body((batch[0].bfloat16(), batch[1])))


class ScheduleFree(torch.optim.Optimizer):
    """Averages iterates with weights that it keeps in the group (Defazio et al. 2024)."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr, "beta": 0.9, "k": 0, "weight_sum": torch.zeros(()), "lr_max": -1.0})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["k"] += 1
            group["lr_max"] = max(group["lr"] * min(1, group["k"] / 5), group["lr_max"])
            group["weight_sum"] = group["weight_sum"] + group["lr_max"] ** 2
            share = group["lr_max"] ** 2 / group["weight_sum"]
            for parameter in group["params"]:
                z = self.state[parameter].setdefault("z", parameter.clone())
                parameter.lerp_(z, share.item()).sub_(parameter.grad, alpha=group["lr_max"] * (1 - group["beta"]))
                z.sub_(parameter.grad, alpha=group["lr_max"])


@loop
def schedule_free() -> Script:
    model = mlp()
    return plain(model, ScheduleFree(model.parameters(), lr=0.1))


class BestDirection(torch.optim.Optimizer):
    """Adds the steepest gradient so far, which often is the very tensor that is the latest one."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            state["latest"] = parameter.grad.clone()
            if state.get("best", state["latest"]).norm() <= state["latest"].norm():
                state["best"] = state["latest"]
            state.setdefault("history", {"norms": []})["norms"].append(state["latest"].norm())
            parameter.sub_(state["latest"] + state["best"], alpha=self.param_groups[0]["lr"])


@loop
def optimizer_state_that_shares_memory() -> Script:
    model = mlp()
    return plain(model, BestDirection(model.parameters(), lr=0.01))


class Sharpness(torch.optim.Optimizer):
    """Steps from the worst point nearby, through another optimizer over the same groups (SAM)."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr, "rho": 0.05})
        self.inner = torch.optim.SGD(self.param_groups, lr=lr, momentum=0.9)
        self.param_groups = self.inner.param_groups

    @torch.no_grad()
    def ascend(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["old"] = parameter.clone()
                parameter.add_(parameter.grad, alpha=group["rho"])
        self.zero_grad()

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.copy_(self.state[parameter]["old"])
        self.inner.step()
        self.zero_grad()


@loop
def sharpness_aware() -> Script:
    model = mlp()
    optimizer = Sharpness(model.parameters(), lr=0.1)

    def body(batch: Batch) -> None:
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.ascend()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    return Script({"model": model, "optimizer": optimizer, "inner": optimizer.inner}, body)


# Models.


class Complex(nn.Module):
    """Classifies by the absolute values of a complex product."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(INPUTS, CLASSES, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(torch.complex64) @ self.weight).abs()


@loop
def complex_parameters() -> Script:
    model = Complex()
    return plain(model, torch.optim.Adam(model.parameters(), lr=1e-2))


@loop
def batches_that_are_conjugate_views() -> Script:
    model = Complex()
    body = classify(model, optimizer := torch.optim.Adam(model.parameters(), lr=1e-2))

    def data() -> Iterator[Batch]:
        for x, y in vectors():
            z = torch.complex(x, x.flip(1)).conj()
            yield z, z.imag, y

    parts = {"model": model, "optimizer": optimizer}
    return Script(parts, lambda batch: body((batch[0] * batch[1], batch[2])), data)


class Centred(nn.Module):
    """Subtracts a running mean, which it does not save."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(INPUTS), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.mean.lerp_(x.mean(0), 0.1)
        return x - self.mean


@loop
def non_persistent_buffer() -> Script:
    model = nn.Sequential(Centred(), mlp())
    return plain(model, sgd(model))


class LateCentred(nn.Module):
    """Makes its running mean from the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", None)

    def forward(self, x: Tensor) -> Tensor:
        self.mean = x.mean(0) if self.mean is None else self.mean.lerp(x.mean(0), 0.1)
        return x - self.mean


@loop
def buffer_that_appears() -> Script:
    model = nn.Sequential(LateCentred(), mlp())
    return plain(model, sgd(model))


class Masked(nn.Module):
    """Multiplies by a mask that is one row, seen eight times."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([1.0, 1, 1, 1, 0, 1]).expand(RECORDS, INPUTS))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


@loop
def expanded_buffer() -> Script:
    model = nn.Sequential(Masked(), mlp())
    return plain(model, sgd(model))


class Tied(nn.Module):
    """Reads and writes words through one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Embedding(10, 4)
        self.decoder = nn.Linear(4, 10, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x).mean(1))


@loop
def tied_weights() -> Script:
    model = Tied()
    return plain(model, adamw(model), data=words)


@loop
def frozen_parameters() -> Script:
    model = mlp(nn.BatchNorm1d(8))
    model[0].requires_grad_(False)
    return plain(model, torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2))


@loop
def channels_last() -> Script:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(24, CLASSES))
    model = model.to(memory_format=torch.channels_last)
    body = classify(model, optimizer := sgd(model))
    parts = {"model": model, "optimizer": optimizer}
    return Script(parts, lambda b: body((b[0].contiguous(memory_format=torch.channels_last), b[1])), images)


@loop
def spectral_and_weight_norm() -> Script:
    norms = nn.utils.parametrizations
    model = mlp(norms.spectral_norm(nn.Linear(8, 8)), norms.weight_norm(nn.Linear(8, 8)))
    return plain(model, sgd(model))


@loop
def distillation_from_a_teacher() -> Script:
    teacher, model = mlp().eval().requires_grad_(False), mlp()
    optimizer = sgd(model)

    def body(batch: Batch) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), teacher(batch[0]).softmax(1)).backward()
        optimizer.step()

    return Script({"model": model, "teacher": teacher, "optimizer": optimizer}, body)


@loop
def two_players() -> Script:
    made, judged = nn.Linear(4, INPUTS), nn.Sequential(nn.Linear(INPUTS, 4), nn.Dropout(0.2), nn.Linear(4, 1))
    of_made, of_judged = adamw(made), adamw(judged)

    def body(batch: Batch) -> None:
        of_judged.zero_grad()
        fake = made(torch.randn(RECORDS, 4))
        (F.softplus(judged(fake.detach())) + F.softplus(-judged(batch[0]))).mean().backward()
        of_judged.step()
        of_made.zero_grad()
        F.softplus(-judged(fake)).mean().backward()
        of_made.step()

    parts = {"generator": made, "discriminator": judged, "first": of_made, "second": of_judged}
    return Script(parts, body)


@loop
def two_heads_on_one_body() -> Script:
    body = nn.Linear(INPUTS, 8)
    actor, critic = nn.Sequential(body, nn.Linear(8, CLASSES)), nn.Sequential(body, nn.Linear(8, 1))
    optimizer = torch.optim.RMSprop([*actor.parameters(), *critic[1].parameters()], lr=1e-2)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        value = critic(batch[0]).squeeze(1)
        chosen = F.log_softmax(actor(batch[0]), 1).gather(1, batch[1][:, None]).squeeze(1)
        (value.square() - chosen * value.detach()).mean().backward()
        optimizer.step()

    return Script({"actor": actor, "critic": critic, "optimizer": optimizer}, step)


class Memory:
    """Carries the hidden state of a recurrent network from batch to batch."""

    def __init__(self) -> None:
        self.hidden: Tensor | None = None

    def state_dict(self) -> Parts:
        return {"hidden": self.hidden}

    def load_state_dict(self, state: Parts) -> None:
        self.hidden = state["hidden"]


@loop
def recurrent_with_carried_state() -> Script:
    model, head, memory = nn.GRU(1, 4, batch_first=True), nn.Linear(4, CLASSES), Memory()
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.1)

    def body(batch: Batch) -> None:
        optimizer.zero_grad()
        out, hidden = model(batch[0][..., None], memory.hidden)
        memory.hidden = hidden.detach()
        F.cross_entropy(head(out[:, -1]), batch[1]).backward()
        optimizer.step()

    return Script({"model": model, "head": head, "optimizer": optimizer, "memory": memory}, body)


def compiled_by(backend: str) -> Script:
    model = mlp(nn.Dropout(0.2))
    return plain(torch.compile(model, backend=backend), sgd(model))


@loop
def compiled_without_code() -> Script:
    return compiled_by("aot_eager")


@slow
def compiled() -> Script:
    from torch._inductor import cpp_builder

    try:
        cpp_builder.get_cpp_compiler()
    except Exception as error:
        pytest.skip(f"no C++ compiler: {error}")
    return compiled_by("inductor")


# Precision, averages, accumulation.


@loop
def grad_scaler_with_overflow() -> Script:
    model = mlp()
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)

    def body(batch: Batch) -> None:
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(batch[0]), batch[1])).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    def data() -> Iterator[Batch]:
        return ((x * 1e38 if step in (2, 5) else x, y) for step, (x, y) in enumerate(vectors()))

    return Script({"model": model, "optimizer": optimizer, "scaler": scaler}, body, data)


@loop
def autocast() -> Script:
    model = mlp(nn.Dropout(0.2))
    optimizer = adamw(model)

    def body(batch: Batch) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()

    return Script({"model": model, "optimizer": optimizer}, body)


@loop
def averaged_model() -> Script:
    model = mlp(nn.BatchNorm1d(8))
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    body = classify(model, optimizer := sgd(model))

    def averaged(batch: Batch) -> None:
        body(batch)
        ema.update_parameters(model)

    return Script({"model": model, "optimizer": optimizer, "ema": ema}, averaged)


class Average:
    """Averages weights in a plain dict, and starts late."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.shadow, self.best, self.steps = model, {}, float("inf"), 0

    @torch.no_grad()
    def update(self, loss: float) -> None:
        self.steps, self.best = self.steps + 1, min(self.best, loss)
        if self.steps > 2:
            for name, parameter in self.model.named_parameters():
                self.shadow.setdefault(name, parameter.clone()).lerp_(parameter, 0.1)

    def state_dict(self) -> Parts:
        return {"shadow": self.shadow, "best": self.best, "steps": self.steps, "notes": ["ema", "", (1, True, None)]}

    def load_state_dict(self, state: Parts) -> None:
        self.shadow, self.best, self.steps = state["shadow"], state["best"], state["steps"]
        assert state["notes"] == ["ema", "", (1, True, None)]


@loop
def average_in_a_dict() -> Script:
    model = mlp()
    optimizer, ema = sgd(model), Average(model)

    def body(batch: Batch) -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        ema.update(loss.item())

    return Script({"model": model, "optimizer": optimizer, "ema": ema}, body)


@loop
def accumulation() -> Script:
    model = mlp(nn.BatchNorm1d(8), nn.Dropout(0.2))
    optimizer = sgd(model)
    done = 0

    def body(batch: Batch) -> None:
        nonlocal done
        (F.cross_entropy(model(batch[0]), batch[1]) / 2).backward()
        done += 1
        if done % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()

    def step(batches: Iterable[Batch]) -> None:
        for batch in batches:
            (F.cross_entropy(model(batch[0]), batch[1]) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()

    return Script({"model": model, "optimizer": optimizer}, body, step=step, accumulate=2)


# Schedules.


@loop
def one_cycle() -> Script:
    model = mlp()
    optimizer = adamw(model)
    return plain(model, optimizer, rest=schedulers.OneCycleLR(optimizer, 0.1, total_steps=STEPS + 1).step)


@loop
def step_lr() -> Script:
    model = mlp()
    optimizer = sgd(model)
    return plain(model, optimizer, rest=schedulers.StepLR(optimizer, 5, 0.1).step)


@loop
def cosine() -> Script:
    model = mlp()
    optimizer = sgd(model)
    return plain(model, optimizer, rest=schedulers.CosineAnnealingLR(optimizer, STEPS).step)


@loop
def warm_up_then_cosine() -> Script:
    model = mlp()
    optimizer = sgd(model)
    parts = [schedulers.LinearLR(optimizer, 0.1, total_iters=3), schedulers.CosineAnnealingWarmRestarts(optimizer, 4)]
    return plain(model, optimizer, rest=schedulers.SequentialLR(optimizer, parts, [3]).step)


@loop
def cyclic_momentum() -> Script:
    model = mlp()
    optimizer = sgd(model)
    return plain(model, optimizer, rest=schedulers.CyclicLR(optimizer, 1e-3, 0.1, step_size_up=3).step)


@loop
def reduce_on_plateau() -> Script:
    model = mlp()
    optimizer = sgd(model)
    scheduler = schedulers.ReduceLROnPlateau(optimizer, patience=1, cooldown=1)
    return plain(model, optimizer, rest=lambda: scheduler.step(1.0))


@loop
def settings_by_hand() -> Script:
    model = mlp()
    optimizer = sgd(model)

    def rest() -> None:
        for group in optimizer.param_groups:
            group["lr"] = np.float64(group["lr"]) * np.float64(0.9)
            group["weight_decay"] += 1e-3

    return plain(model, optimizer, rest=rest)


# Randomness.


@loop
def evaluation_that_draws() -> Script:
    model = mlp(nn.Dropout(0.5))

    @torch.no_grad()
    def evaluate() -> None:
        model.eval()
        model(torch.randn(random.randrange(5, 9), INPUTS) * float(np.random.rand()))
        model.train()

    return plain(model, sgd(model), rest=evaluate)


@loop
def augmentation_in_the_step() -> Script:
    model = mlp()
    body = classify(model, optimizer := sgd(model))

    def augmented(batch: Batch) -> None:
        flip = torch.rand(RECORDS, 1) < 0.5
        body((torch.where(flip, batch[0].flip(1), batch[0]) + 0.1 * torch.randn(RECORDS, INPUTS), batch[1]))

    return Script({"model": model, "optimizer": optimizer}, augmented)


@loop
def random_of_python_and_numpy() -> Script:
    model = mlp()
    body = classify(model, optimizer := sgd(model))

    def mixed(batch: Batch) -> None:
        share, order = np.random.beta(0.4, 0.4), random.sample(range(RECORDS), RECORDS)
        body((batch[0].lerp(batch[0][order], share), batch[1]))

    return Script({"model": model, "optimizer": optimizer}, mixed)


class Augmented(Dataset[Batch]):
    """Gives records with noise, of a kind of each generator there is."""

    def __init__(self) -> None:
        xs, ys = zip(*vectors(), strict=True)
        self.x, self.y = torch.cat(xs), torch.cat(ys)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Batch:
        noise = torch.randn(INPUTS) + random.random() + np.random.rand()
        return self.x[index] + 0.1 * noise.float(), self.y[index]


def shuffled(workers: int) -> Iterator[Batch]:
    """Yield two epochs of a shuffling loader, the last batch of each with fewer records."""
    loader = DataLoader(Augmented(), batch_size=18, shuffle=True, num_workers=workers)
    for _ in range(2):
        yield from loader


@loop
def augmentation_in_the_loader() -> Script:
    model = mlp(nn.Dropout(0.2))
    return plain(model, sgd(model), data=lambda: shuffled(workers=0))


@loop
def augmentation_in_workers() -> Script:
    model = mlp(nn.Dropout(0.2))
    return plain(model, sgd(model), data=lambda: shuffled(workers=2))


# Batches.


@loop
def batches_normalised_in_place() -> Script:
    model = mlp()
    body = classify(model, optimizer := sgd(model))

    def normalised(batch: Batch) -> None:
        batch[0].sub_(batch[0].mean(0)).div_(batch[0].std(0))
        body(batch)

    return Script({"model": model, "optimizer": optimizer}, normalised)


@loop
def nested_batches() -> Script:
    model = mlp()
    optimizer = sgd(model)

    def body(batch: Batch) -> None:
        x = batch["inputs"]["x"][0] * batch["temperature"]
        length = torch.tensor([len(text) for text in batch["inputs"]["text"]])[:, None]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x + length), batch["label"], reduction="none")
        (loss @ torch.tensor(batch["weight"])).backward()
        optimizer.step()

    def data() -> Iterator[Batch]:
        for step, (x, y) in enumerate(vectors()):
            text = ["ä" * int(label) for label in y]
            more = {"split": "train" if step % 2 else "extra", "mask": None, "temperature": 1 / (1 + step)}
            inputs = {"x": (x, torch.arange(3)), "text": text}
            yield {**more, "inputs": inputs, "label": y, "weight": [0.1] * RECORDS, "flags": {"hard": step > 3}}

    return Script({"model": model, "optimizer": optimizer}, body, data)


@loop
def ragged_last_batch() -> Script:
    model = mlp()
    x, y = (torch.cat(parts)[:75] for parts in zip(*vectors(), strict=True))
    return plain(model, sgd(model), data=lambda: DataLoader(TensorDataset(x, y), batch_size=RECORDS))


@loop
def numpy_batches() -> Script:
    model = mlp()
    body = classify(model, optimizer := sgd(model))

    def data() -> Iterator[Batch]:
        for x, y in vectors():
            backwards = x.numpy().astype(">f8")[::-1]
            backwards.flags.writeable = False
            yield {"x": backwards, "y": y.numpy().astype(np.uint8), "scale": np.float32(0.5)}

    def converted(batch: Batch) -> None:
        x = torch.from_numpy(batch["x"].astype(np.float32) * batch["scale"])
        body((x, torch.from_numpy(batch["y"]).long()))

    return Script({"model": model, "optimizer": optimizer}, converted, data)


@loop
def someone_elses_transformer() -> Script:
    """Be the script of issue trackers: transformer, AdamW, clipping, cosine, evaluation, a loader with workers."""
    embedding, head = nn.Embedding(10, 8), nn.Linear(8, CLASSES)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True), 2)
    model = nn.Sequential(embedding, encoder, head)
    decayed = {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1}
    others = {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([decayed, others], lr=3e-3, betas=(0.9, 0.95))
    scheduler = schedulers.CosineAnnealingLR(optimizer, STEPS, eta_min=1e-4)
    x, y = (torch.cat(parts) for parts in zip(*words(), strict=True))
    losses: list[float] = []

    def body(batch: Batch) -> None:
        model.train()
        loss = F.cross_entropy(model(batch[0]).mean(1), batch[1], label_smoothing=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()

    @torch.no_grad()
    def rest() -> None:
        scheduler.step()
        model.eval()
        chosen = torch.randperm(len(x))[:RECORDS]
        losses.append(F.cross_entropy(model(x[chosen]).mean(1), y[chosen]).item())

    def data() -> Iterator[Batch]:
        loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True, num_workers=2, drop_last=True)
        for _epoch in range(2):
            yield from loader

    return Script({"model": model, "optimizer": optimizer}, body, data, rest)


# Loops that hide something: what they hide would have to be given to the trainer.


class Warming(nn.Module):
    """Grows stronger with every call, and counts the calls in an attribute that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * (1 - 0.5**self.calls)


@undeclared
def counter_in_an_attribute() -> Script:
    model = nn.Sequential(Warming(), mlp())
    return plain(model, sgd(model))


@undeclared
def generator_of_its_own() -> Script:
    model, generator = mlp(), np.random.default_rng(0)
    body = classify(model, optimizer := sgd(model))
    parts = {"model": model, "optimizer": optimizer}
    return Script(parts, lambda batch: body((batch[0] * generator.random(), batch[1])))


@undeclared
def average_that_is_not_given() -> Script:
    model = mlp()
    optimizer, average = sgd(model), copy.deepcopy(model)

    def body(batch: Batch) -> None:
        optimizer.zero_grad()
        F.mse_loss(model(batch[0]), average(batch[0]).detach() + 1).backward()
        optimizer.step()
        for slow_one, parameter in zip(average.parameters(), model.parameters(), strict=True):
            slow_one.data.lerp_(parameter.data, 0.1)

    return Script({"model": model, "optimizer": optimizer}, body)


@undeclared
def gradients_kept_between_steps() -> Script:
    model = mlp()
    optimizer = sgd(model)

    def body(batch: Batch) -> None:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(0.5)
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    return Script({"model": model, "optimizer": optimizer}, body)
