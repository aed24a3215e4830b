"""Train ResNet-20 on CIFAR-10 and record the run: the workload of the paper, from data to proof.

    python tools/cifar10.py
    polarc keygen alice.example -o alice
    python examples/cifar10.py run --steps 60 --every 10 --key alice.key

The judge runs the same file: `build` makes the update rule, `batches` gives the data of a step.

    polarc pack run -o run.pol
    polarc verify run.pol --key alice.pub --trainer examples/cifar10.py:build \\
        --batches examples/cifar10.py:batches --secret run/secret
"""

import os
import sys
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import polarchive as pol
from polarchive.measures.symmetry import Group, absorbed, consumed, normalised, produced

Batch = tuple[Tensor, Tensor]

DATA = Path(os.environ.get("CIFAR10", "data/cifar10"))
SEED = 0
BATCH_SIZE = 128
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)


# The model: ResNet-20 for CIFAR (He et al. 2016, section 4.2), shortcuts of kind A.


class Block(nn.Module):
    """Adds two 3x3 convolutions to a shortcut that has no parameters."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.widen = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """Drop every second pixel and add channels of zeros, where the block changes shape."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.widen, self.widen))


class ResNet20(nn.Module):
    """Maps images (n, 3, 32, 32) to ten logits, through three stages of three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.stages = nn.Sequential(stage(16, 16, 1), stage(16, 32, 2), stage(32, 64, 2))
        self.linear = nn.Linear(64, 10)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(F.relu(self.bn(self.conv(x))))
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits


def stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Make three blocks, of which the first changes the shape."""
    return nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1), Block(outputs, outputs, 1))


def initialise(module: nn.Module) -> None:
    """Draw the weights of convolutions and of the classifier (kaiming-normal)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)


# The data: one seeded permutation per epoch, laid end to end and cut into batches of 128.


@cache
def dataset(folder: Path) -> Batch:
    """Load the training images (uint8, NHWC) and labels (int64)."""
    try:
        images, labels = (np.load(folder / f"train_{name}.npy") for name in ("images", "labels"))
    except FileNotFoundError:
        raise FileNotFoundError(f"no CIFAR-10 in {folder}: run python tools/cifar10.py") from None
    return torch.from_numpy(images), torch.from_numpy(labels).long()


@lru_cache(maxsize=2)
def order(epoch: int, records: int) -> Tensor:
    """Draw the order in which an epoch visits the records."""
    return torch.randperm(records, generator=torch.Generator().manual_seed(epoch))


def batches(step: int, folder: Path = DATA) -> Batch:
    """Return the images and labels that a step consumes, as they were recorded."""
    images, labels = dataset(folder)
    epoch, start = divmod(step * BATCH_SIZE, len(labels))
    both = torch.cat([order(epoch, len(labels)), order(epoch + 1, len(labels))])
    chosen = both[start : start + BATCH_SIZE]
    return images[chosen], labels[chosen]


# The update: what happens to one batch between two calls of `log.record`.


def augment(images: Tensor) -> Tensor:
    """Crop each image at random after padding by 4, and mirror every second one on average.

    The draws come from the CPU's default generator, so that a judge with another device repeats them.
    """
    n, size = images.shape[:2]
    across = torch.arange(size)
    rows = torch.randint(9, (n, 1)) + across
    columns = torch.randint(9, (n, 1)) + torch.where(torch.rand(n, 1) < 0.5, across.flip(0), across)
    padded = F.pad(images, (0, 0, 4, 4, 4, 4))
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def normalise(images: Tensor) -> Tensor:
    """Turn uint8 NHWC images into float NCHW input of zero mean and unit variance per channel."""
    mean, std = (torch.tensor(values, device=images.device) for values in (MEAN, STD))
    return ((images / 255 - mean) / std).permute(0, 3, 1, 2)


def update(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
    """Take one step of SGD on one batch and return the loss: the body of the training loop.

    The loss stays on its device. To ask for its value would wait for the step, and the next batch with it.
    """
    device = next(model.parameters()).device
    images, labels = augment(batch[0]).to(device), batch[1].to(device)
    loss = F.cross_entropy(model(normalise(images)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def prepare(device: str | torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Make the model and its optimizer."""
    model = ResNet20().to(device)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


