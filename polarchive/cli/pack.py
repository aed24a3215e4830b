"""Seal a run directory into one file."""

from pathlib import Path

import click

from polarchive.cli.targets import Target
from polarchive.format.archive import open_archive, pack


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", type=Target(), required=True)
def command(run: Path, output: Path) -> None:
    """Seal the run directory RUN into one portable file; the run's secret is never part of it."""
    digest = pack(run, output)
    with open_archive(output, trusted=None) as archive:
        finished = "" if archive.end else ", unfinished: the log has no end"
        click.echo(f"{output}: {len(archive.segments)} segments, {output.stat().st_size:,} bytes{finished}")
    click.echo(f"digest {digest.hex()}")
