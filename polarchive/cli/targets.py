"""Take the names of files to write, and refuse early what could not be written in the end."""

import os
from pathlib import Path
from typing import Any

import click


class Target(click.Path):
    """Name a file that can be written, as far as one can tell before it is."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; a usage error if there is no folder for it, or none that can be written to."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        folder = path.parent
        if not folder.is_dir():
            self.fail(f"{path}: there is no folder {folder}", param, ctx)
        if not os.access(folder, os.W_OK | os.X_OK):
            self.fail(f"{path}: nothing can be written to the folder {folder}", param, ctx)
        return path
