"""Ask for passphrases, on a terminal and nowhere else."""

import os
import sys
from pathlib import Path

import click

from polarchive.trust.keys import PASSPHRASE, KeySigner, load_signer


def signer(path: str | Path) -> KeySigner:
    """Read the signing key at `path`; if it is encrypted, its passphrase is in the environment or asked for."""
    asks = sys.stdin.isatty() and not os.environ.get(PASSPHRASE)
    return load_signer(path, (lambda: _asked(f"Passphrase of {path}")) if asks else None)


def new_passphrase() -> str:
    """Ask twice for the passphrase of a new key."""
    if not sys.stdin.isatty():
        raise click.UsageError("--passphrase asks on a terminal; where there is none, use --passphrase-file")
    return _asked("Passphrase", confirmation_prompt="Again")


def _asked(text: str, confirmation_prompt: str | bool = False) -> str:
    return str(click.prompt(text, hide_input=True, confirmation_prompt=confirmation_prompt, err=True))
