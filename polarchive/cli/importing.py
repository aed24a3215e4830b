"""Turn a published proof of learning into a run that can be sealed and judged."""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from polarchive.cli import signing, streams

if TYPE_CHECKING:
    from polarchive.recording.dataset import Dataset


@click.command()
@click.argument("proof", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--trainer", required=True, help="Your FILE.py:function that returns a trainer of the proof's model.")
@click.option("--as", "own", required=True, type=click.Path(exists=True, dir_okay=False), help="Your own signing key.")
@click.option("--data", help="Your FILE.py:function that returns the dataset, where the proof only names records.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(proof: Path, run: Path, trainer: str, own: str, data: str | None, as_json: bool) -> None:
    """Import the published proof in the folder PROOF into a new run directory RUN.

    The layouts of Jia et al. (2021), Zhang et al. (2022) and Fang et al. (2023) are known. What the proof lacks is
    said; your trainer gives its states their names, and stands for settings that were not recorded.
    """
    from polarchive.cli import loading
    from polarchive.importers.importing import take
    from polarchive.importers.layouts import opened

    found, signer = opened(proof), signing.signer(own)
    quiet = as_json or not sys.stderr.isatty()
    with streams.apart():
        build, dataset = loading.function(trainer), _committed(data) if data else None
        lacks = take(found, build(None, "cpu"), run, signer, dataset=dataset, progress=_silent if quiet else _progress)
    facts = {"layout": found.layout, "states": len(found.states.paths), "steps": found.states.steps, "lacks": lacks}
    click.echo(json.dumps(facts) if as_json else "\n".join(_said(run, facts)))


def _committed(reference: str) -> "Dataset":
    """Commit to the dataset that the judge's function returns: without salts, since it is public."""
    from polarchive.cli import loading
    from polarchive.training.datasets import commit_dataset

    with TemporaryDirectory() as folder:
        return commit_dataset(loading.function(reference)(), folder, salted=False)


def _said(run: Path, facts: dict[str, Any]) -> list[str]:
    """Return what was imported, and a line for each thing that it lacks."""
    head = f"{run}: {facts['states']} states and {facts['steps']} steps, in the layout of {facts['layout']}; it has"
    return [head, *(f"  {each}" for each in facts["lacks"])]


def _progress(done: int, total: int) -> None:
    click.echo(f"\rimported step {done} of {total}" + "\n" * (done == total), err=True, nl=False)


def _silent(done: int, total: int) -> None:
    pass
