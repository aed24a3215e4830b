"""Take from the command line whom a judge trusts: keys, or a trust file."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from polarchive.trust import trustfile
from polarchive.trust.keys import load_verifier
from polarchive.trust.trust import Trust

_OPTIONS = (
    click.option(
        "--key", "keys", type=click.Path(exists=True, dir_okay=False), multiple=True, help="A prover's public key."
    ),
    click.option(
        "--trust",
        "trustfile",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Your trust file: provers' keys, timestamp authorities, witnesses, demands.",
    ),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say whom the judge trusts."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def trusted(keys: Iterable[str], file: Path | None) -> Trust:
    """Return whom the judge trusts; a key on the command line is trusted beside those of the file."""
    given = tuple(load_verifier(key) for key in keys)
    if file is not None:
        return trustfile.load(file, given)
    if not given:
        raise click.UsageError("whom to trust is the judge's own choice: --key PUBLIC_KEY or --trust FILE says it")
    return Trust(given)
