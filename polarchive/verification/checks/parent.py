"""Ask whether state 0 is the state of another archive that the header names, and that the judge has judged too."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from polarchive.errors import OpeningError, TrainerError
from polarchive.format.archive import Archive, open_archive
from polarchive.format.entry import Initial
from polarchive.format.note import VerifierKey
from polarchive.training.arrays import to_tensors
from polarchive.training.trainer import State, Trainer
from polarchive.verification.case import Case, built
from polarchive.verification.checks.initial import CHECK, initial, repeated
from polarchive.verification.finding import Finding, Outcome

Begin: TypeAlias = Callable[[Trainer, State], None]


class Settled(Protocol):
    """Say what a judge came to on an archive, which its digest names; a `Verdict` does."""

    @property
    def archive(self) -> bytes | None:
        """Return the digest of the archive."""

    @property
    def result(self) -> str:
        """Return accepted, rejected or inconclusive."""


def whole(trainer: Trainer, state: State) -> None:
    """Go on from all of the parent's state, its optimizer's too."""
    trainer.load(state)


@dataclass(frozen=True, slots=True)
class Part:
    """Take one part of the parent's state, and leave all else as it is built: a new optimizer for old weights."""

    name: str = "model"

    def __call__(self, trainer: Trainer, state: State) -> None:
        """Load both together."""
        fresh = {name: tensor for name, tensor in trainer.save().items() if not self._has(name)}
        trainer.load(fresh | {name: tensor for name, tensor in state.items() if self._has(name)})

    def _has(self, name: str) -> bool:
        return name.partition("/")[0] == self.name


@dataclass(frozen=True, slots=True, repr=False)
class Parent:
    """Explain state 0 by a state in the archive at `path`, on which the judge came to `verdict`; stands for `initial`.

    `trusted` are the keys of those who may have recorded it. `begin` puts the parent's state into the judge's own
    trainer, built under seed 0, which must then hold state 0 (SPEC.md, "Header"). FormatError if the parent is broken.
    """

    path: Path
    trusted: tuple[VerifierKey, ...]
    verdict: Settled
    begin: Begin = whole

    def __repr__(self) -> str:
        return f"{CHECK}(parent={self.path}, begin={getattr(self.begin, '__name__', self.begin)})"

    def __call__(self, case: Case) -> Iterator[Finding]:
        """Say whether state 0 is explained; a state 0 without a parent is left to `initial`."""
        stated = case.archive.header.initial
        if stated.kind != "parent":
            yield from initial(case)
            return
        with open_archive(self.path, trusted=self.trusted) as parent:
            unsettled = self._unsettled(parent, stated)
            yield from [unsettled] if unsettled else self._begun(case, parent, stated)

    def _unsettled(self, parent: Archive, stated: Initial) -> Finding | None:
        """Return what keeps the judge from relying on the archive at hand."""
        if parent.digest is None or parent.digest != stated.archive:
            return _unknown(f"{self.path} is not the archive that the header names as parent")
        if self.verdict.archive != parent.digest:
            return _unknown(f"the verdict is not about {self.path}, and state 0 comes from there")
        if self.verdict.result == "rejected":
            return Finding(CHECK, Outcome.FAILED, f"state 0 comes from {self.path}, which the judge rejected")
        return None if self.verdict.result == "accepted" else _unknown(f"{self.path} was not accepted")

    def _begun(self, case: Case, parent: Archive, stated: Initial) -> Iterator[Finding]:
        roots = [parent.root(index) for index in range(len(parent.segments) + 1)]
        if stated.state not in roots:
            yield Finding(CHECK, Outcome.FAILED, f"{self.path} has no state of the root that the header names")
            return
        index = roots.index(stated.state)
        trainer = built(case.build, 0)
        try:
            state = to_tensors(parent.state(index))
            self.begin(trainer, {name: tensor.to(case.device) for name, tensor in state.items()})
        except OpeningError as error:
            yield _unknown(f"{self.path}: {error}")
        except TrainerError as error:
            yield Finding(CHECK, Outcome.FAILED, f"{self.path}: {error}")
        else:
            yield from repeated(case, trainer.save(), f"what the trainer makes of state {index} of {self.path}")


def _unknown(message: str) -> Finding:
    return Finding(CHECK, Outcome.UNKNOWN, message)
