"""Count honest segments that a calibrated judge rejects: ResNet-20 on CIFAR-10, recorded otherwise than it is judged.

    python tools/false_rejections.py           # about twelve minutes on two cores; needs tools/cifar10.py first
    python tools/false_rejections.py --quick   # a few segments, to see that all of it works

One honest run is recorded and calibrates the judge. Others, from other seeds, on other data and under other numerics,
are judged by it. What is done is kept in --folder, so that a run that was broken off goes on. Results go to
tools/results/false_rejections.{json,md}.
"""

import json
import os
import platform
import random
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import click

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch loads: threads outnumber the cores here

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import polarchive as pol
from examples import cifar10
from polarchive.measures.laws import clopper_pearson, conformal
from polarchive.trust.keys import KeySigner, generate, load_signer, save
from polarchive.verification import calibrationfile, calibrationreport, showing
from polarchive.verification.calibrate import calibration
from polarchive.verification.calibration import Calibration, score
from polarchive.verification.case import Case
from polarchive.verification.fitted import Calibrated, JointAsCalibrated, scales_of
from polarchive.verification.noise import Measurement, Source, drawn, measure
from polarchive.verification.numerics import Numerics
from polarchive.verification.reference import Reference

RESULTS: Final = Path(__file__).parent / "results"
RECORDS, WARM_UP, APART = 32, 40, 1000  # of a step; steps to the full learning rate; steps between the data of runs
EVERY: Final = 2
TAU, TAU_PER_STEP, MARGIN = 0.95, 0.75, 3.0
MARGINS: Final = (1.0, 2.0, 3.0, 5.0, 10.0)
USUAL: Final = Numerics(threads=1)
CALIBRATED: Final = (
    Numerics(threads=2),
    Numerics(threads=4),
    Numerics(onednn=False),
    Numerics(threads=4, onednn=False),
)
PROVERS: Final = (Numerics(threads=2), Numerics(threads=3), Numerics(onednn=False), Numerics(threads=4, onednn=False))


@dataclass(frozen=True)
class Run:
    """Hold one honest run: its seed decides the first weights and which data it sees."""

    seed: int
    segments: int
    folder: Path
    signer: KeySigner

    @property
    def path(self) -> Path:
        return self.folder / f"run{self.seed}"

    def batch(self, step: int) -> cifar10.Batch:
        images, labels = cifar10.batches(step + APART * self.seed)
        return images[:RECORDS], labels[:RECORDS]

    def record(self, numerics: Numerics) -> None:
        """Train and record, unless that was done already."""
        sealed = self.path.with_suffix(".pol")
        if sealed.exists():
            return
        shutil.rmtree(self.path, ignore_errors=True)  # what was broken off
        torch.manual_seed(self.seed)
        model, optimizer = cifar10.prepare("cpu")
        trainer = pol.TorchTrainer(model=model, optimizer=optimizer)
        settings = {"every": EVERY, "signer": self.signer, "seed": self.seed, "run": bytes(15) + bytes([self.seed])}
        with numerics.within(), pol.Writer(self.path, trainer, **settings) as log:
            for step in shown(range(EVERY * self.segments), f"recording run {self.seed} with {numerics}"):
                optimizer.param_groups[0]["lr"] = 0.1 * min(1.0, (step + 1) / WARM_UP)
                log.record(self.batch(step))
                cifar10.update(model, optimizer, self.batch(step))
        pol.pack(self.path, sealed)

    def open(self) -> pol.Archive:
        return pol.open(self.path.with_suffix(".pol"), trusted=[self.signer.key])

    @property
    def secret(self) -> bytes:
        return pol.read_secret(self.path / "secret")


def measured(run: Run, sample: int) -> Measurement:
    """Measure the noise of one run."""
    with run.open() as archive, USUAL.within():
        case = Case.of(archive, cifar10.build, showing.of(archive, run.batch, run.secret), "cpu")
        sources = [Source(str(each), case, each) for each in CALIBRATED]
        return measure(case, drawn(archive, sample), sources, progress("measuring noise in segment"))


