"""Write and read a state as its difference from an earlier one (SPEC.md, "Coded states"), group of tensors by group.

The state's root commits to its tensors, not to this coding: an archive may be coded again and keep its signatures.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from polarchive.errors import FormatError, Reason
from polarchive.format import coding
from polarchive.format import fields as f
from polarchive.format.bits import Words
from polarchive.format.blob import Blob
from polarchive.format.canonical import decode as decode_json
from polarchive.format.canonical import encode as encode_json
from polarchive.format.coding import Coded
from polarchive.format.limits import MAX_TENSORS, MAX_TENSORS_HEADER
from polarchive.format.models import Below, Model, Near
from polarchive.format.spelling import specs
from polarchive.format.tensors import ITEMSIZE, Array, Layout, Spec, size_of, spec_of

State = Mapping[str, Array]
MAGIC: Final = b"polarchive/v1/coded\x00"
SAME, RAW, NEAR, BELOW = "same", "raw", "near", "below"
_FLOATS: Final = frozenset(("F64", "F32", "F16", "BF16", "F8_E5M2", "F8_E4M3", "C64"))
_SAMPLE: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class Group:
    """Describe tensors that are coded as one: how, the largest magnitude where it is needed, the streams' sizes."""

    tensors: Layout
    model: str
    top: int
    sizes: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Return the size of the tensors' bytes."""
        return size_of(self.tensors)


_group: Final = f.fields(
    Group, tensors=specs, model=f.one_of(SAME, RAW, NEAR, BELOW), top=f.u64, sizes=f.sequence(f.u64, 5)
)


def encode(state: State, base: State, index: int | None) -> Iterator[bytes]:
    """Yield the bytes of `state` coded against `base`, which is state `index` of the run (None: against nothing)."""
    yield MAGIC + (0 if index is None else index + 1).to_bytes(8, "big")
    for kind, names in _groups(state, base):
        yield from _encode_group(kind, {name: state[name] for name in names}, base)


def base_of(blob: Blob) -> int | None:
    """Return the index of the state that a coded state builds on, None if on nothing."""
    head = _part(blob, 0, len(MAGIC) + 8)
    if head[: len(MAGIC)] != MAGIC:
        raise FormatError(Reason.CODING, blob.place, "not a coded state")
    index = int.from_bytes(head[len(MAGIC) :], "big")
    return index - 1 if index else None


def decode(blob: Blob, base: State, limit: int) -> dict[str, Array]:
    """Return a coded state; FormatError if it is malformed or would take more than `limit` bytes."""
    state: dict[str, Array] = {}
    for group, start in _described(blob):
        limit -= group.nbytes
        if limit < 0:
            raise FormatError(Reason.LIMIT, blob.place, "a state larger than a reader takes")
        sizes = group.sizes
        streams = [_part(blob, start + sum(sizes[:i]), size) for i, size in enumerate(sizes)]
        _take(state, _decode_group(group, streams, base, blob.place), blob.place)
    return state


def raw_size(blob: Blob) -> int:
    """Return how many bytes the tensors of a coded state have, reading only the description of its groups."""
    base_of(blob)
    return sum(group.nbytes for group, _ in _described(blob))


def _groups(state: State, base: State) -> Iterator[tuple[str, list[str]]]:
    """Yield tensors to code as one: those that the base has too or not, by dtype and role, and the unchanged ones."""
    roles: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(state):
        array, before = state[name], base.get(name)
        known = before is not None and (before.dtype, before.shape) == (array.dtype, array.shape)
        part, *path = name.split("/")
        if known and before is not None and np.array_equal(_bytes(before), _bytes(array)):
            role: tuple[str, ...] = (SAME,)
        else:
            role = (NEAR if known else BELOW, array.dtype, part, *path[2:])
        roles.setdefault(role, []).append(name)
    yield from ((role[0], names) for role, names in sorted(roles.items()))


def _encode_group(kind: str, state: State, base: State) -> Iterator[bytes]:
    layout = tuple(spec_of(name, array) for name, array in state.items())
    if kind == SAME:
        yield _head(Group(layout, SAME, 0, ()))
        return
    words = _words(state.values())
    model = _best(words, _words(base[name] for name in state) if kind == NEAR else None, layout[0].dtype)
    coded = coding.encode(words, model)
    if coded.size >= words.nbytes:
        yield _head(Group(layout, RAW, 0, (words.nbytes,)))
        yield words.tobytes()
        return
    streams = (coded.cuts, coded.symbols, coded.middle, coded.escaped, coded.low)
    top, kind = (model.top, BELOW) if isinstance(model, Below) else (0, NEAR)
    yield _head(Group(layout, kind, top, tuple(map(len, streams))))
    yield from streams


