"""Measure what recording costs a training run, beside what people save with today, in one run on one machine.

    python tools/bench_recording.py            # about six minutes on two cores; needs tools/cifar10.py first
    python tools/bench_recording.py --quick    # a small version of it
    python tools/bench_recording.py --device cuda

Blocked is the time the training loop waits in the call; CPU is what all processes used, less plain training. Results go
to tools/results/recording.{json,md}.
"""

import hashlib
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polarchive as pol
from examples import cifar10
from polarchive.format import merkle
from polarchive.format.commitment import Salts, commit
from polarchive.training.batches import to_batch
from polarchive.trust.keys import generate

RESULTS = Path(__file__).parent / "results"
WARM_UP = 4  # steps that are not counted
Step = Callable[[Any], object]
Save = Callable[[int, Any], object]


@dataclass(frozen=True)
class Row:
    """Hold what one way of saving cost per step, in milliseconds."""

    workload: str
    way: str
    every: int
    step_ms: float
    blocked_ms: float
    blocked_worst_ms: float
    blocked_percent: float
    cpu_ms: float


@dataclass(frozen=True)
class Workload:
    """Hold a model in training and its batches."""

    name: str
    parts: dict[str, Any]
    step: Step
    batch: Callable[[int], Any]
    steps: int


# The ways of saving. Each is a context that gives what is called before every step.


@contextmanager
def plain(workload: Workload, folder: Path, every: int) -> Iterator[Save]:
    yield lambda step, batch: None


@contextmanager
def torch_save(workload: Workload, folder: Path, every: int) -> Iterator[Save]:
    def save(step: int, batch: Any) -> None:
        if step % every == 0:
            path = folder / f"{step}.pt"
            with path.open("wb") as file:
                torch.save(states(workload), file)
                file.flush()
                os.fsync(file.fileno())

    yield save


@contextmanager
def dcp_sync(workload: Workload, folder: Path, every: int) -> Iterator[Save]:
    with group():
        yield lambda step, batch: step % every or dcp.save(states(workload), checkpoint_id=folder / f"{step}")


@contextmanager
def dcp_async(workload: Workload, folder: Path, every: int) -> Iterator[Save]:
    pending: list[Any] = []

    def save(step: int, batch: Any) -> None:
        if step % every == 0:
            for future in pending:
                future.result()
            pending[:] = [dcp.async_save(states(workload), checkpoint_id=folder / f"{step}")]

    with group():
        yield save
        for future in pending:
            future.result()


@contextmanager
def recorded(workload: Workload, folder: Path, every: int) -> Iterator[Save]:
    trainer = pol.TorchTrainer(**workload.parts)
    with pol.Writer(folder / "run", trainer, every=every, signer=generate("bench")) as log:
        yield lambda step, batch: log.record(batch)


@contextmanager
def indexed(workload: Workload, folder: Path, every: int) -> Iterator[Save]:
    trainer = pol.TorchTrainer(**workload.parts)
    rows = [torch.randint(4096, (len(workload.batch(0)[0]),)) for _ in range(64)]
    data = pol.commit_dataset(torch.rand(4096, 16), folder / "data")
    with pol.Writer(folder / "run", trainer, every=every, signer=generate("bench"), dataset=data) as log:
        yield lambda step, batch: log.record(rows=rows[step % 64])


def states(workload: Workload) -> dict[str, Any]:
    return {name: part.state_dict() for name, part in workload.parts.items()}


@contextmanager
def group() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


# The measurement.


def measured(workload: Workload, way: Any, every: int, baseline: Row | None = None) -> Row:
    """Train with one way of saving; the CPU time of processes that it waits for counts too."""
    blocked, taken = [], []
    before = cpu()
    with tempfile.TemporaryDirectory() as name:
        with way(workload, Path(name), every) as save:
            for step in range(workload.steps):
                batch = workload.batch(step)
                start = time.perf_counter()
                save(step, batch)
                between = time.perf_counter()
                workload.step(batch)
                blocked.append(between - start)
                taken.append(time.perf_counter() - between)
        used = 1e3 * (cpu() - before) / workload.steps
    blocked, taken = blocked[WARM_UP:], taken[WARM_UP:]
    step_ms = 1e3 * statistics.median(taken)
    mean = 1e3 * statistics.fmean(blocked)
    share = 100 * mean / (baseline.step_ms if baseline else step_ms)
    extra = used - baseline.cpu_ms if baseline else used
    return Row(workload.name, way.__name__, every, step_ms, mean, 1e3 * max(blocked), share, extra)


def cpu() -> float:
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def resnet(device: str, steps: int) -> Workload:
    torch.manual_seed(0)
    model, optimizer = cifar10.prepare(device)
    parts = {"model": model, "optimizer": optimizer}
    return Workload("resnet20", parts, lambda batch: cifar10.update(model, optimizer, batch), cifar10.batches, steps)


def small(device: str, steps: int) -> Workload:
    """Make a network whose step takes about two milliseconds, most of it in launching many small operations."""
    return network("small", [16, *[64] * 16, 10], 64, device, steps)


def wide(device: str, steps: int) -> Workload:
    """Make a network whose step takes about two milliseconds, most of it in arithmetic that empties the caches."""
    return network("wide", [16, 512, 512, 10], 256, device, steps)


