"""Have a witness cosign a run."""

import json
from pathlib import Path

import click

from polarchive.exchange import witness
from polarchive.format.archive import open_archive
from polarchive.trust.telling import clock
from polarchive.trust.witnesses import load_witness


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--url", required=True, help="The witness's submission prefix, without /add-checkpoint.")
@click.option("--key", required=True, type=click.Path(exists=True, dir_okay=False), help="The witness's public key.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Leave the archive at PATH as it is."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(path: Path, url: str, key: str, output: Path | None, as_json: bool) -> None:
    """Have the last head of the archive or run directory PATH cosigned, and keep the cosignature beside it.

    A witness cosigns a log only as it grows: to a judge who knows it, it vouches that it has cosigned no other history
    of this run. What it is shown is the head: the run's signer and id, how many entries there are, and a digest.
    """
    if output is not None and path.is_dir():
        raise click.UsageError("a run directory keeps its cosignatures itself: -o is for archives")
    target = output or path
    head, cosigned = witness.add(path, url, load_witness(key), output)
    with open_archive(target, trusted=None) as archive:
        digest = archive.digest.hex() if archive.digest else None
    who, when = cosigned.witness.name, clock(cosigned.time)
    if as_json:
        click.echo(json.dumps({"size": head.size, "witness": who, "time": when, "archive": digest}))
        return
    click.echo(f"{target}: head of size {head.size} cosigned by {who} at {when}")
    if digest:
        click.echo(f"digest {digest}")
