"""Train the models whose states tools/bench_coding.py codes: ResNet-20 on CIFAR-10, and a small transformer on text."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polarchive as pol
from examples import cifar10
from polarchive.format.delta import State
from polarchive.format.entry import Hyper
from polarchive.training.arrays import to_array

TEXT = Path(__file__).parents[1] / "SPEC.md"
CONTEXT, BATCH, RATE = 64, 16, 1e-3


@dataclass(frozen=True, slots=True)
class Pair:
    """Hold two states k steps apart and the settings of the steps between them."""

    name: str
    k: int
    base: State
    state: State
    hyper: Hyper


Step = Callable[[], None]


def pairs(name: str, trainer: pol.TorchTrainer, step: Step, ks: tuple[int, ...]) -> Iterator[Pair]:
    """Train on, and yield two pairs for each k, which follow one another."""
    found, last = {0: recorded(trainer)}, 0
    for wanted in sorted({k * times for k in ks for times in (1, 2)}):
        for _ in range(wanted - last):
            step()
        last, found[wanted] = wanted, recorded(trainer)
    for k in ks:
        for start in (0, k):
            yield Pair(name, k, found[start][0], found[start + k][0], found[start][1])


def recorded(trainer: pol.TorchTrainer) -> tuple[State, Hyper]:
    """Return the state as the writer sees it, and the settings of the next step."""
    return {name: to_array(tensor, name) for name, tensor in trainer.save().items()}, trainer.hyper()


def resnet(data: Path, warm_up: int, ks: tuple[int, ...]) -> Iterator[Pair]:
    """Train ResNet-20 by SGD with momentum 0.9 and weight decay: at learning rate 0.1, and after two drops."""
    torch.manual_seed(0)
    model, optimizer = cifar10.prepare("cpu")
    trainer, done = pol.TorchTrainer(model=model, optimizer=optimizer), 0

    def step() -> None:
        nonlocal done
        cifar10.update(model, optimizer, cifar10.batches(done, data))
        done += 1

    def train(rate: float, steps: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate
        for _ in range(steps):
            step()

    train(0.1, warm_up)
    yield from pairs("ResNet-20 SGD lr 0.1", trainer, step, ks)
    train(0.01, warm_up // 2)
    train(0.001, warm_up // 2)
    yield from pairs("ResNet-20 SGD lr 0.001", trainer, step, ks)


class Layer(nn.Module):
    """Adds attention to the past, and then a network of two layers, to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.between = nn.LayerNorm(width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.before(x)
        x = x + self.attention(y, y, y, attn_mask=mask, need_weights=False)[0]
        found: Tensor = x + self.network(self.between(x))
        return found


class Transformer(nn.Module):
    """Predicts the next byte of a text."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.bytes, self.places = nn.Embedding(256, width), nn.Embedding(CONTEXT, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 256, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.full((CONTEXT, CONTEXT), -torch.inf, dtype=self.head.weight.dtype).triu(1)
        y = self.bytes(x) + self.places(torch.arange(CONTEXT))
        for layer in self.layers:
            y = layer(y, mask)
        logits: Tensor = self.head(self.norm(y))
        return logits


def transformer(kind: str, width: int, layers: int, warm_up: int, ks: tuple[int, ...]) -> Iterator[Pair]:
    """Train a transformer by AdamW in fp32, in bf16 throughout, or in bf16 with an fp32 master copy of the weights."""
    torch.manual_seed(0)
    model, text = Transformer(width, layers), torch.frombuffer(bytearray(TEXT.read_bytes()), dtype=torch.uint8).long()
    parts: dict[str, nn.Module] = {"model": model if kind == "fp32" else model.bfloat16()}
    if kind == "bf16 + fp32 master":
        parts["master"] = Transformer(width, layers)
        parts["master"].load_state_dict(model.state_dict())
    optimizer = AdamW(list(parts.values())[-1].parameters(), lr=RATE)
    trainer = pol.TorchTrainer(**parts, optimizer=optimizer)

    def step() -> None:
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,)).tolist()
        batch = torch.stack([text[start : start + CONTEXT + 1] for start in starts])
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1).float(), batch[:, 1:].flatten())
        model.zero_grad()
        loss.backward()
        update(model, parts.get("master", model), optimizer)

    for _ in range(warm_up):
        step()
    yield from pairs(f"transformer AdamW {kind}", trainer, step, ks)


@torch.no_grad()
def update(model: nn.Module, master: nn.Module, optimizer: Optimizer) -> None:
    """Move the weights by their gradients, and what is computed with by way of its master copy."""
    for one, other in zip(model.parameters(), master.parameters(), strict=True):
        other.grad = None if one.grad is None else one.grad.to(other.dtype)
    optimizer.step()
    for one, other in zip(model.parameters(), master.parameters(), strict=True):
        one.copy_(other)
