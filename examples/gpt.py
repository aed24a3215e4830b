"""Train a small GPT on the Gettysburg Address and record the run; the judge holds every step to the schedule.

    polarc keygen ada.example -o ada
    python examples/gpt.py run --key ada.key
    polarc pack run -o run.pol

The judge runs the same file: `build` makes the update rule, with the `schedule` that it was to follow, and `batches`
gives the data of a step. AdamW warms up and follows a cosine, gradients are clipped, and dropout draws from the seed
that `log.record` gives each step.

    polarc verify run.pol --key ada.pub --trainer examples/gpt.py:build \\
        --batches examples/gpt.py:batches --secret run/secret

Whoever trained at another rate than was agreed is found out, though every step of the run replays:

    python examples/gpt.py hasty --key ada.key --rate 0.02
    polarc verify hasty --key ada.pub --trainer examples/gpt.py:build \\
        --batches examples/gpt.py:batches --secret hasty/secret
"""

import math
from collections.abc import Iterable
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import polarchive as pol

TEXT = """\
Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in Liberty, and \
dedicated to the proposition that all men are created equal.
Now we are engaged in a great civil war, testing whether that nation, or any nation so conceived and so dedicated, can \
long endure. We are met on a great battle-field of that war. We have come to dedicate a portion of that field, as a \
final resting place for those who here gave their lives that that nation might live. It is altogether fitting and \
proper that we should do this.
"""
LETTERS = sorted(set(TEXT))
SEED, STEPS, EVERY = 0, 120, 10
WINDOWS, LENGTH, WIDTH, HEADS, LAYERS = 16, 48, 64, 4, 2
RATE, WARM_UP = 6e-3, 20


# The model: attention over what came before, then two layers, in each of two blocks (Radford et al. 2019).


class Block(nn.Module):
    """Adds causal attention and then a small network to what it is given, each of it normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.attend, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.think = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norms[0](x))
        result: Tensor = x + self.think(self.norms[1](x))
        return result

    def attention(self, x: Tensor) -> Tensor:
        """Mix in, at each place, what stands at it and before."""
        queries, keys, values = self.attend(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        result: Tensor = self.project(mixed.transpose(1, 2).flatten(-2))
        return result


class GPT(nn.Module):
    """Maps letters (n, length) to logits of the letter that comes next (n, length, letters)."""

    def __init__(self) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(len(LETTERS), WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH))
        self.head = nn.Linear(WIDTH, len(LETTERS), bias=False)
        self.head.weight = self.letters.weight  # tied tensors are recorded once
        for table in (self.letters, self.places):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, letters: Tensor) -> Tensor:
        places = torch.arange(letters.shape[1], device=letters.device)
        logits: Tensor = self.head(self.blocks(self.letters(letters) + self.places(places)))
        return logits


# The data: windows of the text, drawn for each step.


def batches(step: int) -> Tensor:
    """Return windows of the text as numbers of letters, one more than the model sees: shape (16, 49), uint8."""
    numbers = torch.tensor([LETTERS.index(letter) for letter in TEXT], dtype=torch.uint8)
    windows = numbers.unfold(0, LENGTH + 1, 1)
    return windows[torch.randint(len(windows), (WINDOWS,), generator=torch.Generator().manual_seed(step))]


# The update, and the settings that each step is to have.


def update(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor) -> Tensor:
    """Take one step on one batch and return the loss: the body of the training loop."""
    letters = batch.long().to(next(model.parameters()).device)
    loss = F.cross_entropy(model(letters[:, :-1]).flatten(0, 1), letters[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def share(step: int) -> float:
    """Return what part of the full rate a step has: a line up, then a half cosine down to a tenth."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return 0.55 + 0.45 * math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP))


def prepare(device: str | torch.device, rate: float = RATE) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Make the model and its optimizer; only matrices decay."""
    model = GPT().to(device)
    matrices, others = ([p for p in model.parameters() if (p.ndim > 1) is wide] for wide in (True, False))
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return model, torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))


def build(header: object, device: str | torch.device) -> pol.TorchTrainer:
    """Give the judge the update rule and the schedule; the judge sets the seed before calling."""
    model, optimizer = prepare(device)

    def step(fed: Iterable[Tensor]) -> None:
        for batch in fed:
            update(model, optimizer, batch)

    fixed = pol.TorchTrainer(optimizer=optimizer, model=model).hyper()

    def schedule(at: int) -> pol.Hyper:
        return {name: RATE * share(at) if name.endswith("/lr") else value for name, value in fixed.items()}

    return pol.TorchTrainer(step, schedule=schedule, model=model, optimizer=optimizer)


# The run.


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(exists=True), help="The signing key, from `polarc keygen`.")
@click.option("--rate", default=RATE, show_default=True, help="The full learning rate.")
def main(run: Path, key: str, rate: float) -> None:
    """Train on the text and record the run in the directory RUN."""
    torch.manual_seed(SEED)
    model, optimizer = prepare("cpu", rate)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    trainer = pol.TorchTrainer(model=model, optimizer=optimizer)
    loss = torch.tensor(float("nan"))
    with pol.Writer(run, trainer, every=EVERY, signer=pol.load_signer(key), seed=SEED) as log:
        for step in range(STEPS):
            batch = batches(step)
            log.record(batch)
            loss = update(model, optimizer, batch)
            scheduler.step()
    click.echo(f"recorded {STEPS} steps in {run}, last loss {loss:.3f}")


if __name__ == "__main__":
    main()
