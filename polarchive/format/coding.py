"""Code distances losslessly and near their entropy (SPEC.md, "Coded states").

Each block of distances is cut at a bit. What lies above the cut becomes one symbol, which is entropy-coded; the bits
below look like noise and are stored as they are. Large distances are cut four or eight bits higher, so that a symbol
spans fourteen octaves; what is larger still escapes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zstandard

from polarchive.errors import FormatError, Reason
from polarchive.format import bits
from polarchive.format.bits import Bytes, Words
from polarchive.format.models import Model

BLOCK: Final = 1 << 17  # as many symbols as a zstd block, so that its Huffman table sees one cut
PART: Final = 1 << 14  # stays in the processor's cache through all passes
STEP: Final = 4  # cuts are multiples of it
OCTAVES: Final = 6  # that the first tier spans above the cut
TIERS: Final = ((64, 4), (124, 8))  # of large distances: first symbol, bits cut higher
ESCAPE: Final = 184
_SAMPLE: Final = 64
_TRIAL: Final = 1 << 16
_WINDOW: Final = 1 << 27
_PIECE: Final = 1 << 10  # of a frame: four bytes of it can become 128 KiB
# Matches are rare in noise and cost time; Huffman alone does nearly as well. Where most symbols are equal, matches pay.
_HUFFMAN: Final = zstandard.ZstdCompressionParameters(
    window_log=17,
    hash_log=6,
    chain_log=6,
    search_log=1,
    min_match=7,
    strategy=zstandard.STRATEGY_FAST,
    write_content_size=1,
    write_checksum=1,
)
_MATCHES: Final = zstandard.ZstdCompressionParameters.from_level(3, write_content_size=1, write_checksum=1)


@dataclass(frozen=True, slots=True)
class Coded:
    """Hold coded numbers: a cut per block, the coded symbols, bits cut higher, escaped words, bits below the cuts."""

    cuts: bytes
    symbols: bytes
    middle: bytes
    escaped: bytes
    low: bytes

    @property
    def size(self) -> int:
        """Return the size of all five streams."""
        return sum(map(len, (self.cuts, self.symbols, self.middle, self.escaped, self.low)))


def encode(words: Words, model: Model) -> Coded:
    """Return `words` coded as distances under `model`."""
    symbols = np.empty(len(words), np.uint8)
    cuts, middle, escaped, low = bytearray(), [], [], []
    for block in _split(0, len(words), BLOCK):
        sample = slice(block.start, block.stop, _SAMPLE)
        cuts.append(_cut(model.distances(words[sample], sample)))
        for part in _split(block.start, block.stop, PART):
            distances = model.distances(words[part], part)
            more, rest = _symbols(distances, cuts[-1], symbols[part])
            middle.append(more)
            escaped.append(rest)
            low.append(bits.pack(distances, cuts[-1]))
    return Coded(bytes(cuts), _compress(symbols), b"".join(middle), b"".join(escaped), b"".join(low))


def decode(coded: Coded, model: Model, count: int, dtype: npt.DTypeLike, place: str) -> Words:
    """Return the `count` words that `encode` coded; FormatError unless the streams hold exactly so many."""
    symbols = np.frombuffer(decompress(coded.symbols, count, place), np.uint8)
    middle, escaped, low = _Stream(coded.middle, place), _Stream(coded.escaped, place), _Stream(coded.low, place)
    blocks = list(_split(0, count, BLOCK))
    words: Words = np.empty(count, dtype)
    if len(coded.cuts) != len(blocks) or any(cut % STEP or cut >= bits.width(words) for cut in coded.cuts):
        raise FormatError(Reason.CODING, place, "not one cut per block, or a cut that no writer makes")
    for cut, block in zip(coded.cuts, blocks, strict=True):
        for part in _split(block.start, block.stop, PART):
            distances = _distances(symbols[part], cut, words.dtype, (middle, escaped, low))
            words[part] = model.words(distances, part)
    for stream in (middle, escaped, low):
        stream.require_end()
    return words


def decompress(frame: bytes, size: int, place: str) -> bytes:
    """Return the `size` bytes of one zstd frame; FormatError if it holds others, more, or less, or is not alone.

    What a frame states is checked before anything is allocated, and what comes out while it does: the library compares
    a frame with the size it states only at its end, and ignores `max_output_size` where there is such a statement.
    """
    try:
        stated = zstandard.get_frame_parameters(frame)
        if (stated.content_size, stated.dict_id, stated.has_checksum) != (size, 0, True):
            raise FormatError(Reason.CODING, place, "a frame of another size, with a dictionary, or without checksum")
        if stated.window_size > _WINDOW:
            raise FormatError(Reason.CODING, place, f"a frame with a window of {stated.window_size} bytes")
        engine, data = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj(), bytearray()
        for start in range(0, len(frame), _PIECE):
            data += engine.decompress(frame[start : start + _PIECE])
            if len(data) > size:
                raise FormatError(Reason.CODING, place, "a frame that holds more than it states")
    except zstandard.ZstdError as error:
        raise FormatError(Reason.CODING, place, f"not a zstd frame: {error}") from None
    if len(data) != size or not engine.eof or engine.unused_data:
        raise FormatError(Reason.CODING, place, "bytes after the frame, or a frame that ends early")
    return bytes(data)


def compress(data: bytes) -> bytes:
    """Return a zstd frame with checksum and size."""
    return zstandard.ZstdCompressor(compression_params=_MATCHES).compress(data)


def _symbols(distances: Words, cut: int, symbols: Bytes) -> tuple[bytes, bytes]:
    """Fill in the symbols of a part; return the bits cut higher, tier by tier, and the escaped words."""
    kind = distances.dtype.type
    np.minimum(distances >> kind(cut), kind(1 << OCTAVES), out=symbols, casting="unsafe")
    large = np.flatnonzero(symbols == 1 << OCTAVES)
    above = distances[large] >> kind(cut)
    tiers, found, middle = _tiers(above), np.full(len(large), ESCAPE, np.uint8), []
    for tier, (first, more) in enumerate(TIERS):
        inside = tiers == tier
        found[inside] = (above[inside] >> kind(more)) + kind(first - 4)
        middle.append(bits.pack(above[inside], more))
    symbols[large] = found
    return b"".join(middle), distances[large[tiers == len(TIERS)]].tobytes()


def _distances(
    symbols: Bytes, cut: int, dtype: np.dtype[Any], streams: tuple["_Stream", "_Stream", "_Stream"]
) -> Words:
    """Return the distances of a part out of its symbols and the next bits of the streams."""
    middle, escaped, low = streams
    kind, count = dtype.type, len(symbols)
    above: Words = symbols.astype(dtype)
    for first, more in TIERS:
        inside = np.flatnonzero((symbols >= first) & (symbols < first + 60))
        below = bits.unpack(middle.take(bits.packed_size(len(inside), more)), len(inside), more, dtype)
        above[inside] = ((above[inside] - kind(first - 4)) << kind(more)) | below
    distances: Words = (above << kind(cut)) | bits.unpack(low.take(bits.packed_size(count, cut)), count, cut, dtype)
    large = np.flatnonzero(symbols >= ESCAPE)
    distances[large] = np.frombuffer(escaped.take(len(large) * dtype.itemsize), dtype)
    return distances


def _tiers(above: Words) -> Bytes:
    """Return the tier of each of the large words: 0, 1, or 2 for an escape."""
    tiers = np.zeros(len(above), np.uint8)
    for _, more in TIERS:
        if more + OCTAVES < bits.width(above):
            tiers += above >= above.dtype.type(1 << (more + OCTAVES))
    return tiers


class _Stream:
    """Take bytes from a stream, never more than there are."""

    def __init__(self, data: bytes, place: str) -> None:
        self._data, self._at, self._place = memoryview(data), 0, place

    def take(self, size: int) -> memoryview:
        """Return the next `size` bytes."""
        self._at += size
        if self._at > len(self._data):
            raise FormatError(Reason.CODING, self._place, "a stream ends early")
        return self._data[self._at - size : self._at]

    def require_end(self) -> None:
        """Raise FormatError if bytes are left."""
        if self._at != len(self._data):
            raise FormatError(Reason.CODING, self._place, "a stream has bytes left over")


def _split(start: int, stop: int, size: int) -> Iterator[slice]:
    return (slice(each, min(each + size, stop)) for each in range(start, stop, size))


def _compress(symbols: Bytes) -> bytes:
    trial = symbols[:_TRIAL].data
    sizes = [len(zstandard.ZstdCompressor(compression_params=each).compress(trial)) for each in (_HUFFMAN, _MATCHES)]
    best = _HUFFMAN if sizes[0] <= sizes[1] else _MATCHES
    return zstandard.ZstdCompressor(compression_params=best).compress(symbols.data)


def estimate(sample: Words) -> float:
    """Return how many bits a distance takes, by the lengths of a sample of them."""
    return float(_bits(sample).min())


def _cut(sample: Words) -> int:
    """Return the cut that makes a block smallest, by the lengths of a sample of its distances."""
    return STEP * int(np.argmin(_bits(sample)))


def _bits(sample: Words) -> npt.NDArray[np.float64]:
    """Return how many bits a distance takes under each cut."""
    shares = np.bincount(bits.lengths(sample), minlength=66)[:66] / max(len(sample), 1)
    surprise = _surprise(shares)
    costs = _COSTS[bits.width(sample)] @ shares
    cuts = STEP * np.arange(len(costs))
    below = _surprise(np.cumsum(shares)[cuts])  # lengths up to the cut share symbols, and so their surprise
    total: npt.NDArray[np.float64] = costs + surprise.sum() - np.cumsum(surprise)[cuts] + below
    return total


def _surprise(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = -shares * np.log2(shares, where=shares > 0, out=np.zeros(len(shares)))
    return found


def _costs(width: int) -> npt.NDArray[np.float64]:
    """Return the bits that a word of each length stores under each cut: at least the cut, all of an escaped word."""
    cuts, lengths = np.arange(0, width, STEP)[:, None], np.arange(66)[None, :]
    cost = np.maximum(lengths - 1, cuts).astype(np.float64)
    cost[lengths > cuts + OCTAVES + TIERS[-1][1]] += width
    return cost


_COSTS: Final = {width: _costs(width) for width in (8, 16, 32, 64)}
