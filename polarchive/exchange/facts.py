"""Keep facts as JSON lines that are only ever added to, each on disk before it counts."""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from polarchive.errors import FormatError, PolError, Reason
from polarchive.format import disk
from polarchive.format import fields as f
from polarchive.format.canonical import decode, encode

T = TypeVar("T")
MAX_LINE: Final = 1 << 16


class Facts(Generic[T]):
    """Hold a file of facts, open for adding and closed to every other process.

    A fact is a dataclass; `codecs` says by its name in small letters how it is spelled, and each line names it in
    `event`.
    """

    def __init__(self, path: Path, codecs: Mapping[str, f.Codec[Any]], *, wait: bool) -> None:
        """Open or begin the file at `path`; PolError if another process has it and this one will not `wait`."""
        self._path, self._codecs = path, codecs
        self._file = disk.Raw(path, "a+b")
        try:
            self._lock(wait)
            self.found: list[T] = self._read()
            disk.sync_folder(path.parent)
        except BaseException:
            self._file.close()
            raise

    def add(self, fact: T) -> None:
        """Add a fact; it is on disk when this returns."""
        event = type(fact).__name__.lower()
        written = self._codecs[event].write(fact)
        assert isinstance(written, dict)
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.append(encode({"event": event, **written}) + b"\n")
            disk.sync(self._file)
        except OSError:
            self._file.truncate(end)  # else the next fact would continue half of this one
            raise

    def close(self) -> None:
        """Close the file and let others have it."""
        self._file.close()

    def __enter__(self) -> "Facts[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self, wait: bool) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise PolError(f"{self._path}: another process writes to it") from None

    def _read(self) -> list[T]:
        """Return the facts; a line without its end was being written when the process died, and never counted."""
        self._file.seek(0)
        lines = self._file.readall().split(b"\n")
        if torn := lines.pop():
            self._file.truncate(self._file.tell() - len(torn))
        return [self._fact(line, f"{self._path.name} line {number}") for number, line in enumerate(lines, 1)]

    def _fact(self, line: bytes, place: str) -> T:
        value = decode(line, MAX_LINE, place)
        event = value.pop("event", None) if isinstance(value, dict) else None
        if not isinstance(event, str) or event not in self._codecs:
            raise FormatError(Reason.FIELD, place, "not an event of this file")
        fact: T = f.read(self._codecs[event], value, place)
        return fact
