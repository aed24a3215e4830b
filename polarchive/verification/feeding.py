"""Take the steps of a segment in the judge's trainer, on batches that are checked against their commitments."""

from collections.abc import Iterator
from typing import Any

from polarchive.errors import TrainerError
from polarchive.format.log import Step
from polarchive.training import seeds
from polarchive.verification import showing
from polarchive.verification.case import Case
from polarchive.verification.showing import Own


def steps(case: Case, index: int) -> Iterator[int]:
    """Yield the number of each step of segment `index` before it is taken.

    Raises OpeningError for a batch that is not the committed one, and what the judge's own code raises.
    """
    epoch = case.archive.segments[index].epoch
    for step in case.archive.steps(index):
        yield step.step
        case.trainer.impose(step.hyper)
        feed = _Feed(case, step, epoch)
        try:
            case.trainer.step(iter(feed))
        except ArithmeticError as error:
            if not _in_torch(error):
                raise
            raise TrainerError(f"the step cannot be taken from the claimed state: {error}") from error
        if not feed.done:
            raise TrainerError("the trainer's step did not take all batches of its update")


def _in_torch(error: BaseException) -> bool:
    """Tell whether torch raised an error, as of a counter that a prover claims, and not the judge's own code."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and str(place.tb_frame.f_globals.get("__name__")).startswith("torch.")


class _Feed:
    """Give a step its batches, each checked against its commitment, and seed what it does with each."""

    def __init__(self, case: Case, step: Step, epoch: int) -> None:
        self.done = False
        self._case, self._step, self._epoch = case, step, epoch

    def __iter__(self) -> Iterator[Any]:
        archive, step = self._case.archive, self._step
        shown, own = self._case.showing.show(archive, step, self._epoch), isinstance(self._case.showing, Own)
        for micro, ((batch, opening), row) in enumerate(zip(shown, step.batches, strict=True)):
            showing.check(archive, opening, row, own)
            seeds.apply(seeds.derive(archive.header.run, step.step, micro))
            self.done = micro + 1 == archive.header.micro
            yield batch
