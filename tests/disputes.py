"""Act out disputes: real runs of a small model by a victim and by thieves, stamped when the scenario says."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

import polarchive as pol
from polarchive.attacks.puppet import of_model
from polarchive.format import attach, stamp
from polarchive.format.archive import open_archive
from polarchive.measures.symmetry import Group, absorbed, consumed, normalised, produced
from polarchive.trust.trust import Authority as Believed
from polarchive.trust.trust import Trust
from polarchive.verification import report
from tests.authority import Authority, hours
from tests.simulator import PROVER, STRANGER
from tests.workloads import CONVNET, RUN, SEED, Batch

AUTHORITY: Final = Authority()
OWN: Final = Authority("thief.example")  # which nobody but the thief believes
OTHER_RUN: Final = bytes(16)
END: Final = 5  # the size of the last head: header, three segments, end
GROWING: Final = {1: 0.0, 2: 1.0, 3: 2.0, END: 3.0}  # hours at which the heads of these sizes were stamped

Hours = Mapping[int, float]
State = dict[str, Tensor]
Change = Callable[[State], State]


@cache
def trust() -> Trust:
    """Return whom the judge believes: both parties' keys, and one authority."""
    return Trust((PROVER.key, STRANGER.key), (Believed("authority", (AUTHORITY.root,)),))


def victim(folder: Path) -> Path:
    """Record the run that all others are about."""
    return CONVNET.record(folder)


def copy(folder: Path) -> Path:
    """Record the victim's run again, state by state, under the thief's key."""
    return CONVNET.record(folder, signer=STRANGER)


def rewritten(folder: Path) -> Path:
    """Record another run under the victim's key and run id."""
    return _recorded(folder, _fresh(SEED), signer=PROVER, run=RUN)


def independent(folder: Path) -> Path:
    """Record an honest run from another seed."""
    return _recorded(folder, _fresh(SEED + 1), seed=SEED + 1)


def jump(folder: Path, victim: Path, change: Change = dict) -> Path:
    """Train cheaply, then record the victim's last weights as if the last steps had led there."""
    stolen = of_model(last(victim))
    return _recorded(folder, _fresh(SEED + 1), change(stolen), seed=SEED + 1)


def permuted(folder: Path, victim: Path) -> Path:
    """Jump to the victim's weights with their channels in another order."""
    order = torch.arange(8).flip(0)
    return jump(folder, victim, lambda state: symmetries(None)[0].permute(state, order))


def tuned(folder: Path, victim: Path) -> Path:
    """Train on from the victim's last state, and leave it unexplained."""
    trainer = CONVNET.trainer()
    trainer.load(last(victim))
    return _recorded(folder, trainer, seed=None)


def _fresh(seed: int) -> pol.TorchTrainer:
    torch.manual_seed(seed)
    return CONVNET.build(None, "cpu")


def _recorded(folder: Path, trainer: pol.TorchTrainer, end: State | None = None, **settings: Any) -> Path:
    """Record a run on other data than the victim's, which may end elsewhere than training led."""
    with CONVNET.writer(folder, trainer, **{"signer": STRANGER, "run": OTHER_RUN, **settings}) as log:
        for step in range(CONVNET.steps):
            batch = other_batches(step)
            log.record(batch)
            trainer.step([batch])
        trainer.load({**trainer.save(), **(end or {})})
    return folder


def other_batches(step: int) -> Batch:
    """Show the data of every run but the victim's and its copies."""
    return CONVNET.batches(step + 100)


def symmetries(header: object) -> list[Group]:
    """Name what may be permuted and scaled in the model of these runs."""
    first = (*produced("model/conv1"), *normalised("model/bn1"), consumed("model/conv2"))
    second = (*produced("model/conv2"), *normalised("model/bn2"), consumed("model/linear"))
    return [Group(first), *absorbed("model/conv1", "model/bn1"), Group(second), *absorbed("model/conv2", "model/bn2")]


def last(run: Path) -> State:
    """Return the last state of a run."""
    with open_archive(run, trusted=None) as archive:
        return pol.to_tensors(archive.state(-1))


def sealed(run: Path, target: Path, at: Hours, authority: Authority = AUTHORITY) -> Path:
    """Seal a run, with stamps of an authority over the heads of some sizes."""
    pol.pack(run, target)
    with open_archive(target, trusted=None) as archive:
        notes = {head.size: note for head, note in zip(archive.heads, archive.notes, strict=True)}
    for size, when in at.items():
        attach.attach_stamp(target, size, authority.at(hours(when)).over(stamp.covered(notes[size])))
    return target


def judged(archive: Path, run: Path, target: Path) -> Path:
    """Replay an archive and write the report as `polarc verify --json` does."""
    with open_archive(archive, trusted=trust().keys) as opened:
        batches = CONVNET.batches if run.name in ("victim", "copy") else other_batches
        found = pol.verify(opened, CONVNET.build, batches, secret=pol.read_secret(run / "secret"), trust=trust())
    target.write_text(json.dumps(report.as_json(found)))
    return target
