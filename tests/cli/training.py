"""Name a training for the command line: such a file is what whoever studies attacks writes."""

from dataclasses import replace

from torch import nn

import polarchive as pol
from polarchive.attacks.infinitesimal import Infinitesimal
from polarchive.attacks.workload import Workload
from tests.attacks.scene import SGD


def small() -> Workload:
    return replace(SGD, steps=16)


def another() -> Workload:
    return replace(small(), model=lambda: nn.Linear(20, 8))


def build(header: object, device: str) -> pol.TorchTrainer:
    return small().build(header, device)


def own() -> Infinitesimal:
    return Infinitesimal()
