"""Forge a proof without training: walk in a straight line from a fresh model to a stolen one.

    python examples/forge_interpolation.py VICTIM.pol FORGED --key thief.key

The forger has the victim's archive, the training code published with it, and the public data. He records with
the writer that honest provers use: his run is well formed, starts from an explained state, commits to genuine
batches and ends in the victim's model. Only replaying its steps tells it from training.
"""

import runpy
from collections.abc import Iterable
from pathlib import Path

import click
import torch
from torch import Tensor

import polarchive as pol

State = dict[str, Tensor]

PUBLISHED = Path(__file__).with_name("cifar10.py")
SEED = 1


class Interpolation:
    """Poses as a trainer whose every step moves the same distance toward the stolen state."""

    def __init__(self, honest: pol.Trainer, stolen: State, steps: int) -> None:
        self.honest = honest
        self.fresh = honest.save()
        self.stolen = stolen
        self.steps = steps
        self.taken = 0

    def save(self) -> State:
        """Return the state on the line; the first is the fresh one, which has no momentum yet."""
        if self.taken == 0:
            return {name: tensor.clone() for name, tensor in self.fresh.items()}
        share = self.taken / self.steps
        return {name: between(self.fresh.get(name), end, share) for name, end in self.stolen.items()}

    def load(self, state: State) -> None:
        """Refuse: there is no training to resume."""
        raise NotImplementedError("an interpolation cannot be resumed")

    def hyper(self) -> pol.Hyper:
        """Claim the settings of the published optimizer."""
        return self.honest.hyper()

    def impose(self, hyper: pol.Hyper) -> None:
        """Take over settings that change nothing."""
        self.honest.impose(hyper)

    def step(self, batches: Iterable[object]) -> None:
        """Move on without a look at the data."""
        self.taken += 1


def between(start: Tensor | None, end: Tensor, share: float) -> Tensor:
    """Return the tensor a share of the way from start (zeros when absent) to end."""
    first = torch.zeros_like(end) if start is None else start
    mixed = torch.lerp(first.double(), end.double(), share)
    return (mixed if end.is_floating_point() else mixed.round()).to(end.dtype)


def stolen_state(victim: Path) -> State:
    """Take the final state out of the victim's archive."""
    with pol.open(victim, trusted=None) as archive:
        return pol.to_tensors(archive.state(-1))


def claimed_length(victim: Path) -> tuple[int, int]:
    """Return how many steps the victim's archive has, and how many there are between two recorded states."""
    with pol.open(victim, trusted=None) as archive:
        return archive.end.steps, archive.header.every


@click.command()
@click.argument("victim", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(exists=True), help="The forger's own signing key.")
def main(victim: Path, run: Path, key: str) -> None:
    """Record in the directory RUN a run that seems to have trained the model in VICTIM."""
    published = runpy.run_path(str(PUBLISHED))
    steps, every = claimed_length(victim)
    torch.manual_seed(SEED)
    forger = Interpolation(published["build"](None, "cpu"), stolen_state(victim), steps)
    with pol.Writer(run, forger, every=every, signer=pol.load_signer(key), seed=SEED) as log:
        for step in range(steps):
            batch = published["batches"](step)
            log.record(batch)
            forger.step([batch])
    click.echo(f"forged {steps} steps in {run}")


if __name__ == "__main__":
    main()