def calibrated(run: Run, sample: int, tau: float) -> tuple[Calibration, dict[str, Any]]:
    """Calibrate on a run, and count how often one of the judge's own replays is within what the others allow."""
    kept, counted = run.folder / "calibration.json", run.folder / "per_step.json"
    if not counted.exists():
        found = measured(run, sample)
        with run.open() as archive:
            calibrationfile.save(calibration(found, archive, "cpu", tau, MARGIN, Reference.of([archive])), kept)
        counted.write_text(json.dumps(per_step(found)))
    return calibrationfile.load(kept), json.loads(counted.read_text())


def per_step(found: Measurement) -> dict[str, Any]:
    """Let one replay of each segment, drawn at random, be the claim: it is exchangeable with the others by design."""
    draws, within, segments = random.Random(0), 0, sorted({noise.segment for noise in found.noises})
    for segment in segments:
        outcomes = [noise.errors for noise in found.noises if (noise.segment, noise.steps) == (segment, EVERY)]
        claimed, *own = draws.sample(outcomes, len(outcomes))
        scales = scales_of((claimed, *own))
        within += score(claimed, scales) <= conformal([score(each, scales) for each in own], TAU_PER_STEP)
    return rate(within, len(segments))


def judged(run: Run, numerics: Numerics, limits: Calibration) -> dict[str, Any]:
    """Record a run and judge it."""
    run.record(numerics)
    kept = run.folder / f"verdict{run.seed}.json"
    if not kept.exists():
        policy = pol.Policy(threshold=Calibrated(limits), of_whole=(JointAsCalibrated(limits),))
        with run.open() as archive, USUAL.within():
            verdict = pol.verify(
                archive,
                cifar10.build,
                run.batch,
                secret=run.secret,
                policy=policy,
                progress=progress(f"judging run {run.seed}, segment"),
            )
        kept.write_text(json.dumps(row(numerics, verdict, limits)))
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def row(numerics: Numerics, verdict: pol.Verdict, limits: Calibration) -> dict[str, Any]:
    """Return what a verdict says of each segment: how many times the unwidened limits its errors are."""
    assert verdict.unexplained is not None
    return {
        "recorded_with": str(numerics),
        "verdict": verdict.result,
        "reasons": [finding.message for finding in verdict.reasons],
        "segments": [multiple(each.errors, limits, EVERY) for each in verdict.judged],
        "pairs": [multiple(each.errors, limits, 2 * EVERY) for each in verdict.pairs],
        "unexplained": {"toward": verdict.unexplained.toward, "total": verdict.unexplained.total},
        "allowed": dict(
            zip(
                ("toward", "total"),
                limits.displacement(verdict.unexplained.segments, verdict.unexplained.distance),
                strict=True,
            )
        ),
    }


def multiple(errors: Mapping[str, float], limits: Calibration, steps: int) -> float:
    found = limits.limits_for(steps, 0.0)
    assert found is not None
    return limits.margin * score(errors, found.errors)


def rate(count: int, trials: int) -> dict[str, Any]:
    """Return a rate with its Clopper-Pearson interval of 95 %."""
    return {"count": count, "of": trials, "rate": count / trials, "interval": list(clopper_pearson(count, trials))}


def summary(rows: list[dict[str, Any]], limits: Calibration, own: dict[str, Any]) -> dict[str, Any]:
    """Put together what is reported."""
    alone = [each for row in rows for each in row["segments"]]
    return {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "device": "cpu",
        "torch": torch.__version__,
        "judged_with": str(USUAL),
        "calibrated_over": [spread.name for spread in limits.spreads],
        "steps_per_segment": EVERY,
        "records_per_step": RECORDS,
        "tau": limits.tau,
        "margin": MARGIN,
        "calibration": calibrationreport.as_json(limits),
        "per_step": {"tau": TAU_PER_STEP, **own},
        "coverage": rate(sum(each <= 1 for each in alone), len(alone)),
        "false_rejections": [
            {
                "margin": margin,
                "segments": rate(sum(each > margin for each in alone), len(alone)),
                "runs": rate(sum(max((*row["segments"], *row["pairs"])) > margin for row in rows), len(rows)),
            }
            for margin in MARGINS
        ],
        "runs": rows,
    }


