"""Measure what workers gain: segments replayed per second by one, by two and by more.

    python tools/bench_workers.py             # on CPU, each worker with one thread
    python tools/bench_workers.py --quick      # a small version of it
    python tools/bench_workers.py --device cuda --workers 1,2,4

ResNet-20 on random images, batch 128. Workers are processes, started and warm before anything is measured, and their
numbers take turns. A share of 2 for two workers would be perfect. Results go to tools/results/workers.{json,md}.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polarchive as pol
from examples import cifar10
from polarchive.trust.keys import generate
from polarchive.verification.pool import Pool

RESULTS = Path(__file__).parent / "results"
SIGNER = generate("bench.example")
SEED = 0


@dataclass(frozen=True)
class Size:
    """Say how long a run is, how large its batches are, and how often it is judged."""

    batch: int
    every: int
    segments: int
    repeats: int

    @property
    def steps(self) -> int:
        return self.every * self.segments


@dataclass(frozen=True)
class Speed:
    """Hold how many segments so many workers replay per second, the median, and that over one worker's."""

    workers: int
    segments_per_second: float
    share: float


def batches(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the images of a step, as many as the environment says, so that workers draw as many."""
    count, drawn = int(os.environ["BENCH_BATCH"]), torch.Generator().manual_seed(step)
    images = torch.randint(256, (count, 32, 32, 3), dtype=torch.uint8, generator=drawn)
    return images, torch.randint(10, (count,), generator=drawn)


def record(size: Size, folder: Path, device: str) -> Path:
    """Record an honest run."""
    torch.manual_seed(SEED)
    trainer = cifar10.build(None, device)
    with pol.Writer(folder, trainer, every=size.every, signer=SIGNER, seed=SEED) as log:
        for step in range(size.steps):
            batch = batches(step)
            log.record(batch)
            trainer.step([batch])
    return folder


def rate(folder: Path, pool: Pool, device: str) -> float:
    """Return how many segments were replayed per second, from the first task on."""
    told: list[float] = []
    with pol.open(folder, trusted=[SIGNER.key]) as archive:
        verdict = pol.verify(
            archive,
            cifar10.build,
            batches,
            policy=pol.Policy(in_a_row=0),
            secret=pol.read_secret(folder / "secret"),
            device=device,
            executor=pool,
            progress=lambda done, total: told.append(time.perf_counter()),
        )
    assert len(verdict.judged) == verdict.segments and not any(each.residual for each in verdict.judged)
    return verdict.segments / (told[-1] - told[0])


def speeds(folder: Path, workers: list[int], size: Size, device: str) -> list[Speed]:
    """Let pools take turns, once to warm up and then as often as asked."""
    with ExitStack() as stack:
        pools = [stack.enter_context(Pool(count)) for count in workers]
        turns = [[rate(folder, pool, device) for pool in pools] for _ in range(1 + size.repeats)]
    found = [statistics.median(column) for column in zip(*turns[1:], strict=True)]
    return [Speed(count, each, each / found[0]) for count, each in zip(workers, found, strict=True)]


def markdown(found: dict[str, Any]) -> str:
    size, where = found["size"], f"torch {found['torch']}, device {found['device']}, one thread per worker"
    return "\n".join(
        [
            "# What workers gain",
            "",
            f"{found['date']}; {found['machine']}; {where}. Made by `python tools/bench_workers.py`.",
            f"ResNet-20, batch {size['batch']}, {size['segments']} segments of {size['every']} steps,"
            f" median of {size['repeats']}.",
            "",
            "| workers | segments/s | over one worker |",
            "|---|---|---|",
            *(
                f"| {row['workers']} | {row['segments_per_second']:.3g} | {row['share']:.2f} |"
                for row in found["speed"]
            ),
            "",
        ]
    )


@click.command()
@click.option("--device", default="cpu")
@click.option("--workers", default="1,2", help="Numbers of workers, the first of which is what others are shares of.")
@click.option("--quick", is_flag=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), default=RESULTS)
def main(device: str, workers: str, quick: bool, out: Path) -> None:
    size = Size(8, 2, 4, 1) if quick else Size(128, 10, 16, 5)
    os.environ["BENCH_BATCH"] = str(size.batch)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = record(size, Path(name) / "run", device)
        found = {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
            "torch": torch.__version__,
            "size": asdict(size),
            "speed": [
                asdict(each) for each in speeds(folder, [int(each) for each in workers.split(",")], size, device)
            ],
        }
    out.mkdir(exist_ok=True)
    (out / "workers.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "workers.md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
