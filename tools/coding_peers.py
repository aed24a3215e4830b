"""Code states with other people's programs, for tools/bench_coding.py, and bound what any coder of its kind can do."""

import io
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from polarchive.format import bits, coding
from polarchive.format.bits import Words
from polarchive.format.choice import choose
from polarchive.format.delta import State
from polarchive.format.joined import Joined, word_of
from polarchive.format.plan import tasks
from polarchive.format.predict import Surroundings
from polarchive.format.tensors import spec_of
from polarchive.training.arrays import to_tensors
from tools.coding_workloads import Pair

LEADING = 7  # bits of a distance that are entropy-coded in the bound; the others are taken for noise


def torch_save(pair: Pair) -> bytes:
    """Return the file that torch.save writes."""
    file = io.BytesIO()
    torch.save(to_tensors(pair.state), file)
    return file.getvalue()


def torch_save_zstd(pair: Pair) -> bytes:
    """Return that file, compressed."""
    return zstandard.ZstdCompressor(level=3).compress(torch_save(pair))


def zipnn_alone(pair: Pair) -> bytes:
    """Return what ZipNN makes of the bytes of a state."""
    return bytes(zipnn(pair).compress(joined(pair.state, pair.state)))


def zipnn_delta(pair: Pair) -> bytes:
    """Return what ZipNN makes of the bytes of a state given those of the one before: it takes their exclusive or."""
    own = zipnn(pair, delta_compressed_type="byte")
    return bytes(own.compress(joined(pair.state, pair.state), delta_second_data=joined(pair.base, pair.state)))


def zipnn(pair: Pair, **more: str) -> Any:
    """Return ZipNN as it is to be set up for a state."""
    import zipnn as library

    narrow = sum(array.dtype == "BF16" for array in pair.state.values()) > len(pair.state) / 2
    return library.ZipNN(bytearray_dtype="bfloat16" if narrow else "float32", input_format="byte", threads=1, **more)


def joined(state: State, like: State) -> bytes:
    """Return the bytes of all tensors, wide ones first."""
    names = sorted(like, key=lambda name: (like[name].dtype != "F32", like[name].dtype, name))
    return b"".join(state[name].data for name in names)


def pcodec(pair: Pair) -> bytes:
    """Return what pcodec makes of the differences of words as integers, role by role; bytes stay as they are."""
    from pcodec import ChunkConfig, standalone

    found = []
    for names in by_role(pair.state):
        words, before = (Joined.of([state[name] for name in names])[:] for state in (pair.state, pair.base))
        if words.itemsize == 1:
            found.append(words.tobytes())
        else:
            found.append(standalone.simple_compress((words - before).view(f"<i{words.itemsize}"), ChunkConfig()))
    return b"".join(found)


def by_role(state: State) -> Iterable[list[str]]:
    """Return names by dtype, part and key of the optimizer."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name, array in state.items():
        part, *path = name.split("/")
        found.setdefault((array.dtype, part, *path[2:]), []).append(name)
    return found.values()


def bound(pair: Pair) -> float:
    """Return the bytes that a state takes at the empirical entropy of its distances.

    Distances are those of the models and rules that our own coder chose; each block of 2^17 has the zero-order entropy
    of the leading seven bits and the length of its distances, with the correction of Miller and Madow, and all other
    bits in full. Descriptions cost nothing.
    """
    return sum(float(entropy(distances)) for distances in distances_of(pair)) / 8


def distances_of(pair: Pair) -> Iterator[Words]:
    """Yield the distances of a state, block by block; of what did not change there are none."""
    changed = [name for name, array in pair.state.items() if bytes(array.data) != bytes(pair.base[name].data)]
    for task in tasks(pair.state, changed, pair.base, pair.hyper):
        words = Joined.of([pair.state[name] for name in task.names])
        layout = tuple(spec_of(name, pair.state[name]) for name in task.names)
        model = choose(words, Surroundings(layout, pair.state, pair.base), task.known, task.place, task.rules).model
        for block in bits.parts(len(words), coding.BLOCK):
            out = np.empty(block.stop - block.start, word_of(layout[0].dtype))
            model.distances(words[block], block, out)
            yield out


def entropy(distances: Words) -> float:
    """Return how many bits distances take."""
    lengths = bits.lengths(distances)
    rest = np.maximum(lengths - LEADING, 0)
    symbols = (distances.astype(np.uint64) >> rest.astype(np.uint64)) + (
        lengths.astype(np.uint64) << np.uint64(LEADING)
    )
    _, counts = np.unique(symbols, return_counts=True)
    shares = counts / len(distances)
    per_symbol = -(shares * np.log2(shares)).sum() + (len(counts) - 1) / (2 * np.log(2) * len(distances))
    return float(len(distances) * per_symbol + rest.sum())
