"""Ask whether a released model is the one that the run ended in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from polarchive.errors import PolError
from polarchive.training.arrays import to_tensors
from polarchive.verification.case import Case
from polarchive.verification.finding import Finding, Outcome, passed

CHECK = "released"


@dataclass(frozen=True, slots=True)
class Released:
    """Compare a safetensors file with the tensors of `part` in the final state, bit for bit."""

    path: Path
    part: str = "model"

    def __call__(self, case: Case) -> Iterator[Finding]:
        """Report every tensor of the file that the final state lacks or has otherwise."""
        final = to_tensors(case.archive.state(-1))
        released = self._load()
        wrong = [
            name
            for name, tensor in released.items()
            if (own := final.get(f"{self.part}/{name}")) is None or not torch.equal(own, tensor)
        ]
        for name in wrong:
            yield Finding(CHECK, Outcome.FAILED, f"{self.path}: {name} is not what the run ended in", tensor=name)
        if released and not wrong:
            yield passed(CHECK, f"the {len(released)} tensors of {self.path} are what the run ended in")

    def _load(self) -> dict[str, torch.Tensor]:
        try:
            return load_file(self.path)
        except SafetensorError as error:
            raise PolError(f"{self.path}: not a safetensors file: {error}") from None
