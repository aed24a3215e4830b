"""Start a process of our own beside the training, in a way that asks nothing of the script that trains.

`multiprocessing` would import the script again, which only scripts with a `__main__` guard survive.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path


def start(module: str, ends: Sequence[Connection], *descriptors: int) -> subprocess.Popen[bytes]:
    """Run a module of this package with the descriptors of `ends` and others as its arguments; `ends` are then its own.

    It is in a session of its own: an interrupt from the keyboard is for the training to handle.
    """
    passed = [*(end.fileno() for end in ends), *descriptors]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", module, str(os.getpid()), *map(str, passed)]
    environment = {**os.environ, "PYTHONPATH": path}
    process = subprocess.Popen(command, env=environment, pass_fds=passed, start_new_session=True)
    for end in ends:
        end.close()
    return process


def received(end: Connection, parent: int) -> object:
    """Return what the parent sends next; EOFError when it is gone, whoever else holds its end of the connection."""
    while not end.poll(0.5):
        if os.getppid() != parent:
            raise EOFError
    return end.recv()
