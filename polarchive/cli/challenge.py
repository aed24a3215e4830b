"""Ask a prover for the data of the segments that a challenge draws."""

import time
from pathlib import Path
from typing import Any

import click

from polarchive.cli import judging, signing, trusting
from polarchive.cli.judging import ledger_option
from polarchive.cli.targets import Target
from polarchive.format.archive import open_archive


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@trusting.options
@click.option("--as", "own", required=True, type=click.Path(exists=True, dir_okay=False), help="Your own signing key.")
@click.option("-o", "--output", required=True, type=Target())
@click.option("--hours", default=168, show_default=True, type=click.IntRange(1), help="Until it expires.")
@judging.policy_options
@ledger_option
def command(path: Path, own: str, output: Path, hours: int, ledger: Path, **options: Any) -> None:
    """Draw a challenge for the archive at PATH and write the signed request for what it draws.

    The nonce is drawn once for this run and kept in the ledger: asking again asks for the same.
    """
    from polarchive.format import disk

    trust = trusting.trusted(options["keys"], options["trustfile"])
    with open_archive(path, trusted=trust.keys) as archive:
        policy = judging.chosen(options["policy"], options["select"], options["calibration"])
        expires = int(time.time()) + 3600 * hours
        document, plan = judging.ask(archive, policy, signing.signer(own), judging.opened(ledger), expires)
    with disk.replacing(output) as file:
        file.write(document)
    steps = sum(archive.segments[index].steps for index in plan.segments)
    click.echo(f"{output}: {len(plan.segments)} segments, {steps} steps, {len(plan.states)} states; for {hours} hours")
