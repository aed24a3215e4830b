"""Write a new attack, and have every policy judge what it forges.

    python examples/new_attack.py contest

An attack is a frozen dataclass with one method. It knows what section III of the paper grants (`Known`), moves a real
trainer into any state that it likes, and records with the writer that honest provers use. It does not say whether it
succeeded: the contest trains a victim, has the attack forge a proof of the victim's model, and asks the judges. To
join the package, an attack becomes a file in polarchive/attacks and a line of its catalogue.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polarchive.attacks.attack import Attack
from polarchive.attacks.honest import Honest
from polarchive.attacks.known import Known
from polarchive.attacks.line import between
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.attacks.workload import Batch, Workload
from polarchive.contest.arena import Arena
from polarchive.contest.contest import contest
from polarchive.contest.judges import judges
from polarchive.contest.protocol import Protocol
from polarchive.contest.table import markdown


@dataclass(frozen=True, slots=True)
class Tow(Attack):
    """Train honestly on all data, and be towed to the victim's weights meanwhile: a little before each segment.

    Source: made up for this example. Assumes a judge who allows every segment the same error, however far training
    went in it. Expected: passes `jia2021_full` where the way, cut into segments, is below its δ; relative to what
    training did, the error grows as training slows down.
    """

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Take every step for real; before each segment but the first, move on a share of the way that is left."""
        for step in range(known.steps):
            if step and step % known.every == 0:
                left = known.segments - step // known.every + 1
                trainer.claim(between(trainer.weights(), known.weights, 1 / left))
            trainer.step([log.record(rows=known.rows(step))])
        trainer.claim(known.weights)


# A training to steal, small enough to wait for: whether a point lies inside a ring.


def ring(count: int = 512) -> Batch:
    """Draw points of a square, and say which lie on the ring."""
    points = torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) * 4 - 2
    return points, ((points.norm(dim=1) - 1).abs() < 0.4).long()


def model() -> nn.Module:
    """Make a network of three layers."""
    return nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))


def loss(network: nn.Module, batch: Batch) -> Tensor:
    """Return the loss on a batch."""
    return F.cross_entropy(network(batch[0]), batch[1])


def optimizer(parameters: object) -> torch.optim.Optimizer:
    """Make the optimizer."""
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)  # type: ignore[arg-type]


TRAINING = Workload("ring", model, optimizer, loss, ring(), batch=32, every=2, steps=96)
DELTA = 0.05  # of d_ref; the literature's 0.008 is for thousands of segments, of which a line needs 125 to pass


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Hold a contest in FOLDER, and print who passed whom and what it cost."""
    arena = Arena(folder, TRAINING, fraction=DELTA, drawn=3, top=1)
    arena.prepare()
    attacks = {"honest": Honest(), "tow": Tow()}
    matches = dict(contest(arena, attacks, judges(arena), [Protocol.COMMITTED]))
    click.echo("\n".join(markdown(matches)))


if __name__ == "__main__":
    main()
