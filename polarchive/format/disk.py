"""Write to disk so that nothing is lost: whole or not at all, and there before it counts.

Every byte that is written, every fsync and every rename of this package goes through here.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from polarchive.format.tensors import Buffer


class Raw(io.FileIO):
    """Write to a file without a buffer of one's own."""

    def append(self, data: Buffer) -> None:
        """Write all of `data`, however little the system takes at a time."""
        view = memoryview(data).cast("B")
        while view:
            view = view[self.write(view) :]


@contextmanager
def replacing(path: Path, shared: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` when the block ends well, and vanishes otherwise.

    What is `shared` may be written by several at once, each to a temporary file of its own.
    """
    temporary = path.with_name(f"{path.name}.{token_hex(8)}.tmp" if shared else f"{path.name}.tmp")
    with _standing_in(temporary, path):
        try:
            with io.BufferedWriter(Raw(temporary, "wb")) as file:
                yield file
                file.flush()
                sync(file)
            rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def _standing_in(temporary: Path, path: Path) -> Iterator[None]:
    """Tell of `path` what is wrong with the file that stands in for it."""
    try:
        yield
    except OSError as error:
        if str(error.filename) != str(temporary):  # the system names it either way
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync(file: io.RawIOBase | BinaryIO) -> None:
    """Make what was written to a file durable."""
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(old: Path, new: Path) -> None:
    """Give a file its name, in place of what has it."""
    old.replace(new)
