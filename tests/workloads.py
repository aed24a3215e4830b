"""Train small real models on real data: for each the judge's code, and a helper that records it honestly."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import polarchive as pol
from tests.simulator import PROVER

ROOT: Final = Path(__file__).parents[1]
RUN: Final = bytes(range(16))
SEED: Final = 7
WARM_UP: Final = 1e-3
TOKENS: Final = 64

Batch = tuple[Tensor, ...]
Update = Callable[[Batch], object]


@dataclass(frozen=True)
class Workload:
    """Hold what a judge brings to a run, `build` and `batches`, and how long the run is."""

    build: Callable[[Any, Any], pol.TorchTrainer]
    batches: Callable[[int], Batch]
    every: int
    steps: int

    def trainer(self) -> pol.TorchTrainer:
        """Build the trainer as prover and judge do, from the seed that the header states."""
        torch.manual_seed(SEED)
        return self.build(None, "cpu")

    def record(self, folder: Path, **settings: Any) -> Path:
        """Record an honest run in `folder`."""
        trainer = self.trainer()
        with self.writer(folder, trainer, **settings) as log:
            for step in range(self.steps):
                batch = self.batches(step)
                log.record(batch)
                trainer.step([batch])
        return folder

    def writer(self, folder: Path, trainer: pol.Trainer, **settings: Any) -> pol.Writer:
        """Return a writer for one run of this workload; its run id is fixed, so its random draws repeat."""
        usual = {"every": self.every, "signer": PROVER, "seed": SEED, "run": RUN, "background": False}
        return pol.Writer(folder, trainer, **{**usual, **settings})

    def judge(self, folder: Path, **options: Any) -> pol.Verdict:
        """Seal the run in `folder`, open it as a stranger would, and judge it with this workload's code."""
        options.setdefault("secret", pol.read_secret(folder / "secret"))
        sealed = folder.with_suffix(".pol")
        pol.pack(folder, sealed)
        with pol.open(sealed, trusted=[PROVER.key]) as archive:
            return pol.verify(archive, self.build, self.batches, **options)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with `count` threads for a while: sums are then taken in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load(path: Path) -> ModuleType:
    """Load a Python file that is in no package, as a judge does."""
    spec = importlib.util.spec_from_file_location(f"_loaded_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trainer_of(model: nn.Module, optimizer: torch.optim.Optimizer, update: Update, **more: Any) -> pol.TorchTrainer:
    """Return the trainer whose step is one update per batch."""

    def step(fed: Iterable[Batch]) -> None:
        for batch in fed:
            update(batch)

    return pol.TorchTrainer(step, model=model, optimizer=optimizer, **more)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down the gradient of `loss`."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


# Images: 256 genuine ones of CIFAR-10, visited in the order in which they lie.


def _images() -> tuple[Tensor, Tensor]:
    with np.load(ROOT / "tests/data/cifar10_256.npz") as arrays:
        return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"]).long()


CIFAR10: Final = load(ROOT / "examples/cifar10.py")
IMAGES, LABELS = _images()


def images(size: int) -> Callable[[int], Batch]:
    """Return the function that shows `size` images and labels for each step."""

    def batches(step: int) -> Batch:
        chosen = torch.arange(step * size, (step + 1) * size) % len(LABELS)
        return IMAGES[chosen], LABELS[chosen]

    return batches


def build_warm_resnet(header: object, device: str) -> pol.TorchTrainer:
    """Build ResNet-20 with the learning rate of a warm-up.

    At rate 0.1 the first steps of a fresh ResNet-20 are chaotic: rounding flips a few ReLUs, which changes gradients by
    3e-3, and ten steps later the momenta of two replays differ by as much as they are large.
    """
    model, optimizer = CIFAR10.prepare(device)
    optimizer.param_groups[0]["lr"] = WARM_UP
    return trainer_of(model, optimizer, lambda batch: CIFAR10.update(model, optimizer, batch))


class ConvNet(nn.Module):
    """Maps images (n, 3, 32, 32) to ten logits, with batch norm and dropout on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=4, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.2)
        self.conv2 = nn.Conv2d(8, 16, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.linear(F.relu(self.bn2(self.conv2(x))).mean(dim=(2, 3)))
        return logits


def build_convnet(header: object, device: str, **more: Any) -> pol.TorchTrainer:
    model = ConvNet().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    def update(batch: Batch) -> None:
        logits = model(CIFAR10.normalise(batch[0].to(device)))
        descend(optimizer, F.cross_entropy(logits, batch[1].to(device)))

    return trainer_of(model, optimizer, update, **more)


# Tokens: random ones.


class Attention(nn.Module):
    """Attends with separate maps for queries, keys and values; the bias of the keys has no true gradient."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in "qkv")
        self.out = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        scores = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(dim=-1)
        mixed = F.dropout(scores, 0.1, self.training) @ v
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result


class Layer(nn.Module):
    """Adds attention and a two-layer network to what passes through."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads=4)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Maps tokens (n, t) to logits (n, t, 64) for the tokens that follow."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(TOKENS, width), nn.Embedding(32, width)
        self.layers = nn.Sequential(Layer(width), Layer(width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, TOKENS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x) + self.positions.weight[: x.shape[1]]
        logits: Tensor = self.head(self.norm(self.layers(x)))
        return logits


def build_transformer(header: object, device: str) -> pol.TorchTrainer:
    model = Transformer().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def update(batch: Batch) -> None:
        tokens = batch[0].to(device)
        descend(optimizer, F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()))

    return trainer_of(model, optimizer, update)


def tokens(step: int) -> Batch:
    """Draw 16 sequences of 33 tokens, the same ones for the same step."""
    return (torch.randint(TOKENS, (16, 33), generator=torch.Generator().manual_seed(step)),)


RESNET: Final = Workload(CIFAR10.build, images(32), every=3, steps=6)
WARM_RESNET: Final = Workload(build_warm_resnet, images(32), every=3, steps=6)
CONVNET: Final = Workload(build_convnet, images(8), every=12, steps=36)
SHORT: Final = replace(CONVNET, every=3, steps=24)
TRANSFORMER: Final = Workload(build_transformer, tokens, every=12, steps=24)
