"""Measure what judging costs beside training: speed of replay, bytes read, and memory as proofs grow.

    python tools/bench_verification.py           # about six minutes on two cores; needs tools/cifar10.py first
    python tools/bench_verification.py --quick    # a small version of it
    python tools/bench_verification.py --device cuda

Plain training and replay take turns in one process, on the same data. Results go to
tools/results/verification.{json,md}.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import click
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polarchive as pol
from examples import cifar10
from polarchive.format.inspect import inspect
from polarchive.trust.keys import generate
from polarchive.verification import showing
from polarchive.verification.case import Case
from polarchive.verification.replay import replay
from polarchive.verification.selections import TopQ

RESULTS = Path(__file__).parent / "results"
SIGNER = generate("bench.example")
SEED = 0


@dataclass(frozen=True)
class Workload:
    """Hold the judge's code for a model, and how long its run is."""

    name: str
    build: Callable[[Any, str], pol.TorchTrainer]
    batches: Callable[[int], Any]
    every: int
    steps: int

    def trainer(self, device: str) -> pol.TorchTrainer:
        torch.manual_seed(SEED)
        return self.build(None, device)

    def record(self, folder: Path, device: str) -> Path:
        """Record an honest run and seal it."""
        trainer = self.trainer(device)
        with pol.Writer(folder, trainer, every=self.every, signer=SIGNER, seed=SEED) as log:
            for step in range(self.steps):
                batch = self.batches(step)
                log.record(batch)
                trainer.step([batch])
        pol.pack(folder, folder.with_suffix(".pol"))
        return folder.with_suffix(".pol")


@dataclass(frozen=True)
class Speed:
    """Hold what a step costs in plain training and in replay, in milliseconds, medians over segments."""

    workload: str
    every: int
    train_ms: float
    replay_ms: float
    ratio: float


def resnet(quick: bool) -> Workload:
    """Return ResNet-20 on CIFAR-10, batch 128."""
    return Workload("resnet20", cifar10.build, cifar10.batches, 5 if quick else 10, 20 if quick else 60)


def small(every: int = 100, steps: int = 1000) -> Workload:
    """Return a network whose steps take little more than launching them."""
    drawn = torch.Generator().manual_seed(SEED)
    x, y = torch.randn(64, 32, generator=drawn), torch.randint(10, (64,), generator=drawn)

    def build(header: object, device: str) -> pol.TorchTrainer:
        model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

        def step(batches: Any) -> None:
            for inputs, labels in batches:
                optimizer.zero_grad()
                F.cross_entropy(model(inputs.to(device)), labels.to(device)).backward()
                optimizer.step()

        return pol.TorchTrainer(step, model=model, optimizer=optimizer)

    return Workload("small", build, lambda step: (x, y), every, steps)


def speed(workload: Workload, device: str, folder: Path) -> Speed:
    """Let a plain loop and the replay of the same segments take turns."""
    path = workload.record(folder / workload.name, device)
    plain = workload.trainer(device)
    with pol.open(path, trusted=[SIGNER.key]) as archive:
        secret = pol.read_secret(path.with_suffix("") / "secret")
        case = Case.of(archive, workload.build, showing.of(archive, workload.batches, secret), device)
        pairs = [(_train(workload, plain, index), _replay(case, index)) for index in range(len(archive.segments))]
    counted = pairs[1:]  # the first warms up both
    train, again = (statistics.median(column) * 1000 / workload.every for column in zip(*counted, strict=True))
    return Speed(workload.name, workload.every, train, again, train / again)


def _train(workload: Workload, trainer: pol.TorchTrainer, index: int) -> float:
    start = time.perf_counter()
    for step in range(index * workload.every, (index + 1) * workload.every):
        trainer.step([workload.batches(step)])
    _wait()
    return time.perf_counter() - start


