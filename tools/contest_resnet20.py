"""Train ResNet-20 on CIFAR-10, at a size at which two cores hold a whole contest: for polarc contest and attack.

    polarc contest --workload tools/contest_resnet20.py:workload -o contest

The model, the optimizer and the images are those of examples/cifar10.py. Records are normalised images, without random
crops, so that attacks which make data can make any: 416 of them, in 5 epochs of 26 batches of 16. Every state is
recorded, for the paper's δ of 0.008 d_ref lets a line pass only if it has 125 segments or more.
"""

import sys
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples import cifar10
from polarchive.attacks.workload import Batch, Workload

RECORDS, BATCH, EVERY, EPOCHS = 416, 16, 1, 5


def loss(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def optimizer(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4)  # type: ignore[arg-type]


@cache
def workload() -> Workload:
    """Return the training that is stolen."""
    images, labels = (part[:RECORDS] for part in cifar10.dataset(cifar10.DATA))
    records = cifar10.normalise(images).contiguous(), labels.contiguous()
    steps = EPOCHS * (RECORDS // BATCH)
    return Workload("ResNet-20", cifar10.ResNet20, optimizer, loss, records, BATCH, EVERY, steps)
