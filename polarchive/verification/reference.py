"""Say how far apart independent runs end, which is what distances between weights are measured by (d_ref)."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from polarchive.errors import PolError
from polarchive.format.archive import Archive
from polarchive.measures.kinship import kinship
from polarchive.training.arrays import to_tensors


@dataclass(frozen=True, slots=True)
class Reference:
    """Hold the mean ℓ2 distance between the last weights of so many `runs`, and its standard deviation over pairs.

    Of one run it is estimated, as the distance to the same weights in another order.
    """

    mean: float
    sd: float
    runs: int

    @classmethod
    def of(cls, archives: Sequence[Archive]) -> "Reference":
        """Measure finished runs; PolError if they are not independent, or of different models."""
        for one, other in combinations(archives, 2):
            if one.root(0) == other.root(0):
                raise PolError(f"runs {_name(one)} and {_name(other)} start from one state: they are not independent")
        ends = [to_tensors(archive.state(len(archive.segments))) for archive in archives]
        pairs = list(combinations(range(len(ends)), 2)) or [(0, 0)]
        found = [kinship(ends[i], ends[j]).plain for i, j in pairs]
        gaps = [gap for gap in found if gap is not None]
        if len(gaps) < len(pairs):
            raise PolError("the runs end in models whose weights have other names or shapes")
        distances = [gap.distance for gap in gaps] if len(ends) > 1 else [gaps[0].reference]
        return cls(math.fsum(distances) / len(distances), statistics.pstdev(distances), len(ends))

    def __str__(self) -> str:
        if self.runs == 1:
            return f"d_ref about {self.mean:.4g}, estimated from one run"
        return f"d_ref {self.mean:.4g} ± {self.sd:.2g} over {math.comb(self.runs, 2)} pairs of {self.runs} runs"


def _name(archive: Archive) -> str:
    return archive.header.run.hex()[:8]
