"""Print to whoever reads: stdout is the command's own, and a verdict is the same if nobody listens to it."""

import os
import sys
from contextlib import redirect_stdout
from multiprocessing import parent_process
from typing import Any, TextIO, cast


def lasting(stream: TextIO | None) -> TextIO | None:
    """Return what writes to a stream until its reader leaves, and from then on nowhere."""
    return stream if stream is None else cast(TextIO, _Lasting(stream))


def apart() -> "redirect_stdout[TextIO]":
    """Return a context in which what the judge's own code prints goes to stderr."""
    return redirect_stdout(sys.stderr)


def keep_apart() -> None:
    """Send what the judge's own code prints to stderr for good, if this process is another's worker."""
    if parent_process() is not None:
        sys.stdout = sys.stderr


class _Lasting:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._leave()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self) -> None:
        """Let what is still buffered go nowhere too, or Python would complain of it when it ends."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