def _replay(case: Case, index: int) -> float:
    start = time.perf_counter()
    evidence = replay(case, index)
    _wait()
    assert evidence.refused is None and all(each.equal for each in evidence.distances.values())
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def read_by_top(device: str, folder: Path) -> dict[str, float]:
    """Count the bytes that a top-Q judge reads of an archive, by what it reads them for."""
    path = small(every=10, steps=2000).record(folder / "top", device)
    with ExitStack() as stack:
        before = _read()
        archive = stack.enter_context(pol.open(path, trusted=[SIGNER.key]))
        opened = _read()
        chosen = TopQ(5)(archive, bytes(32))
        selected = _read()
        for index in chosen:
            archive.state(index), archive.state(index + 1)
        states = _read()
        stored = inspect(path).sizes["state"]
    return {
        "segments": len(archive.segments),
        "stored_bytes": stored,
        "to_open": opened - before,
        "to_select": selected - opened,
        "to_replay": states - selected,
        "to_select_over_stored": (selected - opened) / stored,
    }


def _read() -> int:
    """Return how many bytes this process has read so far."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def memory(device: str, folder: Path, lengths: list[int]) -> Iterator[dict[str, float]]:
    """Judge proofs of several lengths, each in a process of its own, and yield the memory it took at most."""
    for length in lengths:
        path = small(every=2, steps=2 * length).record(folder / f"of-{length}", device)
        command = [sys.executable, str(Path(__file__).resolve()), "--peak", str(path), "--device", device]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        yield {"segments": length, "archive_bytes": path.stat().st_size, "peak_mib": float(told)}


def peak(path: Path, device: str) -> float:
    """Return how much memory, in MiB, judging an archive takes at most beyond what the process had before."""
    workload = small()
    workload.trainer(device).step([workload.batches(0)])  # what is loaded once is not what grows
    Path("/proc/self/clear_refs").write_text("5")  # begins the high-water mark anew
    before = _resident()
    with pol.open(path, trusted=None) as archive:
        secret = pol.read_secret(path.with_suffix("") / "secret")
        verdict = pol.verify(archive, workload.build, workload.batches, secret=secret, device=device)
    assert verdict.judged
    return _resident() - before


def _resident() -> float:
    """Return the most memory, in MiB, that was resident at once."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def markdown(found: dict[str, Any]) -> str:
    where = f"torch {found['torch']}, device {found['device']}, {found['threads']} threads"
    top = found["top"]
    selected = f"{top['to_select']:,} to select ({top['to_select_over_stored']:.2f} of the {top['stored_bytes']:,}"
    return "\n".join(
        [
            "# What judging costs",
            "",
            f"{found['date']}; {found['machine']}; {where}. Made by `python tools/bench_verification.py`.",
            "Replay on one worker, every batch and state checked, and the plain training loop take turns.",
            "",
            "| workload | every | train ms/step | replay ms/step | ratio |",
            "|---|---|---|---|---|",
            *(_row(row) for row in found["speed"]),
            "",
            f"Top-Q (5 of {top['segments']} segments): {top['to_open']:,} bytes read to open, {selected}",
            "that the states take: lengths are measured, so each state is read once),",
            f"{top['to_replay']:,} for the states that replay needs.",
            "",
            "| segments | archive bytes | memory beyond the start, MiB |",
            "|---|---|---|",
            *(f"| {row['segments']} | {row['archive_bytes']:,} | {row['peak_mib']:.1f} |" for row in found["memory"]),
            "",
        ]
    )


def _row(row: dict[str, Any]) -> str:
    numbers = f"{row['train_ms']:.3g} | {row['replay_ms']:.3g} | {row['ratio']:.2f}"
    return f"| {row['workload']} | {row['every']} | {numbers} |"


@click.command()
@click.option("--device", default="cpu")
@click.option("--quick", is_flag=True)
@click.option("--peak", "path", type=click.Path(path_type=Path), hidden=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), default=RESULTS)
def main(device: str, quick: bool, path: Path | None, out: Path) -> None:
    if path is not None:
        print(peak(path, device))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "device": torch.cuda.get_device_name() if device == "cuda" else device,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "speed": [asdict(speed(workload, device, folder)) for workload in (resnet(quick), small())],
            "top": read_by_top(device, folder),
            "memory": list(memory(device, folder, [50, 200] if quick else [100, 400, 1600])),
        }
    out.mkdir(exist_ok=True)
    (out / "verification.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "verification.md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
