"""Run `polarc`: its commands are loaded when called, and its errors are one line with an exit code."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from typing import Final

import click

from polarchive.cli.exits import Exit, exit_code, judges_line
from polarchive.cli.streams import lasting

COMMANDS: Final = {
    "attack": "Forge a proof, to see what a judge makes of it.",
    "calibrate": "Measure honest noise, and fit what a judge allows.",
    "challenge": "Ask a prover for the data of drawn segments.",
    "contest": "Let attacks meet policies.",
    "dispute": "Settle whose a model is, where two archives claim it.",
    "import": "Turn a published proof of learning into a run.",
    "inspect": "Tell what an archive or run directory says of itself, unverified.",
    "keygen": "Make a signing key.",
    "odds": "Calculate what a draw is worth, and what spoofs cost.",
    "pack": "Seal a run directory into one file.",
    "respond": "Answer a judge's challenge with a file.",
    "serve": "Answer judges' challenges over the network.",
    "stamp": "Have timestamp authorities stamp a run, and renew its stamps.",
    "verify": "Check an archive's seal and, with a trainer, replay it.",
    "witness": "Have a witness cosign a run.",
}

_MODULES: Final = {"import": "importing"}  # a module cannot be named by a word of the language


class _Commands(click.Group):
    """Load a command's module only when it is called, so that looking at an archive never imports torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"polarchive.cli.{_MODULES.get(cmd_name, cmd_name)}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="polarchive")
def polarc() -> None:
    """Make a training run provable, and judge such proofs.

    \b
    Exit codes: 0 accepted or done, 1 rejected, 2 usage or unreadable file,
    3 broken archive, untrusted key, bad signature or stamp, 4 inconclusive,
    70 internal error or the judge's own code raising.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit, even if nobody reads what it prints; every error is one line on stderr."""
    with redirect_stdout(lasting(sys.stdout)), redirect_stderr(lasting(sys.stderr)):
        sys.exit(_ended(arguments))


def _ended(arguments: Sequence[str] | None) -> int:
    """Run one command and return its exit code."""
    try:
        code = polarc.main(arguments, standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except click.Abort:
        click.echo("polarc: interrupted", err=True)
        return Exit.USAGE
    except (Exception, SystemExit) as error:  # no command exits by itself: the judge's own code did
        click.echo(f"polarc: {one_line(error)}", err=True)
        return exit_code(error)
    return code if isinstance(code, int) else Exit.OK


def one_line(error: BaseException) -> str:
    """Return an error as one line; its type and place too where the message alone would puzzle."""
    message = " ".join(_words(error).split())[:500]
    if exit_code(error) != Exit.INTERNAL:
        return message
    return ": ".join(filter(None, (judges_line(error), type(error).__name__, message)))


def _words(error: BaseException) -> str:
    """Return what an error says; of the system's, the file and what is wrong with it."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
