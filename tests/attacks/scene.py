"""Hold small trainings to be stolen: victims, what adversaries know of them, and a judge who looks at a spoof."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import polarchive as pol
from polarchive.attacks.attack import Attack, Spent, forge
from polarchive.attacks.known import Known, Leak, Rules
from polarchive.attacks.puppet import Puppet, of_model
from polarchive.attacks.workload import Batch, Workload
from polarchive.training.kept import kept
from polarchive.training.trainer import State
from tests.simulator import STRANGER
from tests.workloads import CIFAR10, IMAGES, LABELS

VICTIM: Final = 7
ADVERSARY: Final = 1


class Net(nn.Module):
    """Maps images (n, 3, 32, 32) to ten logits, with batch norm on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=4, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        logits: Tensor = self.linear(F.relu(self.bn2(self.conv2(x))).mean(dim=(2, 3)))
        return logits


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


SGD: Final = Workload(
    name="small network, SGD",
    model=Net,
    optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-4),
    loss=cross_entropy,
    records=(CIFAR10.normalise(IMAGES).contiguous(), LABELS),
    batch=16,
    every=4,
    steps=48,
)
ADAM: Final = Workload(
    name="small network, AdamW",
    model=Net,
    optimizer=partial(torch.optim.AdamW, lr=1e-3),
    loss=cross_entropy,
    records=SGD.records,
    batch=16,
    every=4,
    steps=48,
)


@cache
def ends(workload: Workload, seed: int) -> tuple[State, State]:
    """Train honestly, and return the weights at the beginning and at the end."""
    torch.manual_seed(seed)
    trainer = Puppet(workload)
    first = trainer.weights()
    for step in range(workload.steps):
        trainer.step([workload.take(workload.rows(seed, step))])
    return first, trainer.weights()


def known(workload: Workload = SGD, leak: Leak | None = None, **rules: Any) -> Known:
    """Return what an adversary knows of the victim; δ is 0.008 of the way between independent runs, as in the paper."""
    victim, other = (ends(workload, seed)[1] for seed in (VICTIM, VICTIM + 1))
    d_ref = distance(victim, other)
    return Known(victim, workload, Rules(**{"delta": 0.008 * d_ref, "top": 1, **rules}), ADVERSARY, leak)


def distance(one: State, other: State) -> float:
    """Return the ℓ2 distance of all parameters."""
    names = [name for name in one if name.endswith(("weight", "bias"))]
    return float(torch.sqrt(sum(((one[name] - other[name]).double() ** 2).sum() for name in names)))  # type: ignore[arg-type]


def spoof(attack: Attack, knowing: Known, folder: Path, challenge: list[int] | None = None) -> Spent:
    """Have an attack forge a run in `folder`, and seal it."""
    spent = forge(attack, knowing, folder, STRANGER, challenge)
    pol.pack(folder / "run", folder / "run.pol")
    return spent


@contextmanager
def opened(folder: Path) -> Iterator[pol.Archive]:
    """Open a spoof as a judge does."""
    with pol.open(folder / "run.pol", trusted=[STRANGER.key]) as archive:
        yield archive


def judged(folder: Path, workload: Workload = SGD, policy: pol.Policy | None = None, **options: Any) -> pol.Verdict:
    """Judge a spoof, whose batches the adversary shows."""
    secret = pol.read_secret(folder / "run" / "secret")
    batches = partial(kept, folder / "batches")
    with opened(folder) as archive:
        return pol.verify(archive, workload.build, batches, secret=secret, policy=policy, **options)


def reasons(verdict: pol.Verdict) -> set[str]:
    """Return the checks that keep a verdict from being acceptance."""
    return {finding.check for finding in verdict.reasons}


def final(folder: Path) -> State:
    """Return the weights that a spoof ends in."""
    with opened(folder) as archive:
        return of_model(pol.to_tensors(archive.state(-1)))


def lands(folder: Path, knowing: Known) -> bool:
    """Tell whether a spoof ends in the victim's weights, bit for bit."""
    found = final(folder)
    return found.keys() == knowing.weights.keys() and all(found[name].equal(knowing.weights[name]) for name in found)
