"""Small networks of many kinds with their symmetries, and disguises: random symmetries applied to one."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from polarchive.measures.symmetry import (
    Axis,
    Group,
    State,
    absorbed,
    apply,
    consumed,
    normalised,
    produced,
    sequential,
)


@dataclass(frozen=True)
class Network:
    """Hold how a network is made, what may be done to it, and an input for it."""

    make: Callable[[], nn.Module]
    groups: list[Group]
    shape: tuple[int, ...]

    def state(self, seed: int) -> State:
        return state_of(self.made(seed))

    def made(self, seed: int) -> nn.Module:
        """Make the network in float64, nothing in it constant, its norms without the epsilon that breaks scales."""
        torch.manual_seed(seed)
        module = self.make().double().eval()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eps = 0.0
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif tensor.is_floating_point() and tensor.unique().numel() == 1:
                tensor.normal_()
        return module

    def output(self, state: State) -> Tensor:
        module = self.made(0)
        module.load_state_dict({name.partition("/")[2]: tensor for name, tensor in state.items()})
        inputs = torch.randn(self.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        result: Tensor = module(inputs)
        return result.detach()


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(5, 12, batch_first=True)
        self.linear = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.linear(self.rnn(x)[0])
        return result


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(24, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return result


def state_of(module: nn.Module) -> State:
    return {f"model/{name}": tensor.detach().clone() for name, tensor in module.state_dict().items()}


def disguise(state: State, groups: list[Group], seed: int) -> State:
    """Apply every symmetry of the groups, by draws from a seed."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(group.units(state), generator=generator) if group.permuted else None for group in groups]
    return apply(state, groups, orders, [draw_scales(group, state, generator) for group in groups])


def draw_scales(group: Group, state: State, generator: torch.Generator) -> Tensor | None:
    if not any(axis.power for axis in group.axes):
        return None
    drawn = torch.rand(group.units(state), generator=generator, dtype=torch.float64)
    return torch.where(drawn < 0.5, -1.0, 1.0).double() if group.signed else 0.2 + 5 * drawn


def relu_row() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))


def without_biases() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 9, 3, bias=False), nn.ReLU(), nn.Conv2d(9, 3, 3, bias=False))


def flattened() -> nn.Module:
    convolution = nn.Conv2d(2, 10, 3, padding=1), nn.BatchNorm2d(10), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*convolution, nn.Flatten(), nn.Linear(40, 3))


def signed_row() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))


RECURRENT = Group(
    (
        *(Axis(f"model/rnn.{name}_l0", 0, 1) for name in ("bias_ih", "bias_hh", "weight_ih", "weight_hh")),
        Axis("model/rnn.weight_hh_l0", 1, 1),
        Axis("model/linear.weight", 1, 1),
    ),
    signed=True,
)
HEADS = Group(
    (
        *(
            Axis(f"model/attention.in_proj_{name}", at=tuple(range(start, start + 24, 4)), width=4)
            for name in ("weight", "bias")
            for start in (0, 24, 48)
        ),
        Axis("model/attention.out_proj.weight", 1, width=4),
    )
)
TANH = Group((Axis("model/0.bias", 0, 1), Axis("model/0.weight", 0, 1), Axis("model/2.weight", 1, 1)), signed=True)
CHANNELS = Group((*produced("model/0", bias=True), *normalised("model/1"), consumed("model/5", width=4)))

NETWORKS = {
    "linear layers": Network(relu_row, sequential(["model/0", "model/2", "model/4"]), (7, 6)),
    "convolutions without biases": Network(
        without_biases, sequential(["model/0", "model/2"], bias=False), (3, 2, 8, 8)
    ),
    "flattened channels": Network(flattened, [CHANNELS, *absorbed("model/0", "model/1", bias=True)], (3, 2, 4, 4)),
    "signs of tanh": Network(signed_row, [TANH], (7, 5)),
    "recurrence": Network(Recurrent, [RECURRENT], (3, 4, 5)),
    "heads of attention": Network(Attentive, [HEADS], (3, 4, 24)),
}
