"""Hold what a judge brings to an archive: the update rule, the data, and where to replay."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from polarchive.format.archive import Archive
from polarchive.format.entry import Header
from polarchive.training import seeds
from polarchive.training.trainer import State, Trainer, require_trainer
from polarchive.verification.showing import Showing

Build: TypeAlias = Callable[[Header, str], Trainer]
States: TypeAlias = Callable[[int], Mapping[str, Tensor] | None]


@dataclass(frozen=True, slots=True)
class Case:
    """Hold an archive, the judge's own code and secret for it, and a trainer fresh from the header's seed.

    `build` makes another one. `states` shows states that are not stored, on behalf of the prover.
    `obtained` says how such states were come by, and `recent` keeps the last that were computed again.
    """

    archive: Archive
    showing: Showing
    device: str
    same_randomness: bool
    trainer: Trainer
    build: Callable[[], Trainer]
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
        again = partial(build, header, device)
        trainer = built(again, header.initial.seed or 0)
        return cls(archive, shown, device, dict(header.probe) == own, trainer, again, states)

    def anew(self) -> "Case":
        """Return the case with another trainer, which carries on nothing that states do not declare."""
        return replace(self, trainer=built(self.build, self.archive.header.initial.seed or 0))


def built(build: Callable[[], Trainer], seed: int) -> Trainer:
    """Return a trainer that is built under a seed, as the prover built; TypeError if the judge built something else."""
    seeds.apply(seed)
    torch.manual_seed(seed)  # the way the prover seeded, which covers devices not yet in use
    trainer = build()
    require_trainer(trainer, "what the judge's build returned")
    return trainer
