"""Tell which learning rates a MultiStepLR, as a published proof keeps it, gives the steps that follow a state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polarchive.errors import PolError

MAX_MILESTONES: Final = 1 << 10
_WHOLE: Final = 1 << 53  # up to which floats are exact


@dataclass(frozen=True, slots=True)
class Milestones:
    """Hold at which step a MultiStepLR is, its factor, and in order which steps to come it is applied at, how often."""

    path: Path
    last: int
    gamma: float
    ahead: Sequence[tuple[int, float]]

    @classmethod
    def of(cls, path: Path, scheduler: Mapping[str, Any]) -> "Milestones | None":
        """Look at what a file keeps of a scheduler: None for any other; PolError if it has too many milestones."""
        last, gamma, found = (scheduler.get(name) for name in ("last_epoch", "gamma", "milestones"))
        if not isinstance(last, int) or not isinstance(gamma, float) or not isinstance(found, dict):
            return None
        if len(found) > MAX_MILESTONES:
            raise PolError(f"{path}: its scheduler has {len(found)} milestones; at most {MAX_MILESTONES} are read")
        if not all(isinstance(part, int) and abs(part) < _WHOLE for pair in found.items() for part in pair):
            return None
        return cls(path, last, gamma, [(place, float(found[place])) for place in sorted(found) if place > last])

    def rate(self, rate: Any, steps: int) -> Any:
        """Return what a learning rate is so many steps later, as torch computes it: a product at each milestone."""
        if not isinstance(rate, int | float):
            return rate
        try:
            for place, times in self.ahead:
                if place <= self.last + steps:
                    rate *= self.gamma**times
        except ArithmeticError:
            raise PolError(f"{self.path}: its milestones take the learning rate beyond all bounds") from None
        return rate
