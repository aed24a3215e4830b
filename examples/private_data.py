"""Prove a training on patients' records to a judge who is shown only those that the challenge draws.

The hospital commits to its records once, each under a salt, and trains. Which record a step used is public, for
everyone can count; what is in it is not. (Recorded states remember data: publish them as you would a model.)

    polarc keygen hospital.example -o hospital
    python examples/private_data.py train run --key hospital.key
    polarc pack run -o run.pol

The judge makes a key too, and sends judge.pub:

    polarc keygen judge.example -o judge

The hospital sends hospital.pub and run.pol, and waits, over TLS and for this judge alone; no authority stamped the run:

    polarc serve run --as hospital.key --judge judge.pub --port 8443 --unstamped \\
        --batches examples/private_data.py:batches

The judge runs `build` of this file; one of her own would do as well. She has none of the records.

    polarc verify run.pol --key hospital.pub --as judge.key --select sample:2 --ledger ledger \\
        --trainer examples/private_data.py:build --batches https://127.0.0.1:8443

The hospital can say whose records left it: each release is on record before it happens.

    python examples/private_data.py shown run
"""

import json
import secrets
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import polarchive as pol

Patients = tuple[Tensor, Tensor]

WARD, COMMITMENTS = Path("patients.pt"), Path("patients.commitments")
SEED, STEPS, EVERY = 0, 120, 5
PATIENTS, BATCH = 2000, 16


# The hospital's side: nobody else has these records, or can make them again.


@cache
def patients() -> Patients:
    """Return four measurements of each patient, as float32 of mean 0, and who came back; they are made up once."""
    if not WARD.exists():
        generator = torch.Generator().manual_seed(secrets.randbits(63))
        measured = torch.randn(PATIENTS, 4, generator=generator)
        risk = measured @ torch.tensor([1.0, 0.5, 1.5, 0.0]) + measured[:, 0] * measured[:, 2]
        returned = torch.rand(PATIENTS, generator=generator) < torch.sigmoid(2 * risk)
        torch.save((measured, returned.long()), WARD)
    measured, returned = torch.load(WARD, weights_only=True)
    return measured, returned


def batches(step: int, chosen: Tensor) -> Patients:
    """Return the records of these patients; only the hospital can."""
    measured, returned = patients()
    return measured[chosen], returned[chosen]


def rows(step: int) -> Tensor:
    """Return which patients a step uses: a fresh order in every epoch, of which the rest of a batch is dropped."""
    epoch, place = divmod(step, PATIENTS // BATCH)
    order = torch.randperm(PATIENTS, generator=torch.Generator().manual_seed(epoch))
    return order[place * BATCH : (place + 1) * BATCH]


# Both sides': the update rule.


def prepare(device: str | torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Make the model, which tells who will come back, and its optimizer."""
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2)).to(device)
    return model, torch.optim.Adam(model.parameters(), lr=0.01)


def update(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Patients) -> Tensor:
    """Take one step on one batch and return the loss: the body of the training loop."""
    measured, returned = (part.to(next(model.parameters()).device) for part in batch)
    loss = F.cross_entropy(model(measured), returned)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def build(header: object, device: str | torch.device) -> pol.TorchTrainer:
    """Give the judge the update rule; the judge sets the seed before calling."""
    model, optimizer = prepare(device)

    def step(fed: Iterable[Patients]) -> None:
        for batch in fed:
            update(model, optimizer, batch)

    return pol.TorchTrainer(step, model=model, optimizer=optimizer)


# What the hospital does.


@click.group()
def main() -> None:
    """Train on private records, and see who was shown."""


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(exists=True), help="The hospital's key, from `polarc keygen`.")
def train(run: Path, key: str) -> None:
    """Commit to the records, train on them, and record the run in the directory RUN."""
    data = pol.commit_dataset(patients(), COMMITMENTS)
    torch.manual_seed(SEED)
    model, optimizer = prepare("cpu")
    trainer = pol.TorchTrainer(model=model, optimizer=optimizer)
    loss = torch.tensor(float("nan"))
    with pol.Writer(run, trainer, every=EVERY, signer=pol.load_signer(key), seed=SEED, dataset=data) as log:
        for step in range(STEPS):
            chosen = rows(step)
            log.record(rows=chosen.tolist())
            loss = update(model, optimizer, batches(step, chosen))
    click.echo(f"recorded {STEPS} steps in {run}, last loss {loss:.3f}")


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
def shown(run: Path) -> None:
    """Say which patients' records a judge of RUN was shown."""
    facts = map(json.loads, run.with_name(f"{run.name}.releases.jsonl").read_text().splitlines())
    steps = {int(fact["part"].split("-")[1]) for fact in facts if fact["event"] == "released"}
    seen = {patient for step in steps for patient in rows(step).tolist()}
    click.echo(f"{len(seen)} of {PATIENTS} patients were shown, in {len(steps)} of {STEPS} steps")


if __name__ == "__main__":
    main()
