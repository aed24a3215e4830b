"""Load the judge's own functions from FILE.py:function, and read what the command line names."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from polarchive.verification.selections import Range


class JudgeCodeError(Exception):
    """Report that the judge's own code raised, and where."""


def function(reference: str) -> Callable[..., Any]:
    """Return the function that FILE.py:function names; the file may import its neighbours."""
    path, _, name = reference.rpartition(":")
    file = Path(path)
    if not path or not file.is_file():
        raise click.UsageError(f"{reference}: not of the form FILE.py:function, or there is no such file")
    sys.path.insert(0, str(file.resolve().parent))
    found = getattr(_module(file), name, None)
    if not callable(found):
        raise click.UsageError(f"{reference}: {file} has no function {name}")
    return guarded(found, reference)


def guarded(call: Callable[..., Any], reference: str) -> Callable[..., Any]:
    """Return `call` with its exceptions turned into JudgeCodeError, one line that says where."""

    def guard(*arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception as error:
            raise JudgeCodeError(f"{reference}: {_place(error)}: {type(error).__name__}: {error}") from error

    return guard


def segments(text: str) -> Range:
    """Return the range that START:STOP names, either of which may be missing."""
    start, colon, stop = text.partition(":")
    try:
        if not colon:
            return Range(int(start), int(start) + 1)
        return Range(int(start) if start else None, int(stop) if stop else None)
    except ValueError:
        raise click.UsageError(f"--segments {text}: not of the form START:STOP") from None


def _module(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"_judge_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    guarded(spec.loader.exec_module, str(file))(module)
    return module


def _place(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{Path(frame.tb_frame.f_code.co_filename).name} line {frame.tb_lineno}" if frame else "unknown place"
