"""Check that judging works on a GPU, and measure how much faster than training it is there, in one call.

    python tools/check_gpu.py                         # on the first GPU
    python tools/check_gpu.py --device cpu --quick    # a dry run of it all, where there is none

ResNet-20 on random images, batch 128, at the rate of a warm-up, where a few steps do not yet amplify rounding. Every
check and every way to replay is tried though others fail; the exit status is 1 if one did. Results go to
tools/results/gpu.{json,md}.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polarchive as pol
from polarchive.training.stack import describe
from polarchive.verification.case import Build
from tools.gpu_checks import ALONE, AS_GRAPHS, AS_IT_IS, line, tried
from tools.gpu_scene import FULL, QUICK, Scene, eager, graphed

RESULTS = Path(__file__).parent / "results"


# What is measured: how long the whole run takes, in training and in each way to judge it.


def train(scene: Scene) -> float:
    """Return how many seconds plain training takes, on a trainer that is warm."""
    trainer = scene.trainer()
    trainer.step([scene.batches(0)])
    _wait(scene.device)
    start = time.perf_counter()
    for step in range(scene.size.steps):
        trainer.step([scene.batches(step)])
    _wait(scene.device)
    return time.perf_counter() - start


def replay(scene: Scene, build: Build, pool: pol.Pool | None) -> float:
    """Return how many seconds it takes to replay and compare all segments."""
    told: list[float] = []
    verdict = scene.judge(build, policy=ALONE, executor=pool, progress=lambda *_: told.append(time.perf_counter()))
    assert verdict.result == "accepted" and len(verdict.judged) == scene.size.segments
    return told[-1] - told[0]


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def measured(scene: Scene) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what checks found and how long replay takes: all of it as it is, then as graphs, which may break a GPU."""
    plain = _median(lambda: train(scene), scene)
    checks: list[dict[str, Any]] = []
    speed: list[dict[str, Any]] = [{"way": "plain training", "workers": 0, "seconds": plain, "factor": 1.0}]
    for way, build, own in (("eager", eager, AS_IT_IS), ("graphs", graphed, AS_GRAPHS)):
        checks += [tried(check, scene) for check in own]
        for count, pool in {0: None, **scene.pools}.items():
            speed.append({"way": way, "workers": count, **_timed(scene, build, pool, plain)})
    return checks, speed


def _timed(scene: Scene, build: Build, pool: pol.Pool | None, plain: float) -> dict[str, Any]:
    """Return how long a way takes, and how many times faster than training that is; or why it failed."""
    try:
        seconds = _median(lambda: replay(scene, build, pool), scene)
    except Exception as error:
        return {"seconds": None, "factor": None, "failed": line(error)}
    return {"seconds": seconds, "factor": plain / seconds}


def _median(measure: Callable[[], float], scene: Scene) -> float:
    """Return the median of several times, after one to warm up."""
    return statistics.median([measure() for _ in range(1 + scene.size.repeats)][1:])


def markdown(found: dict[str, Any]) -> str:
    size, where = found["size"], ", ".join(f"{name} {value}" for name, value in found["stack"].items())
    return "\n".join(
        [
            "# Judging on a GPU" if found["device"].startswith("cuda") else f"# Dry run on {found['device']}",
            "",
            f"{found['date']}; {found['machine']}; {where}. Made by `python tools/check_gpu.py`.",
            f"ResNet-20, batch {size['batch']}, {size['segments']} segments of {size['every']} steps.",
            "",
            "| check | | found |",
            "|---|---|---|",
            *(
                f"| {each['what']} | {'passed' if each['passed'] else 'FAILED'} | {each['found']} |"
                for each in found["checks"]
            ),
            "",
            f"The whole run, median of {size['repeats']}; replay checks every batch and state, from the first task on.",
            "",
            "| way | workers | seconds | times faster than training |",
            "|---|---|---|---|",
            *map(_row, found["speed"]),
            "",
        ]
    )


def _row(row: dict[str, Any]) -> str:
    numbers = row.get("failed") or f"{row['seconds']:.3g} | {row['factor']:.2f}"
    return f"| {row['way']} | {row['workers'] or 'none'} | {numbers} |"


def require(device: str) -> None:
    """Refuse a device that is not here, in one line."""
    kind, _, number = device.partition(":")
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= here:
        raise click.ClickException(f"there is no {device} here: --device cpu --quick is a dry run")


@click.command()
@click.option("--device", default="cuda", show_default=True)
@click.option("--quick", is_flag=True, help="A small version of it.")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=RESULTS)
def main(device: str, quick: bool, out: Path) -> None:
    """Check and measure judging on a GPU."""
    require(device)
    size = QUICK if quick else FULL
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        pools = {count: stack.enter_context(pol.Pool(count)) for count in size.workers}
        scene = Scene(size, device, Path(name), pools)
        scene.record("honest")
        checks, speed = measured(scene)
        found: dict[str, Any] = {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "device": device,
            "stack": describe([torch.device(device)]),
            "size": asdict(size),
            "checks": checks,
            "speed": speed,
        }
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "gpu.md").write_text(markdown(found))
    print(markdown(found))
    sys.exit(not all(each["passed"] for each in checks) or any("failed" in each for each in speed))


if __name__ == "__main__":
    main()
