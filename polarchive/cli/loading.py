"""Load the judge's own functions from FILE.py:function, and read what the command line names."""

import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from polarchive.cli import streams
from polarchive.cli.exits import JUDGE
from polarchive.format.archive import Archive
from polarchive.verification.selections import Range


def function(reference: str) -> Callable[..., Any]:
    """Return the function that FILE.py:function names; the file may import its neighbours."""
    path, _, name = reference.rpartition(":")
    file = Path(path)
    if not path or not file.is_file():
        raise click.UsageError(f"{reference}: not of the form FILE.py:function, or there is no such file")
    sys.path.insert(0, str(file.resolve().parent))
    with streams.apart():
        found = getattr(_module(file), name, None)
    if not callable(found):
        raise click.UsageError(f"{reference}: {file} has no function {name}")
    return found  # type: ignore[no-any-return]


def segments(text: str, archive: Archive) -> Range:
    """Return the range that START:STOP names, either of which may be missing; there is a segment in it."""
    found = _range(text)
    if not found(archive, b""):
        count = len(archive.segments)
        raise click.UsageError(f"this run has {count} segments, counted from 0: none of them is in --segments {text}")
    return found


def _range(text: str) -> Range:
    start, colon, stop = text.partition(":")
    try:
        if not colon:
            return Range(int(start), int(start) + 1)
        return Range(int(start) if start else None, int(stop) if stop else None)
    except ValueError:
        raise click.UsageError(f"--segments {text}: not of the form START:STOP") from None


def require_devices(devices: Iterable[str]) -> None:
    """Refuse devices that torch cannot use on this machine."""
    import torch

    for each in devices:
        try:
            torch.zeros(1, device=each).cpu()
        except Exception:  # of many kinds, by backend
            raise click.UsageError(f"--device {each}: this machine has no such device; use --device cpu") from None


def _module(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(JUDGE + file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
