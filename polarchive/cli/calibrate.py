"""Measure honest noise, and fit what a judge allows."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from polarchive.cli import trusting
from polarchive.cli.exits import Exit
from polarchive.format.archive import open_archive
from polarchive.trust.keys import read_secret

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@trusting.options
@click.option("--trainer", required=True, help="Your FILE.py:function that returns a trainer.")
@click.option("--batches", required=True, help="FILE.py:function that returns the batch of a step.")
@click.option("--secret", type=click.Path(dir_okay=False, path_type=Path), help="The run's secret, if it is salted.")
@click.option("--sample", default=40, show_default=True, type=click.IntRange(1), help="Segments to replay.")
@click.option(
    "--tau",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="The share of honest segments to let pass.",
)
@click.option(
    "--margin", default=3.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Widens limits by this."
)
@click.option("--vary", multiple=True, help="threads, onednn, deterministic, float64, tf32 …; by default all.")
@click.option("--elsewhere", multiple=True, help="Another device to replay on, if steps draw no random numbers there.")
@click.option("--runs", multiple=True, type=_FILE, help="Independent finished runs, to measure d_ref; give it twice.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of the usual replay.")
@click.option("-o", "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw ε_repr against the step, as SVG.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(path: Path, out: Path, plot: Path | None, as_json: bool, **options: Any) -> int:
    """Calibrate a judge on the honest run PATH, for polarc verify --calibration.

    Its segments are replayed as usual, then with other numerics, and the replays are compared with each other.
    """
    import torch

    from polarchive.cli import loading
    from polarchive.verification import calibrationfile, calibrationreport, plots
    from polarchive.verification.calibrate import calibrate

    if len(options["runs"]) == 1:
        raise click.UsageError("--runs is given for two runs or more: d_ref is the distance between them")
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    trust = trusting.trusted(options["keys"], options["trustfile"])
    build, batches = (loading.function(options[name]) for name in ("trainer", "batches"))
    with ExitStack() as stack:
        archive, *runs = (
            stack.enter_context(open_archive(each, trusted=trust.keys)) for each in (path, *options["runs"])
        )
        found = calibrate(
            archive,
            build,
            batches,
            secret=read_secret(options["secret"]) if options["secret"] else None,
            device=options["device"],
            elsewhere=options["elsewhere"],
            kinds=options["vary"],
            sample=options["sample"],
            tau=options["tau"],
            margin=options["margin"],
            runs=runs,
            progress=_progress if sys.stderr.isatty() and not as_json else lambda done, total: None,
        )
    calibrationfile.save(found, out)
    if plot is not None:
        plots.noise(found, plot)
    facts = calibrationreport.as_json(found)
    click.echo(json.dumps(facts) if as_json else "\n".join((*calibrationreport.text(found), f"wrote {out}")))
    return Exit.OK


def _progress(done: int, total: int) -> None:
    click.echo(f"\rmeasuring noise in segment {done} of {total}" + "\n" * (done == total), err=True, nl=False)
