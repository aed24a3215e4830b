"""Publish small proofs in the three public layouts, in the layouts' own terms: what their training loops save."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import polarchive as pol

Batch = tuple[Tensor, Tensor]
Net_state = Mapping[str, Tensor]

SIZE: Final = 64
BATCH: Final = 8
EVERY: Final = 5
STEPS: Final = 12  # so that the last segment is shorter
PIXELS: Final = torch.randint(256, (SIZE, 3, 8, 8), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
LABELS: Final = torch.arange(SIZE) % 4
IMAGES: Final = PIXELS.float().div(255)


class Net(nn.Module):
    """Maps images (n, 3, 8, 8) to four logits, with batch norm on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(F.relu(self.bn(self.conv(x))).mean(dim=(2, 3)))
        return logits


def trainer(make: Any = torch.optim.SGD, **settings: Any) -> pol.TorchTrainer:
    """Return a judge's trainer of the network."""
    model = Net()
    optimizer = make(model.parameters(), **settings)

    def step(fed: Iterable[Batch]) -> None:
        for inputs, labels in fed:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()

    return pol.TorchTrainer(step, model=model, optimizer=optimizer)


def build(header: object, device: str) -> pol.TorchTrainer:
    """Train as `publish_jia` does; settings that are recorded take the place of these."""
    return trainer(lr=0.1, momentum=0.9, weight_decay=1e-4)


def build_tiny(header: object, device: str) -> pol.TorchTrainer:
    """Claim the learning rate of an infinitesimal update."""
    return trainer(lr=1e-12)


def build_zhang(header: object, device: str) -> pol.TorchTrainer:
    """Train with the settings that the verifier of Zhang et al. has by default."""
    return trainer(lr=0.01, momentum=0.9)


def data() -> Batch:
    """Return the public dataset."""
    return IMAGES, LABELS


@cache
def committed() -> pol.Dataset:
    """Return the commitments to the public dataset, which are in no folder."""
    with TemporaryDirectory() as folder:
        return pol.commit_dataset(data(), folder, salted=False, workers=1)


def rows(step: int, indices: npt.NDArray[np.int64]) -> Batch:
    """Return records of the public dataset."""
    return IMAGES[indices], LABELS[indices]


def other_rows(step: int, indices: npt.NDArray[np.int64]) -> Batch:
    return IMAGES[indices].flip(3), LABELS[indices]


def weights(seed: int) -> Net_state:
    """Return the weights of a network that was not trained, with its running statistics."""
    torch.manual_seed(seed)
    return Net().state_dict()


def publish_jia(
    folder: Path, make: Any = torch.optim.SGD, scheduled: bool = True, parallel: bool = False, **settings: Any
) -> Net_state:
    """Train honestly, and save as train.py of Jia et al. does; return the last weights."""
    torch.manual_seed(0)
    net = Net()
    chosen = settings or {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
    optimizer = make(net.parameters(), **chosen)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 7, 7], gamma=0.1) if scheduled else None
    order = np.random.default_rng(0)
    sequence = np.concatenate([order.permutation(SIZE) for _ in range(2)])[: STEPS * BATCH].reshape(STEPS, BATCH)

    def save(step: int) -> None:
        prefix = "module." if parallel else ""
        state: dict[str, Any] = {"net": OrderedDict((prefix + name, each) for name, each in net.state_dict().items())}
        state["optimizer"] = optimizer.state_dict()
        if scheduler is not None:
            state["scheduler"] = scheduler.state_dict()
        torch.save(state, folder / f"model_step_{step}")

    folder.mkdir()
    np.save(folder / "indices.npy", sequence)
    digest = hashlib.sha256()
    for image in PIXELS.numpy():
        digest.update(str(image).encode())
    (folder / "hash.txt").write_text(digest.hexdigest())
    for step, chosen_rows in enumerate(sequence):
        if step % EVERY == 0:
            save(step)
        optimizer.zero_grad()
        F.cross_entropy(net(IMAGES[chosen_rows]), LABELS[chosen_rows]).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    save(STEPS)
    return net.state_dict()


def line(start: Net_state, end: Net_state, share: float) -> dict[str, Tensor]:
    """Return weights on the way, cast as `load_state_dict` casts them."""
    return {name: torch.lerp(start[name].double(), end[name].double(), share).to(end[name].dtype) for name in end}


def publish_zhang(folder: Path, stolen: Net_state, steps: int = 40, every: int = 2) -> None:
    """Spoof by states on a line, and save as spoof_attack2.py of Zhang et al. does."""
    start, images = weights(1), folder / "dataset"
    images.mkdir(parents=True)
    for step in range(0, steps + 1, every):
        torch.save({"net": line(start, stolen, step / steps)}, folder / f"model_step_{step}")
    with (folder / "dataset.txt").open("w") as text:
        for number in range(steps * BATCH):
            Image.fromarray(PIXELS[number % SIZE].permute(1, 2, 0).numpy()).save(images / f"{number}.png")
            text.write(f"spoof/CIFAR10/dataset/{number}.png {LABELS[number % SIZE]}\n")


def publish_fang(folder: Path, stolen: Net_state, steps: int = 40, every: int = 4) -> None:
    """Spoof by infinitesimal updates, and save as infinitesimal_update_attack.py of Fang et al. does."""
    start = weights(1)
    order = np.random.default_rng(1)
    folder.mkdir()
    for step in range(0, steps, every):
        chosen = [order.permutation(SIZE)[:BATCH] for _ in range(min(every, steps - step))]
        torch.save({"net": line(start, stolen, step / steps)}, folder / f"model_{step}.pt")
        np.save(folder / f"data_{step}.npy", np.stack([IMAGES[each].numpy() for each in chosen]))
        np.save(folder / f"label_{step}.npy", np.stack([LABELS[each].numpy() for each in chosen]))
    torch.save({"net": stolen}, folder / f"model_{steps}.pt")
