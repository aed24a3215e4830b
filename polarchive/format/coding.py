"""Code distances losslessly and near their entropy (SPEC.md, "Coded states").

Each block of distances is cut at a bit. What lies above the cut becomes one symbol, which is entropy-coded; the bits
below look like noise and are stored as they are. Large distances are cut eight bits higher, so that a symbol spans
fourteen octaves; what is larger still escapes.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from polarchive.errors import FormatError, Reason
from polarchive.format import bits, cuts, frames
from polarchive.format.bits import Bytes, Words
from polarchive.format.cuts import HIGHER, LARGE, STEP
from polarchive.format.joined import Joined
from polarchive.format.models import Model
from polarchive.format.tensors import Buffer

BLOCK: Final = 1 << 17  # as many symbols as a zstd block, so that its Huffman table sees one cut
ESCAPE: Final = 255
_FAR: Final = ESCAPE - LARGE << HIGHER  # what lies above the cut of an escaped distance is at least this
_SAMPLE: Final = 64
_LIMITS: Final = {size: np.full(bits.PART, LARGE, f"<u{size}") for size in (1, 2, 4, 8)}  # faster than a scalar


@dataclass(frozen=True, slots=True)
class Coded:
    """Hold coded numbers: a cut per block, the coded symbols, bits cut higher, escaped words, bits below the cuts."""

    cuts: Buffer
    symbols: Buffer
    middle: Buffer
    escaped: Buffer
    low: Buffer

    @property
    def streams(self) -> tuple[Buffer, ...]:
        """Return the five streams in the order in which they are stored."""
        return self.cuts, self.symbols, self.middle, self.escaped, self.low

    @property
    def size(self) -> int:
        """Return the size of all five streams."""
        return sum(map(len, self.streams))


def encode(words: Joined, model: Model) -> Coded:
    """Return `words` coded as distances under `model`."""
    symbols, low, end = np.zeros(len(words), np.uint8), np.empty(words.nbytes, np.uint8), 0
    found, middle, escaped = bytearray(), bytearray(), bytearray()
    distances = np.empty(min(BLOCK, len(words)), words.dtype)
    for block in bits.parts(len(words), BLOCK):
        distances = distances[: block.stop - block.start]
        for part in bits.parts(len(distances)):
            whole = slice(block.start + part.start, block.start + part.stop)
            model.distances(words[whole], whole, distances[part])
        sample = distances[::_SAMPLE]
        found.append(cuts.best(sample))
        if sample.any() or distances.any():
            start, end = end, end + bits.packed_size(len(distances), found[-1])
            bits.pack(distances, found[-1], low[start:end])
            for part in bits.parts(len(distances)):
                large, beyond = _symbols(distances[part], found[-1], symbols[block][part])
                middle += large.data
                escaped += beyond.data
    return Coded(found, frames.compress(symbols.data), middle, escaped, low[:end].data)


def decode(coded: Coded, model: Model, count: int, dtype: npt.DTypeLike, place: str) -> Words:
    """Return the `count` words that `encode` coded; FormatError unless the streams hold exactly so many."""
    symbols = np.frombuffer(frames.decompress(bytes(coded.symbols), count, place), np.uint8)
    words: Words = np.empty(count, dtype)
    blocks = list(bits.parts(count, BLOCK))
    if len(coded.cuts) != len(blocks) or any(cut % STEP or cut >= bits.width(words) for cut in coded.cuts):
        raise FormatError(Reason.CODING, place, "not one cut per block, or a cut that no writer makes")
    middle, escaped, low = (_Stream(each, place) for each in (coded.middle, coded.escaped, coded.low))
    for cut, block in zip(coded.cuts, blocks, strict=True):
        distances = _distances(symbols[block], cut, words.dtype, (middle, escaped, low))
        words[block] = model.words(distances, block)
    for stream in (middle, escaped, low):
        stream.require_end()
    return words


class _Stream:
    """Take bytes from a stream, never more than there are."""

    def __init__(self, data: Buffer, place: str) -> None:
        self._data, self._at, self._place = np.frombuffer(data, np.uint8), 0, place

    def take(self, size: int) -> Bytes:
        """Return the next `size` bytes."""
        self._at += size
        if self._at > len(self._data):
            raise FormatError(Reason.CODING, self._place, "a stream ends early")
        return self._data[self._at - size : self._at]

    def require_end(self) -> None:
        """Raise FormatError if bytes are left."""
        if self._at != len(self._data):
            raise FormatError(Reason.CODING, self._place, "a stream has bytes left over")


def _symbols(distances: Words, cut: int, symbols: Bytes) -> tuple[Bytes, Words]:
    """Fill in the symbols of a part; return the bits cut higher of the large ones, and the escaped words."""
    above = distances >> distances.dtype.type(cut)
    np.copyto(symbols, np.minimum(above, _LIMITS[above.itemsize][: len(above)]), casting="unsafe")
    places = np.flatnonzero(symbols == LARGE)
    large = above.take(places)
    far = large >= _FAR
    symbols[places] = np.where(far, ESCAPE, (large >> large.dtype.type(HIGHER)) + LARGE)
    return large[~far].astype(np.uint8), distances.take(places[far])


def _distances(symbols: Bytes, cut: int, dtype: np.dtype[Any], streams: tuple[_Stream, _Stream, _Stream]) -> Words:
    """Return the distances of a block out of its symbols and the next bytes of the streams."""
    middle, escaped, low = streams
    above: Words = symbols.astype(dtype)
    large = np.flatnonzero((symbols >= LARGE) & (symbols < ESCAPE))
    above[large] = (above[large] - dtype.type(LARGE) << dtype.type(HIGHER)) | middle.take(len(large))
    above <<= dtype.type(cut)
    above |= bits.unpack(low.take(bits.packed_size(len(symbols), cut)), len(symbols), cut, dtype)
    beyond = np.flatnonzero(symbols == ESCAPE)
    above[beyond] = escaped.take(len(beyond) * dtype.itemsize).view(dtype)
    return above
