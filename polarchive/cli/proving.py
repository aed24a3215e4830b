"""Do what commands of a prover have in common: show batches, and compute states again that are not stored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from polarchive.cli import loading
from polarchive.errors import OpeningError, PolError
from polarchive.format.archive import Archive
from polarchive.format.commitment import BatchRow, Opening
from polarchive.format.log import Step
from polarchive.format.tensors import Array
from polarchive.training.arrays import to_array
from polarchive.trust.keys import read_secret
from polarchive.verification import showing
from polarchive.verification.showing import Own
from polarchive.verification.verify import regenerate

_OPTIONS = (
    click.option("--as", "own", required=True, type=click.Path(exists=True, dir_okay=False), help="The run's key."),
    click.option("--judge", "judges", required=True, multiple=True, type=click.Path(exists=True, dir_okay=False)),
    click.option("--batches", required=True, help="Your FILE.py:function that returns the batch of a step."),
    click.option(
        "--secret", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="By default RUN/secret."
    ),
    click.option("--trainer", help="Your FILE.py:function; needed to show states that are not stored."),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of whoever shows data."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(slots=True)
class Prover:
    """Show what a judge asks for, out of one's own data."""

    archive: Archive
    own: Own
    trainer: Callable[..., Any] | None
    _steps: tuple[int, Sequence[Step]] = field(default=(-1, ()))

    @classmethod
    def of(cls, archive: Archive, batches: str, secret: Path | None, trainer: str | None) -> "Prover":
        """Load one's own functions and secret; PolError if a salted run's secret is missing."""
        path = secret or (archive.path / "secret" if archive.path.is_dir() else None)
        if archive.header.commitment.salted and path is None:
            raise PolError("the batches of this run are salted: they are shown with its secret (--secret RUN/secret)")
        found = read_secret(path) if path and archive.header.commitment.salted else None
        build = loading.function(trainer) if trainer else None
        return cls(archive, Own(loading.function(batches), found), build)

    def openings(self, step: int) -> list[Opening]:
        """Return the openings of a step's batches; OpeningError if they are not the committed ones.

        A wrong answer, once signed, is evidence against the prover: one's own mistakes are better found here.
        """
        index = step // self.archive.header.every  # only the last segment may have fewer steps
        if self._steps[0] != index:
            self._steps = index, self.archive.steps(index)
        segment = self.archive.segments[index]
        committed = self._steps[1][step - segment.first]
        openings = [opening for _, opening in self.own.show(self.archive, committed, segment.epoch)]
        for opening, row in zip(openings, committed.batches, strict=True):
            self._check(step, opening, row)
        return openings

    def _check(self, step: int, opening: Opening, row: BatchRow) -> None:
        try:
            showing.check(self.archive, opening, row)
        except OpeningError as error:
            raise OpeningError(f"step {step}: {error}; --batches or --secret is not what was recorded with") from None

    def state(self, index: int) -> Mapping[str, Array]:
        """Return a state that is not stored, computed again; OpeningError if that is not possible."""
        if self.trainer is None:
            raise OpeningError(f"state {index} is not stored, and there is no --trainer to compute it again with")
        found = regenerate(self.archive, self.trainer, self.own, index)
        return {name: to_array(tensor, name) for name, tensor in found.items()}
