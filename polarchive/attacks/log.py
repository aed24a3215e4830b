"""Record a spoof with the writer that honest provers use, and keep what opens its commitments."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from polarchive.attacks.workload import Batch, Workload
from polarchive.errors import OpeningError
from polarchive.training.writer import Writer

ROWS = "rows"


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
        kept = {ROWS: rows} if rows is not None else {str(place): part for place, part in enumerate(batch or ())}
        shown = self._workload.take(rows) if rows is not None else batch or ()
        save_file({name: part.detach().contiguous() for name, part in kept.items()}, self._file(self._writer.step))
        self._writer.record(shown)
        return shown

    def withhold(self, step: int) -> None:
        """Forget the batch of a step, so that no judge can be shown it."""
        self._file(step).unlink()

    def _file(self, step: int) -> Path:
        return file_of(self._folder, step)


def file_of(folder: Path, step: int) -> Path:
    """Return where the batch of a step is kept."""
    return folder / f"{step:08}.safetensors"


def shown(folder: Path, workload: Workload, step: int) -> Batch:
    """Return the batch of a step that was kept; OpeningError if it is withheld."""
    path = file_of(folder, step)
    if not path.exists():
        raise OpeningError("the batch is withheld")
    kept = load_file(path)
    rows = kept.get(ROWS)
    if rows is not None:
        return workload.take(rows)
    return tuple(kept[str(place)] for place in range(len(kept)))
