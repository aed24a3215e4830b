"""Make a signing key."""

from pathlib import Path
from typing import BinaryIO

import click

from polarchive.cli import signing
from polarchive.errors import FormatError
from polarchive.trust import keys


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Writes OUTPUT.key, OUTPUT.pub and OUTPUT.pub.pem.",
)
@click.option("--passphrase", "asks", is_flag=True, help="Encrypt the private key; asks for a passphrase, twice.")
@click.option("--passphrase-file", "file", type=click.File("rb"), help="Encrypt it under FILE's first line.")
def command(name: str, output: Path, asks: bool, file: BinaryIO | None) -> None:
    """Make an Ed25519 key for NAME, how judges will know you: best a domain of yours, like alice.example.

    Commands that sign with an encrypted key ask for its passphrase, or take it from POLARC_PASSPHRASE.
    """
    if asks and file:
        raise click.UsageError("--passphrase or --passphrase-file, not both")
    try:
        signer = keys.generate(name)
    except FormatError:
        raise click.UsageError(f"{name!r} cannot name a key: printable ASCII without spaces and plus signs") from None
    passphrase = signing.new_passphrase() if asks else file.readline().removesuffix(b"\n") if file else None
    private, public, pem = keys.save(signer, output, passphrase)
    click.echo(f"{private}  keep it secret; it is {'not ' if passphrase is None else ''}encrypted")
    click.echo(f"{public}  give it to judges: {signer.key}")
    click.echo(f"{pem}  the same key for other tools")
