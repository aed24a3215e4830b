"""Hold what a judge brings to an archive: the update rule, the data, and where to replay."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from polarchive.errors import PolError
from polarchive.format.archive import Archive
from polarchive.format.commitment import Salts
from polarchive.format.entry import Header
from polarchive.training import seeds
from polarchive.training.trainer import State, Trainer

Build: TypeAlias = Callable[[Header, str], Trainer]
Batches: TypeAlias = Callable[..., Any]  # (step), or in indexed mode (step, rows)
States: TypeAlias = Callable[[int], Mapping[str, Tensor] | None]


@dataclass(frozen=True, slots=True)
class Case:
    """Hold an archive, the judge's own code and secret for it, and a trainer fresh from the header's seed.

    `states` shows states that are not stored, on behalf of the prover. `obtained` says how such states were come by,
    and `recent` keeps the last that were computed again.
    """

    archive: Archive
    batches: Batches
    salts: Salts
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
        batches: Batches,
        secret: bytes | None,
        device: str,
        states: States | None = None,
    ) -> "Case":
        """Prepare a case; PolError if the archive is salted and there is no secret to open it with."""
        header = archive.header
        if header.commitment.salted and secret is None:
            raise PolError("the batches of this run are salted: the prover's secret is needed to check them (--secret)")
        salts = Salts(secret if header.commitment.salted else None, header.run)
        own = seeds.probe([torch.device(device)])
        seeds.apply(header.initial.seed or 0)
        torch.manual_seed(header.initial.seed or 0)  # the way the prover seeded, which covers devices not yet in use
        trainer = build(header, device)
        return cls(archive, batches, salts, device, dict(header.probe) == own, trainer, states)
