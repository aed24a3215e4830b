"""See the words of several tensors as one array, without copying more of them than is asked for."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from polarchive.format.bits import Words
from polarchive.format.tensors import ITEMSIZE, Array


class Joined:
    """Hold pieces of one dtype, one after the other."""

    def __init__(self, pieces: Sequence[Words]) -> None:
        self.dtype, self.pieces = pieces[0].dtype, pieces
        self._starts = [0, *accumulate(map(len, pieces))]

    @classmethod
    def of(cls, arrays: Sequence[Array]) -> "Joined":
        """Return the words of tensors of one dtype."""
        dtype = word_of(arrays[0].dtype)
        return cls([np.frombuffer(array.data, dtype) for array in arrays])

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def nbytes(self) -> int:
        """Return the size of all words."""
        return len(self) * self.dtype.itemsize

    def __getitem__(self, part: slice, /) -> Words:
        """Return the words of a part, which may have a stride; those of a single tensor are not copied."""
        start, stop, step = part.indices(len(self))
        found: list[Words] = []
        for index in range(bisect_right(self._starts, start) - 1, len(self.pieces)):
            begin, piece = self._starts[index], self.pieces[index]
            if begin >= stop:
                break
            first = start - begin if begin <= start else (start - begin) % step
            found.append(piece[first : stop - begin : step])
        return found[0] if len(found) == 1 else np.concatenate([np.empty(0, self.dtype), *found])


def word_of(dtype: str) -> np.dtype[Any]:
    """Return the unsigned integer in which the words of a dtype lie."""
    return np.dtype(f"<u{4 if dtype == 'C64' else ITEMSIZE[dtype]}")
