"""Give every step its own randomness, and tell whether another machine would draw the same (SPEC.md, "Seeds")."""

import random
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import numpy as np
import torch

TAG: Final = b"polarchive/v1/seed\x00"
_AHEAD: Final = 64  # steps
_DRAWS: Final = 1 << 16  # enough for a GPU generator to show how it spreads draws over its threads


def derive(run: bytes, step: int, micro: int = 0, rank: int = 0) -> int:
    """Return the 64-bit seed of one batch of a step."""
    place = step.to_bytes(8, "big") + micro.to_bytes(4, "big") + rank.to_bytes(4, "big")
    return int.from_bytes(sha256(TAG + run + place).digest()[:8], "big")


class Seeds:
    """Give the seeds of a run's batches in the order of the steps, many derived at a time: that keeps them cheap."""

    def __init__(self, run: bytes, step: int, micro: int) -> None:
        self._run, self._micro = run, micro
        self._step = step
        self._ready: list[int] = []

    def next(self) -> int:
        """Return the seed of the next batch."""
        if not self._ready:
            steps = range(self._step, self._step + _AHEAD)
            self._ready = [derive(self._run, step, micro) for step in steps for micro in range(self._micro)][::-1]
            self._step += _AHEAD
        return self._ready.pop()


def apply(seed: int) -> None:
    """Seed the default generators of torch (CPU and, once in use, CUDA), of numpy and of `random`.

    The generators directly: `torch.manual_seed` costs a hundred times more, and steps are short.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for generator in torch.cuda.default_generators:
            generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)


def probe(devices: Iterable[torch.device]) -> dict[str, bytes]:
    """Return, by device type, a digest of what a generator with a fixed seed draws there.

    Where a judge's digest differs, dropout draws another mask: another step, not noise.
    """
    return {device.type: _drawn(device) for device in {torch.device("cpu"), *devices}}


def _drawn(device: torch.device) -> bytes:
    generator = torch.Generator(device).manual_seed(0)
    uniform = torch.rand(_DRAWS, generator=generator, device=device, dtype=torch.float32)
    order = torch.randperm(_DRAWS >> 8, generator=generator, device=device)
    return sha256(uniform.cpu().numpy().tobytes() + order.cpu().numpy().tobytes()).digest()
