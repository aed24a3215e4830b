"""Judge with a trainer that kills its process: what happens to a machine that is taken away."""

import os
import signal
from pathlib import Path

from judge import with_weight

import polarchive as pol

MARK = "POLARCHIVE_TEST_MARK"


def build(header: object, device: str) -> pol.TorchTrainer:
    """Kill the process in the middle of a step, the first time that any comes there; nothing is wrong with the rest."""

    def weight() -> float:
        try:
            Path(os.environ[MARK]).touch(exist_ok=False)
        except FileExistsError:
            return 1.0
        os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    return with_weight(weight)
