"""Ask whether a released model is the one that the run ended in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from polarchive.errors import PolError
from polarchive.format.tensors import root_of
from polarchive.training.arrays import to_array
from polarchive.verification.case import Case
from polarchive.verification.finding import Finding, Outcome, passed

CHECK: Final = "released"


@dataclass(frozen=True, slots=True)
class Released:
    """Compare a safetensors file with the tensors of `part` in the final state, bit for bit."""

    path: Path
    part: str = "model"

    def __call__(self, case: Case) -> Iterator[Finding]:
        """Report every tensor of the file that the final state lacks or has otherwise; that of no tensor is unknown."""
        final = case.archive.state(-1)
        released = {f"{self.part}/{name}": to_array(tensor, name) for name, tensor in self._load().items()}
        wrong = [
            name
            for name, array in released.items()
            if name not in final or root_of({name: final[name]}) != root_of({name: array})
        ]
        for name in wrong:
            short = name.partition("/")[2]
            yield Finding(CHECK, Outcome.FAILED, f"{self.path}: {short} is not what the run ended in", tensor=short)
        if not released:
            yield Finding(CHECK, Outcome.UNKNOWN, f"{self.path} holds no tensor")
        elif not wrong:
            own = sum(name.partition("/")[0] == self.part for name in final)
            yield passed(CHECK, f"the tensors of {self.path}, {len(released)} of {own}, are what the run ended in")

    def _load(self) -> dict[str, Tensor]:
        try:
            return load_file(self.path)
        except SafetensorError as error:
            raise PolError(f"{self.path}: not a safetensors file: {error}") from None