def network(name: str, widths: list[int], batch: int, device: str, steps: int) -> Workload:
    torch.manual_seed(0)
    layers = [part for pair in pairwise(widths) for part in (nn.Linear(*pair), nn.ReLU())][:-1]
    model = nn.Sequential(*layers).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    batches = [(torch.rand(batch, 16), torch.randint(10, (batch,))) for _ in range(64)]

    def step(fed: tuple[Tensor, Tensor]) -> None:
        loss = F.cross_entropy(model(fed[0].to(device)), fed[1].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Workload(name, {"model": model, "optimizer": optimizer}, step, lambda n: batches[n % 64], steps)


def training(device: str, quick: bool) -> Iterator[Row]:
    steps = 12 if quick else 44
    for every in (1, 10):
        baseline = measured(resnet(device, steps), plain, every)
        yield baseline
        for way in (torch_save, dcp_sync, dcp_async, recorded):
            yield measured(resnet(device, steps), way, every, baseline)
    for make in (small, wide):
        baseline = measured(make(device, 50 * steps), plain, 100)
        yield baseline
        for way in (torch_save, indexed, recorded):
            yield measured(make(device, 50 * steps), way, 100, baseline)


def commitments(quick: bool) -> dict[str, float]:
    """Compare commitments with one bare SHA-256 over the same bytes, and count indexed records per minute."""
    images, labels = cifar10.dataset(cifar10.DATA)
    columns = to_batch((images[:1024], labels[:1024]))
    salts = Salts(bytes(32), bytes(16)).of(0, 0, 0, 1025)
    data = b"".join(bytes(column.data) for column in columns.columns.values())
    bare = best(lambda: hashlib.sha256(data).digest())
    fed = best(lambda: commit(columns, Salts(bytes(32), bytes(16)).of(0, 0, 0, 1025)))
    assert len(salts) == 1025 * 32
    return {
        "bytes_per_record": len(data) / 1024,
        "bare_sha256_us": 1e6 * bare / 1024,
        "fed_us": 1e6 * fed / 1024,
        "fed_of_bare": bare / fed,
        "indexed_records_per_minute": indexed_rate(1 << (15 if quick else 18)),
    }


def indexed_rate(records: int) -> float:
    """Return how many records a recorder commits to in a minute, rows and journal included."""
    from polarchive.format.tensors import Array
    from polarchive.recording.recorder import Recorder
    from polarchive.recording.snapshot import Arrays
    from polarchive.recording.start import Wanted, begin

    batch, signer, state = 256, generate("bench"), Arrays({"w": Array("F32", (1,), bytes(4))})
    rows = [torch.randint(4096, (batch,)).numpy() for _ in range(64)]
    with tempfile.TemporaryDirectory() as name:
        data = pol.commit_dataset(torch.rand(4096, 16), Path(name) / "data")
        begun = begin(Wanted(Path(name) / "run", signer.key, 100, 1, True, 1, data), resume=False)
        recorder = Recorder(begun.journal, begun.task, signer)
        recorder.open(header_of(signer, data, begun.task.run), state)
        start = time.perf_counter()
        for step in range(records // batch):
            if step and step % 100 == 0:
                recorder.segment(state, last=False)
            recorder.step({"lr": 0.1})
            recorder.rows(rows[step % 64])
        taken = time.perf_counter() - start
        recorder.stop()
    return 60 * (records // batch) * batch / taken


def header_of(signer: Any, data: pol.Dataset, run: bytes) -> pol.Header:
    from polarchive.format.entry import Commitment, Initial

    commitment = Commitment("indexed", True, data.root, len(data))
    return pol.Header(
        run, signer.key, 100, 1, 1, data.schema, commitment, (), merkle.EMPTY, Initial("unexplained"), None, {}, {}
    )


def best(work: Callable[[], object], times: int = 30) -> float:
    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return min(once() for _ in range(times))


def markdown(found: dict[str, Any]) -> str:
    lines = [
        "# What recording costs",
        "",
        f"{found['date']}; {found['machine']}; torch {found['torch']}, device {found['device']}.",
        "Made by `python tools/bench_recording.py`. Blocked: how long the loop waits in the call, mean over all steps,",
        "as a share of a plain step. CPU: what all processes used per step, less plain training. `small` takes its",
        "time in launching small operations, `wide` in arithmetic that empties the caches.",
        "",
        "| workload | way | every | step ms | blocked ms | worst ms | blocked % | CPU ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["training"]:
        numbers = [row[name] for name in ("step_ms", "blocked_ms", "blocked_worst_ms", "blocked_percent", "cpu_ms")]
        lines.append(
            f"| {row['workload']} | {row['way']} | {row['every']} | " + " | ".join(f"{n:.3g}" for n in numbers) + " |"
        )
    told = found["commitments"]
    return "\n".join(
        [
            *lines,
            "",
            f"Fed mode, {told['bytes_per_record']:.0f} bytes a record: {told['fed_us']:.2f} µs a record, salts and tree"
            f" included, against {told['bare_sha256_us']:.2f} µs for one bare SHA-256 over the same bytes:"
            f" {told['fed_of_bare']:.2f} of its speed.",
            "",
            f"Indexed mode: {told['indexed_records_per_minute'] / 1e6:.1f} million records a minute, rows and journal"
            " included.",
            "",
        ]
    )


@click.command()
@click.option("--device", default="cpu", show_default=True)
@click.option("--quick", is_flag=True, help="A small version, to see that all of it works.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(device: str, quick: bool, out: Path) -> None:
    """Measure what recording costs."""
    rows = []
    for row in training(device, quick):
        rows.append(asdict(row))
        if sys.stderr.isatty():
            click.echo(f"{row.workload} {row.way} every {row.every}: blocked {row.blocked_percent:.2f} %", err=True)
    found = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "training": rows,
        "commitments": commitments(quick),
    }
    out.mkdir(parents=True, exist_ok=True)
    name = "recording" if device == "cpu" else f"recording_{device}"
    (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / f"{name}.md").write_text(markdown(found))
    click.echo(markdown(found))


if __name__ == "__main__":
    main()
