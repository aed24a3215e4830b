"""Write a new check, put it into a policy, and judge an honest run and a forged one with it.

    python examples/new_check.py runs

A check is a function that yields findings. What it is given says where a policy keeps it: an `Archive` (`of_archive`,
before anything is replayed), a `Case`, which adds the judge's own trainer (`of_case`), the `Evidence` of one replayed
segment (`of_segment`), or what all replays leave `Unexplained` (`of_whole`). One finding that failed rejects. To join
the package, such a check becomes a file in polarchive/verification/checks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import polarchive as pol
from polarchive.measures.detectors import spans
from polarchive.trust.keys import KeySigner, generate
from polarchive.verification.finding import Finding, Outcome, passed


@dataclass(frozen=True, slots=True)
class Steady:
    """Ask whether the weights went about as far in every segment, for its learning rate: of all states, at no replay.

    Found so: a jump between segments that the judge never replays. Not found: one in steps no longer than honest ones.
    """

    times: float = 8.0  # so much faster than at the median segment; training itself slows down as it goes on

    def __call__(self, archive: pol.Archive) -> Iterator[Finding]:
        """Report every span between stored states that is too fast; compared so that NaN fails."""
        found = list(spans(archive))
        usual = median([span.pace for span in found] or [0.0])
        fast = [span for span in found if not span.pace <= self.times * usual]
        for span in fast:
            message = f"the weights went {span.pace:.3g} per unit of learning rate, usual is {usual:.3g}"
            yield Finding(
                "steady", Outcome.FAILED, message, span.segments[0], None, None, span.pace, self.times * usual
            )
        if not fast:
            yield passed("steady", f"no segment is more than {self.times:g} times as fast as usual")


HASTY = pol.Policy(name="hasty", selection=pol.Sample(0), in_a_row=0)  # replays the first segment and the last
POLICIES = HASTY, replace(HASTY, name="hasty, steady", of_archive=(*HASTY.of_archive, Steady()))


# A training, and two who claim to have done it.


def batches(step: int) -> tuple[Tensor, Tensor]:
    """Return points of a square, and which of them lie in a ring."""
    points = torch.rand(32, 2, generator=torch.Generator().manual_seed(step)) * 4 - 2
    return points, ((points.norm(dim=1) - 1).abs() < 0.4).long()


def build(header: object, device: str) -> pol.TorchTrainer:
    """Make the update rule; whoever calls has set the seed."""
    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(fed: Iterable[tuple[Tensor, Tensor]]) -> None:
        for points, inside in fed:
            optimizer.zero_grad()
            F.cross_entropy(model(points), inside).backward()
            optimizer.step()

    return pol.TorchTrainer(step, model=model, optimizer=optimizer)


def record(run: Path, signer: KeySigner, seed: int, stolen: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Record a training of 60 steps, which goes on from a stolen state at half the way; return the last state."""
    torch.manual_seed(seed)
    trainer = build(None, "cpu")
    with pol.Writer(run, trainer, every=3, signer=signer, seed=seed) as log:
        for step in range(60):
            if stolen is not None and step == 30:
                trainer.load(stolen)
            log.record(batches(step))
            trainer.step([batches(step)])
    return trainer.save()


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Record both runs in FOLDER, and print what each policy makes of them."""
    folder.mkdir()
    signer = generate("prover.example")
    stolen = record(folder / "honest", signer, seed=1)
    record(folder / "forged", signer, seed=2, stolen=stolen)
    for name in ("honest", "forged"):
        secret = pol.read_secret(folder / name / "secret")
        with pol.open(folder / name, trusted=[signer.key]) as archive:
            for policy in POLICIES:
                verdict = pol.verify(archive, build, batches, policy=policy, secret=secret)
                said = (f" ({each.check}: segment {each.segment}: {each.message})" for each in verdict.reasons)
                click.echo(f"{name}, judged by {policy.name}: {verdict.result}{''.join(said)}")


if __name__ == "__main__":
    main()
