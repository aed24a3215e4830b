"""Fix what each exit code means."""

from enum import IntEnum

import click

from polarchive.errors import FormatError, PolError


class Exit(IntEnum):
    """Name the exit codes of `polarc`."""

    OK = 0
    REJECTED = 1
    USAGE = 2
    BROKEN = 3
    INCONCLUSIVE = 4
    INTERNAL = 70


def exit_code(error: BaseException) -> Exit:
    """Return the exit code for an error that ends a command."""
    if isinstance(error, FormatError):
        return Exit.BROKEN
    if isinstance(error, PolError | click.ClickException | click.Abort | OSError):
        return Exit.USAGE
    return Exit.INTERNAL
