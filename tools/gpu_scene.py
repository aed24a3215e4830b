"""Record ResNet-20 on random images, honestly or not, and judge it: the workload of tools/check_gpu.py."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import polarchive as pol
from examples import cifar10
from polarchive.format.archive import Archive
from polarchive.training.graphed import Graphed
from polarchive.trust.keys import generate
from polarchive.verification.case import Build
from tools import bench_workers

SIGNER = generate("bench.example")
SEED = 0
RATE = 1e-3


@dataclass(frozen=True)
class Size(bench_workers.Size):
    """Say also by how many workers a run is judged, and which share of its segments limits are to let pass."""

    workers: tuple[int, ...]
    tau: float


FULL = Size(batch=128, every=10, segments=24, repeats=3, workers=(1, 2, 4), tau=0.9)
QUICK = Size(batch=4, every=4, segments=4, repeats=1, workers=(2,), tau=0.5)


# The judge's code: one update, taken as it is and as a graph.


@cache
def images() -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(SEED)
    shown = torch.randint(256, (2048, 32, 32, 3), dtype=torch.uint8, generator=drawn)
    return shown, torch.randint(10, (2048,), generator=drawn)


def batches(count: int, step: int) -> tuple[Tensor, Tensor]:
    chosen = torch.arange(step * count, (step + 1) * count) % 2048
    return images()[0][chosen], images()[1][chosen]


def parts(device: str) -> tuple[nn.Module, torch.optim.Optimizer, Callable[..., Any], Callable[..., None]]:
    """Return model, optimizer, what makes the tensors of an update from a batch, and the update."""
    model, optimizer = cifar10.prepare(device)
    optimizer.param_groups[0]["lr"] = RATE

    def inputs(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return cifar10.normalise(cifar10.augment(batch[0]).to(device)), batch[1].to(device)

    def update(pixels: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(pixels), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return model, optimizer, inputs, update


def eager(header: object, device: str) -> pol.TorchTrainer:
    model, optimizer, inputs, update = parts(device)

    def step(fed: Iterable[tuple[Tensor, Tensor]]) -> None:
        for batch in fed:
            update(*inputs(batch))

    return pol.TorchTrainer(step, model=model, optimizer=optimizer)


def graphed(header: object, device: str) -> Graphed:
    model, optimizer, inputs, update = parts(device)
    return Graphed(inputs, update, model=model, optimizer=optimizer)


@dataclass(frozen=True)
class Scene:
    """Hold where runs lie and where to judge them, by this process or by workers, of whom there are pools by number."""

    size: Size
    device: str
    folder: Path
    pools: Mapping[int, pol.Pool]

    @property
    def batches(self) -> Callable[[int], tuple[Tensor, Tensor]]:
        return partial(batches, self.size.batch)

    def trainer(self) -> pol.TorchTrainer:
        torch.manual_seed(SEED)
        return eager(None, self.device)

    def record(self, name: str, forged: int | None = None) -> str:
        """Record a run, which a forger pushes off its way in one segment, and return its name."""
        trainer = self.trainer()
        with pol.Writer(self.folder / name, trainer, every=self.size.every, signer=SIGNER, seed=SEED) as log:
            for step in range(self.size.steps):
                batch = self.batches(step)
                log.record(batch)
                trainer.step([batch])
                if forged is not None and step == forged * self.size.every:
                    weights = trainer.view()["model/linear.weight"].detach()
                    weights.add_(0.1 * weights.std())
        return name

    def open(self, name: str = "honest") -> Archive:
        return pol.open(self.folder / name, trusted=[SIGNER.key])

    def secret(self, name: str = "honest") -> bytes:
        return pol.read_secret(self.folder / name / "secret")

    def judge(self, build: Build, name: str = "honest", **settings: Any) -> pol.Verdict:
        with self.open(name) as archive:
            settings = {"secret": self.secret(name), "device": self.device, **settings}
            return pol.verify(archive, build, self.batches, **settings)
