"""Measure how small recorded states become and how fast, beside what else people use, in one run on one machine.

    python tools/bench_coding.py            # about eight minutes; needs tools/cifar10.py first, and the extra `bench`
    python tools/bench_coding.py --quick    # a small version of it, without ResNet-20

Every state is the whole of one: parameters, buffers, optimizer state. Whatever we code must come back bit for bit.
Times are the best of several, on one thread. Results go to tools/results/coding.{json,md}.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples import cifar10
from polarchive.format import delta
from polarchive.format.blob import Blob
from polarchive.format.delta import State
from tools import coding_peers as peers
from tools.coding_report import Row, markdown
from tools.coding_workloads import Pair, resnet, transformer

RESULTS = Path(__file__).parent / "results"
RATIOS = {
    "torch.save": peers.torch_save,
    "+ zstd-3": peers.torch_save_zstd,
    "ZipNN": peers.zipnn_alone,
    "ZipNN delta": peers.zipnn_delta,
    "pcodec": peers.pcodec,
}
TIMED = ("ZipNN", "ZipNN delta", "pcodec")


def measure(name: str, k: int, pairs: list[Pair], repeat: int) -> Row:
    """Return the mean of states that follow one another."""
    raw = sum(memoryview(array.data).nbytes for pair in pairs for array in pair.state.values())
    stored = {who: sum(len(code(pair)) for pair in pairs) for who, code in RATIOS.items()}
    stored["polarchive"] = sum(map(len, map(encode, pairs)))
    stored["entropy bound"] = sum(map(peers.bound, pairs))
    codes = {**{who: RATIOS[who] for who in TIMED}, "polarchive": lambda pair: list(streams(pair))}
    times = [fastest([lambda code=code, pair=pair: code(pair) for code in codes.values()], repeat) for pair in pairs]
    with tempfile.TemporaryDirectory() as folder:
        back = sum(decode(pair, Path(folder) / "state.coded", repeat) for pair in pairs)
    encoded = {who: raw / 1e6 / sum(each) for who, each in zip(codes, zip(*times, strict=True), strict=True)}
    ratios = {who: raw / size for who, size in stored.items()}
    return Row(name, k, raw / 1e6 / len(pairs), ratios, encoded, raw / 1e6 / back)


def fastest(codes: Iterable[Callable[[], Any]], repeat: int) -> list[float]:
    """Return the least time of each, all of them in turn."""
    found = [float("inf") for _ in codes]
    for _ in range(repeat):
        for index, code in enumerate(codes):
            start = time.perf_counter()
            code()
            found[index] = min(found[index], time.perf_counter() - start)
    return found


def streams(pair: Pair) -> Iterator[Any]:
    return delta.encode(pair.state, pair.base, 0, pair.hyper)


def encode(pair: Pair) -> bytes:
    return b"".join(streams(pair))


def decode(pair: Pair, path: Path, repeat: int) -> float:
    """Return how long a state takes to come back, or raise AssertionError if another one comes."""
    path.write_bytes(encode(pair))
    blob = Blob.of(path)
    with blob.file:
        found = delta.decode(blob, pair.base, 1 << 40)
        assert plain(found) == plain(pair.state), f"{pair.name}, k = {pair.k}: another state came back"
        return fastest([lambda: delta.decode(blob, pair.base, 1 << 40)], repeat)[0]


def plain(state: State) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (array.dtype, array.shape, bytes(array.data)) for name, array in state.items()}


def workloads(quick: bool, data: Path) -> Iterator[Pair]:
    """Yield pairs of states: of small models after little training, or of those that the report is about."""
    if quick:
        for kind in ("fp32", "bf16", "bf16 + fp32 master"):
            yield from transformer(kind, 32, 1, 3, (1, 2))
        return
    yield from resnet(data, 100, (1, 10, 50))
    for kind in ("fp32", "bf16", "bf16 + fp32 master"):
        yield from transformer(kind, 192, 4, 100, (1, 10))


@click.command()
@click.option("--quick", is_flag=True, help="A small version, to see that all of it works.")
@click.option("--data", type=click.Path(path_type=Path), default=cifar10.DATA, help="Where CIFAR-10 lies.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(quick: bool, data: Path, out: Path) -> None:
    """Measure how small states become."""
    rows = []
    for (name, k), pairs in groupby(workloads(quick, data), key=lambda pair: (pair.name, pair.k)):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        rows.append(measure(name, k, list(pairs), 2 if quick else 9))
        torch.set_num_threads(threads)
        if sys.stderr.isatty():
            click.echo(f"{name}, k = {k}: {rows[-1].ratios['polarchive']:.3f}", err=True)
    found = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "coding.json").write_text(json.dumps({**found, "states": [asdict(row) for row in rows]}, indent=1) + "\n")
    (out / "coding.md").write_text(markdown(found, rows))
    click.echo(markdown(found, rows))


if __name__ == "__main__":
    main()
