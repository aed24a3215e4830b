"""Refuse files and folders that others have access to."""

import os
from pathlib import Path
from typing import Final

from polarchive.errors import PolError

_READING: Final = 0o077  # by the group or by all, or writing
_WRITING: Final = 0o022


def require_private(path: Path, about: os.stat_result) -> None:
    """Refuse a private key of one's own that others have access to; PolError with what to do."""
    if about.st_uid == os.getuid() and about.st_mode & _READING:  # a mounted secret has another owner, and its reasons
        raise PolError(f"{path}: others have access to this private key; take it from them: chmod 600 {path}")


def require_own(folder: Path) -> None:
    """Refuse a folder to be believed that is another's, or that others can write to; PolError with what to do."""
    about = folder.stat()
    if about.st_uid != os.getuid():
        raise PolError(f"{folder}: belongs to somebody else, who could make a verdict there; name a folder of your own")
    if about.st_mode & _WRITING:
        raise PolError(f"{folder}: others can write there, and make a verdict; take it from them: chmod go-w {folder}")
