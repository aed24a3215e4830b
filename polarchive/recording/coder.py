"""Choose how each stored state of a run is stored: as a difference from the one before, or in full."""

from collections.abc import Iterable
from typing import Final

from polarchive.format import delta, tensors
from polarchive.format.delta import State
from polarchive.format.entry import Hyper
from polarchive.format.storage import CODED, PLAIN, bound, plain
from polarchive.format.tensors import Buffer

KEYFRAMES: Final = 32  # every so many states one stands for itself, so that reading any takes at most so many steps
_WORTH: Final = 0.95


class Coder:
    """Take the stored states of a run in order; each builds on the one taken before."""

    def __init__(self, first: int | None = None) -> None:
        self._first = first  # the raw size of state 0, which bounds that of any coded one
        self._base: tuple[int, State] | None = None
        self._chain = 0

    def forget(self) -> None:
        """Let the next state stand for itself: what is before it lies in a form that was chosen for another place."""
        self._base = None

    def store(self, index: int, state: State, hyper: Hyper) -> tuple[str, Iterable[Buffer]]:
        """Return the form in which state `index` is stored and its bytes; `hyper` may help to predict it.

        The state is built upon next: it must stay as it is.
        """
        size = tensors.size_of(tensors.layout_of(state))
        self._first = size if self._first is None else self._first
        base, self._base = self._base, (index, state)
        if base and self._chain + 1 < KEYFRAMES and size <= bound(self._first):
            coded = list(delta.encode(state, base[1], base[0], hyper))
            if sum(map(len, coded)) < _WORTH * size:
                self._chain += 1
                return CODED, coded
        self._chain = 0
        return PLAIN, plain(state)
