"""Show the batches of a step with their salts: one's own, or those that the prover has sent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from polarchive.errors import OpeningError, PolError
from polarchive.format.archive import Archive
from polarchive.format.commitment import BatchRow, Opening, Salts
from polarchive.format.entry import Segment
from polarchive.format.log import Step
from polarchive.training.batches import from_batch, to_batch

Shown = tuple[Any, Opening]
_ASK: Final = "is the secret this run's, and does `batches` return the batch of that step?"


class Showing(Protocol):
    """Show what a step consumed, unchecked."""

    def show(self, archive: Archive, step: Step, epoch: int) -> list[Shown]:
        """Return each batch of the step, as the trainer takes it, and its opening; OpeningError if it is not shown."""

    def expect(self, segment: Segment) -> None:
        """Prepare for the steps of a segment, which are asked for soon."""


Batches = Callable[..., Any] | Showing


@dataclass(frozen=True, slots=True)
class Own:
    """Show batches that are at hand, under salts derived from the run's secret.

    `batches(step)` gives the batch of a step (a list where they accumulate), in indexed mode `batches(step, rows)`.
    """

    batches: Callable[..., Any]
    secret: bytes | None

    def show(self, archive: Archive, step: Step, epoch: int) -> list[Shown]:
        """Return the batches that the function gives."""
        salts = Salts(self.secret if archive.header.commitment.salted else None, archive.header.run)
        shown, start = [], 0
        for batch, row in zip(self._given(archive, step), step.batches, strict=True):
            columns = to_batch(batch, archive.header.schema)
            slots = salts.of(epoch, step.step, start, 1 if row.indices is not None else 1 + columns.count)
            rows = b"" if row.indices is None else salts.of_rows(row.indices)
            shown.append((batch, Opening(columns, slots + rows)))
            start += 1 + columns.count
        return shown

    def expect(self, segment: Segment) -> None:
        """Do nothing: they are at hand."""

    def _given(self, archive: Archive, step: Step) -> list[Any]:
        if archive.header.commitment.mode == "fed":
            given = self.batches(step.step)
        else:
            rows = [np.array(row.indices, np.int64) for row in step.batches]
            given = self.batches(step.step, rows[0] if len(rows) == 1 else rows)
        parts = [given] if archive.header.micro == 1 else list(given)
        if len(parts) != archive.header.micro:
            raise OpeningError(f"{len(parts)} batches were shown for a step of {archive.header.micro}")
        return parts


@dataclass(frozen=True, slots=True)
class Sent:
    """Show batches that the prover sends with their salts: `opening(step, micro)` gets one.

    The trainer is given tensors, in the tuples and dicts that the names of their fields speak of.
    """

    opening: Callable[[int, int], Opening]
    ahead: Callable[[Segment], None] = lambda segment: None

    def show(self, archive: Archive, step: Step, epoch: int) -> list[Shown]:
        """Return the batches that were sent."""
        openings = [self.opening(step.step, micro) for micro in range(archive.header.micro)]
        return [(from_batch(opening.batch), opening) for opening in openings]

    def expect(self, segment: Segment) -> None:
        """Let the batches of a segment be fetched while another is replayed."""
        self.ahead(segment)


def of(archive: Archive, batches: Batches, secret: bytes | None) -> Showing:
    """Return what shows the batches; PolError if they are salted and there is no secret to open them with.

    TypeError if the secret is not bytes.
    """
    if secret is not None and not isinstance(secret, bytes):
        raise TypeError(f"the secret is given as a {type(secret).__name__}; give pol.read_secret(path)")
    if not callable(batches):
        return batches
    if archive.header.commitment.salted and secret is None:
        raise PolError("the batches of this run are salted: the prover's secret is needed to check them (--secret)")
    return Own(batches, secret)


class Unfit(OpeningError):
    """Report a batch that was committed, and that the header's schema excludes."""


def check(archive: Archive, opening: Opening, row: BatchRow, own: bool = False) -> None:
    """Raise OpeningError unless an opening is that of the batch that `row` commits to; Unfit if that fits no schema.

    Of a batch that is the judge's `own`, the error asks what the judge may have got wrong.
    """
    if not archive.header.commitment.salted and opening.salts.strip(b"\0"):
        raise OpeningError("salts were shown for a batch that has none")
    try:
        opening.check(row)
    except OpeningError as error:
        raise (OpeningError(f"{error}; {_ASK}") if own else error) from None
    try:
        archive.header.schema.check(opening.batch)
    except OpeningError as error:
        raise Unfit(str(error)) from None
