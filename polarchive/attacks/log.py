"""Record a spoof with the writer that honest provers use, and keep what opens its commitments."""

from pathlib import Path

from torch import Tensor

from polarchive.attacks.workload import Batch, Workload
from polarchive.training.kept import file_of, keep
from polarchive.training.writer import Writer


class Log:
    """Write a run through an honest writer; each step's data is kept, to be shown to a judge."""

    def __init__(self, writer: Writer, workload: Workload, folder: Path) -> None:
        self._writer, self._workload, self._folder = writer, workload, folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def step(self) -> int:
        """Return the step that the next `record` is for."""
        return self._writer.step

    def record(self, batch: Batch | None = None, *, rows: Tensor | None = None) -> Batch:
        """Commit to the batch of the next step, or to genuine records, and return it.

        As for an honest prover the state before the step is recorded if a segment begins, and the settings as they are.
        """
        given = self._workload.take(rows) if rows is not None else batch or ()
        shown = tuple(part.detach().contiguous() for part in given)  # as a judge will be shown it: strides change sums
        keep(self._folder, self._writer.step, shown)
        self._writer.record(shown)
        return shown

    def withhold(self, step: int) -> None:
        """Forget the batch of a step, so that no judge can be shown it."""
        file_of(self._folder, step).unlink()
