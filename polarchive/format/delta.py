"""Write and read a state as its difference from an earlier one (SPEC.md, "Coded states"), group of tensors by group.

The state's root commits to its tensors, not to this coding: an archive may be coded again and keep its signatures.
"""

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from polarchive.errors import FormatError, PolError, Reason
from polarchive.format import coding, groups
from polarchive.format.arithmetic import keeps_subnormals
from polarchive.format.bits import Words
from polarchive.format.blob import Blob
from polarchive.format.choice import choose
from polarchive.format.coding import Coded
from polarchive.format.entry import Hyper
from polarchive.format.groups import BELOW, MAGIC, NEAR, RAW, RULE, SAME, Group, base_of
from polarchive.format.joined import Joined, word_of
from polarchive.format.models import Below, Model, Near
from polarchive.format.plan import Task, tasks
from polarchive.format.predict import Prediction, State, Surroundings
from polarchive.format.tensors import Array, Buffer, Spec, size_of, spec_of

__all__ = ["MAGIC", "UNKNOWN", "State", "base_of", "decode", "encode"]
UNKNOWN: Final[Hyper] = MappingProxyType({})
_FIRST: Final = 64


def encode(state: State, base: State, index: int | None, hyper: Hyper = UNKNOWN) -> Iterator[Buffer]:
    """Yield the bytes of `state` coded against `base`, which is state `index` of the run (None: against nothing).

    `hyper` are the optimizers' settings for the steps between them, from which they may be predicted.
    """
    specs = {name: spec_of(name, state[name]) for name in sorted(state)}
    same = [name for name in specs if name in base and _are_same(state[name], base[name])]
    earlier = {name: state[name] for name in same}
    described, streams = [Group(len(same), SAME, 0, None, ())] if same else [], list[Buffer]()
    for task in tasks(state, sorted(specs.keys() - earlier.keys()), base, hyper):
        layout = tuple(specs[name] for name in task.names)
        group, found = _encode_group(
            task, Joined.of([state[name] for name in task.names]), Surroundings(layout, earlier, base)
        )
        earlier |= {name: state[name] for name in task.names}
        described.append(group)
        streams += found
    yield groups.write(index, tuple(specs[name] for name in earlier), described)
    yield from streams


def decode(blob: Blob, base: State, limit: int) -> dict[str, Array]:
    """Return a coded state; FormatError if it is malformed or would take more than `limit` bytes."""
    described = groups.read(blob)
    if size_of(described.layout) > limit:
        raise FormatError(Reason.LIMIT, blob.place, "a state larger than a reader takes")
    state: dict[str, Array] = {}
    start = described.start
    for group, layout in zip(described.groups, described.layouts, strict=True):
        around = Surroundings(layout, state, base)
        state.update(list(_decode_group(group, around, groups.streams_of(group, blob, start), blob.place)))
        start += sum(group.sizes)
    return state


def _encode_group(task: Task, words: Joined, around: Surroundings) -> tuple[Group, tuple[Buffer, ...]]:
    choice = choose(words, around, task.known, task.place, task.rules)
    coded = coding.encode(words, choice.model)
    if coded.size >= words.nbytes:
        return Group(len(task.names), RAW, 0, None, (words.nbytes,)), (words[:].tobytes(),)
    top = choice.model.top if isinstance(choice.model, Below) else 0
    kind = BELOW if isinstance(choice.model, Below) else RULE if choice.rule else NEAR
    return Group(len(task.names), kind, top, choice.rule, tuple(map(len, coded.streams))), coded.streams


def _decode_group(group: Group, around: Surroundings, streams: list[bytes], place: str) -> Iterator[tuple[str, Array]]:
    if group.model == SAME:
        yield from ((spec.name, _known(around.old, spec, place)) for spec in around.layout)
        return
    dtype, start = word_of(around.layout[0].dtype), 0
    count = size_of(around.layout) // dtype.itemsize
    if group.model == RAW:
        words = _stored(streams[0], count, dtype, place)
    else:
        words = coding.decode(Coded(*streams), _model(group, around, place), count, dtype, place)
    for spec in around.layout:
        array = Array(spec.dtype, spec.shape, words[start : start + spec.nbytes // dtype.itemsize].view(np.uint8).data)
        _require_bools(spec, array, place)
        yield spec.name, array
        start += spec.nbytes // dtype.itemsize


def _model(group: Group, around: Surroundings, place: str) -> Model:
    if group.model == BELOW:
        return Below(group.top)
    if group.rule is None:
        return Near(Joined.of([_known(around.old, spec, place) for spec in around.layout]))
    if not keeps_subnormals():
        raise PolError("this thread takes tiny numbers for zero (torch.set_flush_denormal): no state is predicted so")
    try:
        return Near(Prediction.of(group.rule, around))
    except ValueError as error:
        raise FormatError(Reason.CODING, place, str(error)) from None


def _are_same(one: Array, other: Array) -> bool:
    """Tell whether two tensors are the same; most that are not differ at once."""
    if (one.dtype, one.shape) != (other.dtype, other.shape) or one.data[:_FIRST] != other.data[:_FIRST]:
        return False
    return np.array_equal(np.frombuffer(one.data, np.uint8), np.frombuffer(other.data, np.uint8))


def _known(base: State, spec: Spec, place: str) -> Array:
    array = base.get(spec.name)
    if array is None or (array.dtype, array.shape) != (spec.dtype, spec.shape):
        raise FormatError(Reason.CODING, place, f"{spec.name} is not in the state it builds on")
    return array


def _stored(stream: bytes, count: int, dtype: np.dtype[Any], place: str) -> Words:
    if len(stream) != count * dtype.itemsize:
        raise FormatError(Reason.CODING, place, "not the bytes of its tensors")
    return np.frombuffer(stream, dtype)


def _require_bools(spec: Spec, array: Array, place: str) -> None:
    if spec.dtype == "BOOL" and bytes(array.data).translate(None, b"\x00\x01"):
        raise FormatError(Reason.CODING, place, f"{spec.name}: a bool that is neither 0 nor 1")
