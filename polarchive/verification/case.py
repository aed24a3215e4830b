"""Hold what a judge brings to an archive: the update rule, the data, and where to replay."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from polarchive.errors import PolError
from polarchive.format.archive import Archive
from polarchive.format.commitment import Salts
from polarchive.format.entry import Header
from polarchive.training import seeds
from polarchive.training.trainer import Trainer

Build: TypeAlias = Callable[[Header, str], Trainer]
Batches: TypeAlias = Callable[[int], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """Hold an archive, the judge's own code and secret for it, and a trainer fresh from the header's seed."""

    archive: Archive
    batches: Batches
    salts: Salts
    device: str
    same_randomness: bool
    trainer: Trainer

    @classmethod
    def of(cls, archive: Archive, build: Build, batches: Batches, secret: bytes | None, device: str) -> "Case":
        """Prepare a case; PolError if the archive is salted and there is no secret to open it with."""
        header = archive.header
        if header.commitment.mode != "fed":
            raise PolError("this version replays runs recorded in fed mode only")
        if header.commitment.salted and secret is None:
            raise PolError("the batches of this run are salted: the prover's secret is needed to check them (--secret)")
        salts = Salts(secret if header.commitment.salted else None, header.run)
        own = seeds.probe([torch.device(device)])
        seeds.apply(header.initial.seed or 0)
        torch.manual_seed(header.initial.seed or 0)  # the way the prover seeded, which covers devices not yet in use
        trainer = build(header, device)
        return cls(archive, batches, salts, device, dict(header.probe) == own, trainer)
