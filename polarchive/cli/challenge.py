"""Ask a prover for the data of the segments that a challenge draws."""

import time
from pathlib import Path

import click

from polarchive.cli.judging import ledger_option, select_option
from polarchive.format.archive import open_archive
from polarchive.trust.keys import load_signer, load_verifier


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--key", required=True, type=click.Path(exists=True, dir_okay=False), help="The prover's public key.")
@click.option("--as", "own", required=True, type=click.Path(exists=True, dir_okay=False), help="Your own signing key.")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--hours", default=168, show_default=True, type=click.IntRange(1), help="Until it expires.")
@select_option
@ledger_option
def command(path: Path, key: str, own: str, output: Path, hours: int, select: str, ledger: Path) -> None:
    """Draw a challenge for the archive at PATH and write the signed request for what it draws.

    The nonce is drawn once for this run and kept in the ledger: asking again asks for the same.
    """
    from polarchive.cli import judging, loading
    from polarchive.format import disk
    from polarchive.verification.policy import Policy

    with open_archive(path, trusted=[load_verifier(key)]) as archive:
        policy = Policy(selection=loading.selection(select))
        expires = int(time.time()) + 3600 * hours
        document, plan = judging.ask(archive, policy, load_signer(own), judging.opened(ledger), expires)
    with disk.replacing(output) as file:
        file.write(document)
    steps = sum(archive.segments[index].steps for index in plan.segments)
    click.echo(f"{output}: {len(plan.segments)} segments, {steps} steps, {len(plan.states)} states; for {hours} hours")
