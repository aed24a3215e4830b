"""Hold what a judge brings to an archive: the update rule, the data, and where to replay."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from polarchive.format.archive import Archive
from polarchive.format.entry import Header
from polarchive.training import seeds
from polarchive.training.trainer import State, Trainer
from polarchive.verification.showing import Showing

Build: TypeAlias = Callable[[Header, str], Trainer]
States: TypeAlias = Callable[[int], Mapping[str, Tensor] | None]


@dataclass(frozen=True, slots=True)
class Case:
    """Hold an archive, the judge's own code and secret for it, and a trainer fresh from the header's seed.

    `states` shows states that are not stored, on behalf of the prover. `obtained` says how such states were come by,
    and `recent` keeps the last that were computed again.
    """

    archive: Archive
    showing: Showing
    device: str
    same_randomness: bool
    trainer: Trainer
    states: States | None = None
    obtained: dict[int, str] = field(default_factory=dict)
    recent: dict[int, State] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        archive: Archive,
        build: Build,
        shown: Showing,
        device: str,
        states: States | None = None,
    ) -> "Case":
        """Prepare a case: seed as the prover did, and build."""
        header = archive.header
        own = seeds.probe([torch.device(device)])
        seeds.apply(header.initial.seed or 0)
        torch.manual_seed(header.initial.seed or 0)  # the way the prover seeded, which covers devices not yet in use
        trainer = build(header, device)
        return cls(archive, shown, device, dict(header.probe) == own, trainer, states)
