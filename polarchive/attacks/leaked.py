"""Record a victim's proof again, out of the archive and the batches that leaked."""

from collections.abc import Callable

from polarchive.attacks.known import Known, Leak
from polarchive.attacks.log import Log
from polarchive.attacks.puppet import Puppet
from polarchive.errors import PolError
from polarchive.format.archive import open_archive
from polarchive.format.entry import Header
from polarchive.training.arrays import to_tensors


def leak_of(known: Known) -> Leak:
    """Return the victim's proof; PolError if it never leaked."""
    if known.leak is None:
        raise PolError("this attack needs the victim's own proof: Known(…, leak=Leak(archive, batches))")
    return known.leak


def header(known: Known) -> Header:
    """Return the header of the victim's log."""
    with open_archive(leak_of(known).archive, trusted=None) as archive:
        return archive.header


def again(
    known: Known, trainer: Puppet, log: Log, start: int = 0, change: Callable[[int], None] = lambda step: None
) -> None:
    """Record the victim's segments from `start` on: states, settings and batches are the victim's, nothing is trained.

    `change(step)`, with the victim's number of the step, may alter the trainer before that step is recorded. The
    trainer is left in the victim's last state. OpeningError if a state is not stored in the archive.
    """
    leak = leak_of(known)
    with open_archive(leak.archive, trusted=None) as archive:
        for index in range(start, len(archive.segments)):
            trainer.load(to_tensors(archive.state(index)))
            for step in archive.steps(index):
                trainer.impose(step.hyper)
                change(step.step)
                log.record(leak.batches(step.step))
        trainer.load(to_tensors(archive.state(-1)))
