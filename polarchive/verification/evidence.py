"""Hold what replaying one segment showed: numbers, no tensors, so that any policy can judge it later."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from polarchive.format.entry import Hyper
from polarchive.measures.distance import Distance, pool
from polarchive.measures.names import is_statistic
from polarchive.training.values import SEPARATOR


@dataclass(frozen=True, slots=True)
class Evidence:
    """Hold the distances per tensor between the claimed and the replayed closing state of a segment.

    `in_a_row` segments were replayed from the opening state of the first. `lr` is the largest learning rate of their
    steps, and `every` how many steps they have where none of them is the run's last, which may be shorter. `own` are
    the distances of further replays of the judge's own, under other numerics, from the first one.
    `refused` says why the replay did not come to a comparison, at which step: an opening that is not the committed
    batch, or a state that does not fit the trainer. `misfits` are tensors that only one of the two states has, or with
    another dtype or shape. `same_randomness` is False where this machine draws other random numbers than the recording
    one did.
    """

    segment: int
    first: int
    steps: int
    distances: Mapping[str, Distance] = field(default_factory=dict)
    misfits: tuple[str, ...] = ()
    refused: str | None = None
    refused_by: str | None = None
    refused_at: int | None = None
    same_randomness: bool = True
    in_a_row: int = 1
    own: tuple[Mapping[str, Distance], ...] = ()
    lr: float | None = None
    every: int | None = None

    @property
    def residual(self) -> float:
        """Return the ℓ2 distance between claimed and replayed weights of the model, NaN if nothing was compared."""
        return self.weights("model").l2

    def weights(self, part: str) -> Distance:
        """Return the distance of all weights of a part: what has a tolerance, without batch statistics."""
        own = ((name, each) for name, each in self.distances.items() if name.split(SEPARATOR)[0] == part)
        return pool(each for name, each in own if not is_statistic(name) and not each.whole)


def largest_rate(hypers: Iterable[Hyper]) -> float | None:
    """Return the largest learning rate of some steps, over all optimizers and groups; None if they state none."""
    found = [value for hyper in hypers for name, value in hyper.items() if "lr" in name.split(SEPARATOR)[1:]]
    return max((float(value) for value in found if value is not None), default=None)


def kind(name: str) -> str:
    """Return what tensors are pooled by: their part, the last word of their name, their optimizer key."""
    part, *path = name.split(SEPARATOR)
    return SEPARATOR.join([part, *(word.rsplit(".", 1)[-1] for word in path[-2:])])
