"""Read a bounded stretch of a file: the only way bytes of an archive are reached."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from polarchive.errors import FormatError, Reason
from polarchive.format.limits import COPY


@dataclass(frozen=True, slots=True)
class Blob:
    """Stand for `size` bytes of an open file from `start`; `place` names them in errors."""

    file: BinaryIO
    start: int
    size: int
    place: str

    @classmethod
    def of(cls, path: Path) -> "Blob":
        """Open the whole of the file at `path`; it stays open as long as the blob lives."""
        file = path.open("rb")
        return cls(file, 0, os.fstat(file.fileno()).st_size, path.name)

    def slice(self, start: int, size: int, place: str) -> "Blob":
        """Return the part from `start`; FormatError if it reaches past the end."""
        if start < 0 or size < 0 or start + size > self.size:
            raise FormatError(Reason.TRUNCATED, place, f"{size} bytes at {start} of {self.size}")
        return Blob(self.file, self.start + start, size, place)

    def read(self, start: int = 0, size: int | None = None) -> bytearray:
        """Return `size` bytes from `start` (to the end, if not given); never fewer."""
        size = self.size - start if size is None else size
        self.slice(start, size, self.place)
        data = bytearray(size)
        view, done = memoryview(data), 0
        while done < size:  # pread leaves the file's position alone, so threads may share it
            got = os.preadv(self.file.fileno(), [view[done:]], self.start + start + done)
            if got == 0:
                raise FormatError(Reason.TRUNCATED, self.place, "the file ends early")
            done += got
        return data

    def bounded(self, limit: int) -> bytearray:
        """Return all bytes; FormatError if there are more than `limit`."""
        if self.size > limit:
            raise FormatError(Reason.LIMIT, self.place, f"{self.size} bytes, at most {limit} are allowed")
        return self.read()

    def chunks(self, step: int = COPY) -> Iterator[bytearray]:
        """Yield all bytes in order, at most `step` at a time."""
        for start in range(0, self.size, step):
            yield self.read(start, min(step, self.size - start))
