"""Fix what each exit code means."""

import traceback
from enum import IntEnum
from pathlib import Path
from typing import Final

import click

from polarchive.errors import FormatError, OpeningError, PolError, Unreachable

JUDGE: Final = "_judge_"  # begins the name of a module that holds the judge's own code


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
    if judges_line(error) and not isinstance(error, OpeningError | Unreachable):  # which pass through what is fed
        return Exit.INTERNAL
    if isinstance(error, FormatError):
        return Exit.BROKEN
    if isinstance(error, Unreachable):
        return Exit.INCONCLUSIVE
    if isinstance(error, PolError | click.ClickException | click.Abort | OSError):
        return Exit.USAGE
    return Exit.INTERNAL


def judges_line(error: BaseException) -> str | None:
    """Return the innermost line of the judge's own code that an error came through, if it came through any."""
    own = [(file, line) for module, file, line in _frames(error) if module.startswith(JUDGE)]
    return f"{Path(own[-1][0]).name} line {own[-1][1]}" if own else None


def _frames(error: BaseException) -> list[tuple[str, str, int]]:
    """Return module, file and line of each frame; an error of a worker brings those there along."""
    here = traceback.walk_tb(error.__traceback__)
    own = [(str(frame.f_globals.get("__name__")), frame.f_code.co_filename, line) for frame, line in here]
    return [*own, *getattr(error, "frames", [])]