def _decode_group(group: Group, streams: list[bytes], base: State, place: str) -> Iterator[tuple[str, Array]]:
    if group.model == SAME:
        yield from ((spec.name, _known(base, spec, place)) for spec in group.tensors)
        return
    dtype = _dtype(group.tensors[0].dtype)
    count = group.nbytes // dtype.itemsize
    words = _stored(streams, count, dtype, place) if group.model == RAW else None
    if words is None:
        words = coding.decode(Coded(*streams), _model(group, base, place), count, dtype, place)
    start = 0
    for spec in group.tensors:
        size = spec.nbytes // dtype.itemsize
        yield spec.name, Array(spec.dtype, spec.shape, words[start : start + size].view(np.uint8).data)
        start += size


def _model(group: Group, base: State, place: str) -> Model:
    if group.model == BELOW:
        return Below(group.top)
    return Near(_words(_known(base, spec, place) for spec in group.tensors), group.tensors[0].dtype in _FLOATS)


def _best(words: Words, predicted: Words | None, dtype: str) -> Model:
    """Return the model under which a sample of the words is smallest."""
    near = [] if predicted is None else [Near(predicted, dtype in _FLOATS)]
    models: list[Model] = [*near, Below.of(words)]
    sample = slice(0, len(words), max(1, len(words) // _SAMPLE))
    return min(models, key=lambda model: coding.estimate(model.distances(words[sample], sample)))


def _bytes(array: Array) -> Words:
    return np.frombuffer(array.data, np.uint8)


def _words(arrays: Iterable[Array]) -> Words:
    found = [np.frombuffer(array.data, _dtype(array.dtype)) for array in arrays]
    return found[0] if len(found) == 1 else np.concatenate(found)


def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(f"<u{4 if name == 'C64' else ITEMSIZE[name]}")


def _known(base: State, spec: Spec, place: str) -> Array:
    array = base.get(spec.name)
    if array is None or (array.dtype, array.shape) != (spec.dtype, spec.shape):
        raise FormatError(Reason.CODING, place, f"{spec.name} is not in the state it builds on")
    return array


def _stored(streams: list[bytes], count: int, dtype: np.dtype[Any], place: str) -> Words:
    if len(streams) != 1 or len(streams[0]) != count * dtype.itemsize:
        raise FormatError(Reason.CODING, place, "not the bytes of its tensors")
    return np.frombuffer(streams[0], dtype)


def _take(state: dict[str, Array], found: Iterator[tuple[str, Array]], place: str) -> None:
    for name, array in found:
        if name in state:
            raise FormatError(Reason.CODING, place, f"{name} appears twice")
        if array.dtype == "BOOL" and bytes(array.data).translate(None, b"\x00\x01"):
            raise FormatError(Reason.CODING, place, f"{name}: a bool that is neither 0 nor 1")
        state[name] = array


def _head(group: Group) -> bytes:
    text = encode_json(_group.write(group))
    frame = coding.compress(text)
    return len(text).to_bytes(4, "big") + len(frame).to_bytes(4, "big") + frame


def _described(blob: Blob) -> Iterator[tuple[Group, int]]:
    """Yield each group and where its streams begin."""
    start, tensors = len(MAGIC) + 8, 0
    while start < blob.size:
        group, start = _read_group(blob, start)
        tensors += len(group.tensors)
        if tensors > MAX_TENSORS:
            raise FormatError(Reason.LIMIT, blob.place, f"more than {MAX_TENSORS} tensors")
        yield group, start
        start += sum(group.sizes)


def _read_group(blob: Blob, start: int) -> tuple[Group, int]:
    sizes = _part(blob, start, 8)
    length, size = int.from_bytes(sizes[:4], "big"), int.from_bytes(sizes[4:], "big")
    if max(length, size) > MAX_TENSORS_HEADER:
        raise FormatError(Reason.LIMIT, blob.place, f"a group header of {length} bytes in a frame of {size}")
    text = coding.decompress(_part(blob, start + 8, size), length, blob.place)
    group = f.read(_group, decode_json(text, MAX_TENSORS_HEADER, blob.place), blob.place)
    _check_group(group, blob.place)
    return group, start + 8 + size


def _check_group(group: Group, place: str) -> None:
    streams = {SAME: 0, RAW: 1, NEAR: 5, BELOW: 5}[group.model]
    dtypes = {spec.dtype for spec in group.tensors}
    if not group.tensors or len(group.sizes) != streams or (group.model != SAME and len(dtypes) != 1):
        raise FormatError(Reason.CODING, place, "a group without tensors, of several dtypes, or of other streams")
    if sum(group.sizes) > group.nbytes:
        raise FormatError(Reason.CODING, place, "streams longer than what they code")
    if group.top >> (8 * _dtype(group.tensors[0].dtype).itemsize if group.model == BELOW else 0):
        raise FormatError(Reason.CODING, place, "a top where there is none, or that is no word")


def _part(blob: Blob, start: int, size: int) -> bytes:
    if start + size > blob.size:
        raise FormatError(Reason.CODING, blob.place, f"{size} bytes at {start} of {blob.size}")
    return bytes(blob.read(start, size))
