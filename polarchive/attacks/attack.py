"""Say what an attack is, and have one forge a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.format import note
from polarchive.training.writer import Writer


class Attack:
    """Forge a proof; a frozen dataclass whose fields are what the attack can be tuned by.

    `seeded` says that state 0 is what the builder makes of the adversary's seed, and is claimed to be. `needs_leak`
    that the victim's own proof must have been published, which section III denies. `function_space` that it ends in a
    model that behaves like the victim's, with other weights (section IX). `fabricates` that it feeds data which is not
    of the public set.
    """

    seeded: ClassVar[bool] = True
    needs_leak: ClassVar[bool] = False
    function_space: ClassVar[bool] = False
    fabricates: ClassVar[bool] = False

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Record a run of `known.steps` steps through `log`, and leave the state that it is to end in.

        `trainer` begins fresh from the adversary's seed. `challenge` are the segments that will be replayed, where
        the protocol lets the adversary know them before it makes the data; other segments then need no valid data.
        """
        raise NotImplementedError

    def record(self, known: Known, folder: Path, signer: note.Signer, challenge: Sequence[int] | None = None) -> None:
        """Have a run written in `folder`; attacks that need many, or one under an id of their choice, do otherwise."""
        write(self, known, folder, signer, challenge)


@dataclass(frozen=True, slots=True)
class Spent:
    """Hold what forging took: floating-point operations as torch counts them (of products only), and wall-clock."""

    flops: int
    seconds: float


def forge(
    attack: Attack, known: Known, folder: Path, signer: note.Signer, challenge: Sequence[int] | None = None
) -> Spent:
    """Have an attack record a run in `folder`/run, the data it commits to in `folder`/batches, and return its cost."""
    began = perf_counter()
    with FlopCounterMode(display=False) as counted:
        attack.record(known, folder, signer, challenge)
    return Spent(counted.get_total_flops(), perf_counter() - began)


def write(
    attack: Attack,
    known: Known,
    folder: Path,
    signer: note.Signer,
    challenge: Sequence[int] | None = None,
    **settings: Any,
) -> None:
    """Have an attack forge one run through a fresh writer; `settings` are those of `Writer` that are not the usual."""
    torch.manual_seed(known.seed)
    trainer = Puppet(known.workload)
    usual = {"every": known.every, "seed": known.seed if attack.seeded else None, "background": False}
    with Writer(folder / "run", trainer, signer=signer, **{**usual, **settings}) as writer:
        attack.forge(known, trainer, Log(writer, known.workload, folder / "batches"), challenge)