def build(header: object, device: str | torch.device) -> pol.TorchTrainer:
    """Give the judge the update rule; the judge sets the seed before calling."""
    model, optimizer = prepare(device)

    def step(fed: Iterable[Batch]) -> None:
        for batch in fed:
            update(model, optimizer, batch)

    return pol.TorchTrainer(step, model=model, optimizer=optimizer)


# The symmetries, for a judge of disputes: what may be permuted and scaled without changing what the model computes.


def symmetries(header: object) -> list[Group]:
    """Name the channels that blocks pass on, then what is inside each block, and what its batch norms undo.

    Where the shape changes, the shortcut adds as many channels of zeros before as after: channel c of the first stage
    is 8 + c in the second and 24 + c in the third. So channels are permuted through all stages that have them.
    """
    blocks = [f"model/stages.{stage}.{index}" for stage in range(3) for index in range(3)]
    groups = [
        passed_on(blocks, range(24, 40), 0),
        passed_on(blocks, [*range(16, 24), *range(40, 48)], 1),
        passed_on(blocks, [*range(16), *range(48, 64)], 2),
        *absorbed("model/conv", "model/bn"),
    ]
    for block in blocks:
        inside = *produced(f"{block}.conv1"), *normalised(f"{block}.bn1"), consumed(f"{block}.conv2")
        groups += [Group(inside), *absorbed(f"{block}.conv1", f"{block}.bn1")]
        groups += absorbed(f"{block}.conv2", f"{block}.bn2")
    return groups


def passed_on(blocks: list[str], channels: Iterable[int], first: int) -> Group:
    """Name the places of channels, numbered as in the last stage, that are there from stage `first` on."""
    writers = [("model/conv", "model/bn"), *((f"{block}.conv2", f"{block}.bn2") for block in blocks)]
    readers = [*(f"{block}.conv1" for block in blocks), "model/linear"]
    stages = [0, *(index // 3 for index in range(len(blocks)))]
    axes = []
    for (layer, norm), reader, stage in zip(writers, readers, stages, strict=True):
        if stage >= first:
            at = tuple(channel - (24, 16, 0)[stage] for channel in channels)
            axes += [*produced(layer, at=at), *normalised(norm, at=at), consumed(reader, at=at)]
    return Group(tuple(axes))


# The run.


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(exists=True), help="The signing key, from `polarc keygen`.")
@click.option("--steps", default=60, show_default=True)
@click.option("--every", default=10, show_default=True, help="Steps between two recorded states.")
@click.option("--data", type=click.Path(path_type=Path), default=DATA, show_default=True)
@click.option("--threads", type=int, help="CPU threads; PyTorch's choice by default.")
@click.option("--tsa", multiple=True, help="A timestamp authority's URL, which stamps the heads meanwhile.")
def main(run: Path, key: str, steps: int, every: int, data: Path, threads: int | None, tsa: tuple[str, ...]) -> None:
    """Train on CIFAR-10 and record the run in the directory RUN."""
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        dataset(data)
    except FileNotFoundError as missing:
        raise click.ClickException(str(missing)) from None

    torch.manual_seed(SEED)
    model, optimizer = prepare("cuda" if torch.cuda.is_available() else "cpu")
    trainer = pol.TorchTrainer(model=model, optimizer=optimizer)
    signer, stamps = pol.load_signer(key), pol.StampClient(tsa) if tsa else None
    loss = torch.tensor(float("nan"))
    with (
        pol.Writer(run, trainer, every=every, signer=signer, seed=SEED, stamps=stamps) as log,
        click.progressbar(range(steps), file=sys.stderr, hidden=not sys.stderr.isatty()) as counted,
    ):
        for step in counted:
            batch = batches(step, data)
            log.record(batch)
            loss = update(model, optimizer, batch)
    click.echo(f"recorded {steps} steps in {run}, last loss {loss:.3f}")


if __name__ == "__main__":
    main()