def markdown(found: dict[str, Any]) -> str:
    """Tell the results as tables."""
    lines = [
        "# Honest segments that a calibrated judge rejects",
        "",
        f"{found['date']}; {found['machine']}; torch {found['torch']}, device {found['device']}.",
        "Made by `python tools/false_rejections.py`. ResNet-20 on CIFAR-10, SGD with momentum, learning rate 0.1 after"
        f" a warm-up of {WARM_UP} steps,",
        f"{found['records_per_step']} records a step, {found['steps_per_segment']} steps a segment. Judged with"
        f" {found['judged_with']} under `strict`, with a calibration made from another",
        f"run (other seed, other data) over: {'; '.join(found['calibrated_over'])}.",
        "",
        "| margin | rejected segments | 95 % interval | rejected runs |",
        "|---|---|---|---|",
    ]
    for each in found["false_rejections"]:
        of = each["segments"]
        lines.append(
            f"| {each['margin']:g} | {told(of)} | {of['interval'][0]:.2%} to {of['interval'][1]:.2%} |"
            f" {each['runs']['count']} of {each['runs']['of']} |"
        )
    lines += ["", *coverage(found), "", *verdicts(found["runs"]), ""]
    return "\n".join(lines)


def coverage(found: dict[str, Any]) -> Iterable[str]:
    of, own = found["coverage"], found["per_step"]
    yield (
        f"Coverage of the conformal limits before they are widened, required {found['tau']:g}: {of['rate']:.3f}"
        f" ({of['interval'][0]:.3f} to {of['interval'][1]:.3f}), {of['count']} of {of['of']} segments of other runs."
    )
    yield (
        f"Coverage of the per-step threshold, where one of the judge's replays is the claim, required {own['tau']:g}:"
        f" {own['rate']:.3f} ({own['interval'][0]:.3f} to {own['interval'][1]:.3f}), {own['count']} of {own['of']}."
    )


def verdicts(rows: list[dict[str, Any]]) -> Iterable[str]:
    yield "| recorded with | verdict | worst segment, of the unwidened limit | unexplained toward the end | in all |"
    yield "|---|---|---|---|---|"
    for each in rows:
        displaced, allowed = each["unexplained"], each["allowed"]
        yield (
            f"| {each['recorded_with']} | {each['verdict']} | {max(each['segments']):.2f}"
            f" | {displaced['toward']:.1e} of {allowed['toward']:.1e}"
            f" | {displaced['total']:.1e} of {allowed['total']:.1e} |"
        )


def told(of: dict[str, Any]) -> str:
    return f"{of['count']} of {of['of']} ({of['rate']:.2%})"


def progress(what: str) -> Any:
    def tell(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{what} {done} of {total}" + "\n" * (done == total), err=True, nl=False)

    return tell


def shown(steps: range, what: str) -> Iterable[int]:
    tell = progress(f"{what}, step")
    for step in steps:
        tell(step, len(steps))
        yield step
    tell(len(steps), len(steps))


@click.command()
@click.option("--quick", is_flag=True, help="A small version, to see that all of it works.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path("build/false_rejections"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, show_default=True)
def main(quick: bool, folder: Path, out: Path) -> None:
    """Count false rejections."""
    segments, sample, tau = (5, 2, 0.5) if quick else (55, 50, TAU)
    folder = folder / "quick" if quick else folder
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "key.key").exists():
        save(generate("tool.example/honest"), folder / "key")
    signer = load_signer(folder / "key.key")
    own = Run(1, segments, folder, signer)
    own.record(USUAL)
    limits, per_step_found = calibrated(own, sample, tau)
    rows = [judged(Run(seed, segments, folder, signer), each, limits) for seed, each in enumerate(PROVERS, 2)]
    found = summary(rows, limits, per_step_found)
    out.mkdir(parents=True, exist_ok=True)
    (out / "false_rejections.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "false_rejections.md").write_text(markdown(found))
    click.echo(markdown(found))


if __name__ == "__main__":
    main()
