"""Let what a judge brings travel to workers: each process opens it itself, and it must be the same."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final

from polarchive.cli import loading, streams
from polarchive.cli.sources import Sources, digest, forget, sources
from polarchive.errors import PolError
from polarchive.format.answer import Answers
from polarchive.format.merkle import Digest
from polarchive.format.note import VerifierKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from polarchive.verification.showing import Shown

_HERE: Final = token_bytes(16)


@dataclass(frozen=True, slots=True)
class Named:
    """Stand for FILE.py:function where it is called: every process loads the file and its neighbours itself.

    `file` is absolute, `code` all that must be the same there, `sender` the process that verifies.
    """

    file: Path
    name: str
    code: Sources
    sender: bytes = _HERE

    @classmethod
    def of(cls, reference: str) -> "Named":
        """Load the function, to find out now whether it is there, and what it is made of."""
        path, _, name = reference.rpartition(":")
        found = loading.function(reference)
        named = cls(file := Path(path).resolve(), name, sources(file))
        _FUNCTIONS[named] = found
        return named

    def __call__(self, *arguments: Any) -> Any:
        """Call the function; PolError if a file of its code is another here."""
        return _function(self)(*arguments)


_FUNCTIONS: Final[dict[Named, Callable[..., Any]]] = {}


def _function(named: Named) -> Callable[..., Any]:
    if any(other.sender != named.sender for other in _FUNCTIONS):  # a verification before: its modules may be old
        for other in _FUNCTIONS:
            forget(other.file.parent)
        _FUNCTIONS.clear()
    if named not in _FUNCTIONS:
        for name, expected in named.code:
            _require_same(named.file.parent / name, expected)
        streams.keep_apart()
        _FUNCTIONS[named] = loading.function(f"{named.file}:{named.name}")
    return _FUNCTIONS[named]


def _require_same(path: Path, expected: str) -> None:
    if not path.is_file() or digest(path) != expected:
        raise PolError(f"{path}: a worker does not find the judge's own file there")


@dataclass(frozen=True, slots=True)
class Answered:
    """Show what is in the answer at an absolute `path` that has this `digest`; every process opens it itself."""

    path: Path
    key: VerifierKey
    digest: Digest

    def show(self, *step: Any) -> "list[Shown]":
        """Return the batches of a step that were sent."""
        from polarchive.verification.showing import Sent

        return Sent(_answers(self).batch).show(*step)

    def expect(self, segment: object) -> None:
        """Do nothing: they are at hand."""

    def state(self, index: int) -> "Mapping[str, Tensor]":
        """Return a state that was sent."""
        from polarchive.training.arrays import to_tensors

        return to_tensors(_answers(self).state(index))


@lru_cache(maxsize=1)
def _answers(answered: Answered) -> Answers:
    found = Answers.open(answered.path, answered.key)
    if found.digest != answered.digest:
        found.close()
        raise PolError(f"{answered.path}: another answer than the judge's lies there for a worker")
    return found
