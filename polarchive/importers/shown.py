"""Pass for a training that is in the states of a published proof, one after the other."""

from collections.abc import Iterable, Set
from contextlib import suppress
from typing import Any

import torch

from polarchive.errors import OpeningError, PolError
from polarchive.format.entry import Hyper
from polarchive.importers.naming import Names
from polarchive.importers.proof import Batch, Proof
from polarchive.importers.saved import told
from polarchive.training.trainer import State, Trainer


class Shown:
    """Show a writer the states, settings and data of a proof under the names of a fresh trainer.

    `turn` and `advance` say where in the proof it is, `lacks` what that lacks, also beside what the trainer has.
    PolError says which file does not fit the trainer.
    """

    def __init__(self, proof: Proof, trainer: Trainer) -> None:
        self._proof, self._names = proof, Names.of(trainer)
        self._sample = _sample(proof)
        first = proof.state(0)
        self._unkept = _unkept(trainer, self._sample) if self._sample and not first.optimizer else {}
        state, groups = self._names.state(first), proof.settings(first)(0)
        self._due: Set[str] = state.keys() | self._names.recorded(groups)
        self.lacks = [*proof.lacks, *self._names.missing(state, groups)]
        self.turn(0)

    def turn(self, step: int) -> None:
        """Be in the state of a step; PolError if it lacks what state 0 has, since nobody was told that."""
        stored = self._proof.state(step)
        state, self._settings = self._names.state(stored), self._proof.settings(stored)
        if lost := self._due - state.keys() - self._names.recorded(self._settings(0)):
            raise PolError(f"{stored.path}: lacks {min(lost)}, which state 0 has")
        self._state = {**self._names.rest(state), **state, **(self._unkept if step else {})}
        self.advance(0)

    def advance(self, ahead: int) -> None:
        """Have the settings of so many steps after the state."""
        self._hyper = self._names.hyper(self._settings(ahead))

    def data(self, step: int) -> dict[str, Any]:
        """Return what a writer records of a step's data: rows of a dataset, or a batch, of no records if it is lacking.

        Policies that bound a step's `records`, as `strict` does, refuse one of none; the weights-only policies of the
        literature do not look.
        """
        if self._proof.indices is not None:
            return {"rows": self._proof.indices[step]}
        try:
            return {"batch": self._proof.batch(step)}
        except OpeningError:
            none = tuple(part[:0] for part in self._sample)
            return {"batch": none or (torch.empty(0), torch.empty(0, dtype=torch.int64))}

    def save(self) -> State:
        """Return the state that is shown."""
        return dict(self._state)

    def hyper(self) -> Hyper:
        """Return the settings that are shown."""
        return self._hyper

    def load(self, state: State) -> None:
        """Refuse: nothing trains here."""
        raise NotImplementedError("an import cannot be resumed")

    def impose(self, hyper: Hyper) -> None:
        """Refuse: the settings are the proof's."""
        raise NotImplementedError("an import has the settings of its proof")

    def step(self, batches: Iterable[object]) -> None:
        """Refuse: nothing trains here."""
        raise NotImplementedError("an import cannot be trained on")


def _sample(proof: Proof) -> Batch:
    """Return the first batch that the proof brings; nothing if it brings none."""
    for step in range(0, proof.states.steps, proof.states.every) if proof.indices is None else ():
        with suppress(OpeningError):
            return proof.batch(step)
    return ()


def _unkept(trainer: Trainer, batch: Batch) -> State:
    """Return zeros for all that the optimizer keeps after a step.

    A replay ends in a state that has it. A proof that has none is one of the weights alone, and can be judged as such.
    PolError if the trainer cannot take the proof's batch: no judge who has this trainer could replay it either.
    """
    before = trainer.save()
    try:
        trainer.step(iter((batch,)))
    except Exception as error:  # the user's code on a stranger's data
        parts = ", ".join(f"{part.dtype} {tuple(part.shape)}" for part in batch)
        raise PolError(f"your trainer cannot take the proof's first batch, {parts}: {told(error)}") from error
    after = trainer.save()
    return {name: torch.zeros_like(after[name]) for name in after.keys() - before.keys()}
