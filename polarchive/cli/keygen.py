"""Make a signing key."""

from pathlib import Path

import click

from polarchive.errors import FormatError
from polarchive.trust import keys


@click.command()
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Writes OUTPUT.key and OUTPUT.pub."
)
def command(name: str, output: Path) -> None:
    """Make an Ed25519 key for NAME, how judges will know you: best a domain of yours, like alice.example."""
    try:
        signer = keys.generate(name)
    except FormatError:
        raise click.UsageError(f"{name!r} cannot name a key: printable ASCII without spaces and plus signs") from None
    private, public = keys.save(signer, output)
    click.echo(f"{private}  keep it secret; it is not encrypted")
    click.echo(f"{public}  give it to judges: {signer.key}")
