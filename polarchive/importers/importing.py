"""Record a published proof as a run: its states, settings and data, by the writer that honest provers use."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from polarchive.errors import PolError
from polarchive.format import disk, note
from polarchive.format.entry import Header
from polarchive.format.limits import MAX_TEXT
from polarchive.importers.proof import Proof
from polarchive.importers.shown import Shown
from polarchive.recording.dataset import Dataset
from polarchive.training.trainer import Trainer
from polarchive.training.writer import Writer

Progress = Callable[[int, int], None]


def take(
    proof: Proof,
    trainer: Trainer,
    run: Path,
    signer: note.Signer,
    *,
    dataset: Dataset | None = None,
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """Record a proof in the run directory `run`, and return what it lacks, as the header says in short.

    `trainer` is a fresh one of the judge's, for its names and for settings that the proof does not record. `dataset` is
    what `commit_dataset` returns, for a proof that only names records of one. Batches are not salted, since all of a
    proof is public. PolError says which file of it is refused and why; nothing is left in `run` then.
    """
    if run.exists():
        raise PolError(f"{run}: is there already; an import makes a new run")
    if (proof.indices is None) != (dataset is None):
        what = "brings its data" if proof.indices is None else "names records of a dataset by index"
        raise PolError(f"this proof {what}: --data goes with the latter")
    shown = Shown(proof, trainer)
    lacks = shown.lacks
    with TemporaryDirectory(dir=run.parent, prefix=f"{run.name}.") as place:
        with _Writer(Path(place) / "run", proof, shown, lacks, signer, dataset) as log:
            _record(proof, shown, log, progress)
        disk.rename(Path(place) / "run", run)
    disk.sync_folder(run.parent)
    return lacks


class _Writer(Writer):
    """Write a run whose header says what it is a copy of, beside the stack on which that was made."""

    def __init__(
        self, run: Path, proof: Proof, shown: Shown, lacks: list[str], signer: note.Signer, dataset: Dataset | None
    ) -> None:
        every = proof.states.every
        super().__init__(run, shown, every=every, signer=signer, salted=False, dataset=dataset, background=False)
        short = ", ".join(each.removeprefix("no ").partition(":")[0] for each in lacks)
        self._about = {"imported": proof.layout, "lacks": short[:MAX_TEXT]}

    def _header(self, devices: set[torch.device]) -> Header:
        header = super()._header(devices)
        return replace(header, stack={**header.stack, **self._about})


def _record(proof: Proof, shown: Shown, log: Writer, progress: Progress) -> None:
    steps, every = proof.states.steps, proof.states.every
    for start in range(0, steps, every):
        shown.turn(start)
        for step in range(start, min(start + every, steps)):
            shown.advance(step - start)
            log.record(**shown.data(step))
        progress(min(start + every, steps), steps)
    shown.turn(steps)
