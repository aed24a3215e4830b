"""Describe the groups of a coded state, and read such descriptions from strangers (SPEC.md, "Coded states")."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

from polarchive.errors import FormatError, Reason
from polarchive.format import fields as f
from polarchive.format import frames
from polarchive.format.blob import Blob
from polarchive.format.canonical import Json
from polarchive.format.canonical import decode as decode_json
from polarchive.format.canonical import encode as encode_json
from polarchive.format.formula import Formula
from polarchive.format.joined import word_of
from polarchive.format.limits import MAX_SOURCES, MAX_STEPS, MAX_TENSORS, MAX_TENSORS_HEADER
from polarchive.format.predict import Affixes, Rule
from polarchive.format.spelling import specs
from polarchive.format.tensors import Layout, size_of

MAGIC: Final = b"polarchive/v1/coded\x00"
SAME, RAW, NEAR, BELOW, RULE = "same", "raw", "near", "below", "rule"
_STREAMS: Final = {SAME: 0, RAW: 1, NEAR: 5, BELOW: 5, RULE: 5}


@dataclass(frozen=True, slots=True)
class Group:
    """Describe tensors that are coded as one: how many of the layout's next ones, how, and their streams' sizes."""

    tensors: int
    model: str
    top: int
    rule: Rule | None
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """Hold the layout of a coded state, its groups, and where their streams begin."""

    layout: Layout
    groups: tuple[Group, ...]
    start: int

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """Return the tensors of each group."""
        ends = [0]
        for group in self.groups:
            ends.append(ends[-1] + group.tensors)
        return tuple(self.layout[start:end] for start, end in pairwise(ends))


def write(index: int | None, layout: Layout, groups: Sequence[Group]) -> bytes:
    """Return all that comes before the streams of a state that builds on state `index` (None: on nothing)."""
    start = MAGIC + (0 if index is None else index + 1).to_bytes(8, "big")
    return start + _layout(layout) + _framed(encode_json(_groups.write(tuple(groups))))


def base_of(blob: Blob) -> int | None:
    """Return the index of the state that a coded state builds on, None if on nothing."""
    head = _part(blob, 0, len(MAGIC) + 8)
    if head[: len(MAGIC)] != MAGIC:
        raise FormatError(Reason.CODING, blob.place, "not a coded state")
    index = int.from_bytes(head[len(MAGIC) :], "big")
    return index - 1 if index else None


def read(blob: Blob) -> Described:
    """Return the description of a coded state; FormatError unless it is one, and its streams fill the rest."""
    base_of(blob)
    text, start = _unframed(blob, len(MAGIC) + 8)
    layout = f.read(specs, decode_json(text, MAX_TENSORS_HEADER, blob.place), blob.place)
    text, start = _unframed(blob, start)
    groups = f.read(_groups, decode_json(text, MAX_TENSORS_HEADER, blob.place), blob.place)
    described = Described(layout, groups, start)
    _check(described, blob)
    return described


def streams_of(group: Group, blob: Blob, start: int) -> list[bytes]:
    """Return the streams of a group, which begin there."""
    return [_part(blob, start + sum(group.sizes[:index]), size) for index, size in enumerate(group.sizes)]


def _check(described: Described, blob: Blob) -> None:
    def require(condition: bool, what: str) -> None:
        if not condition:
            raise FormatError(Reason.CODING, blob.place, what)

    groups, stored = described.groups, sum(sum(group.sizes) for group in described.groups)
    require(len({spec.name for spec in described.layout}) == len(described.layout), "a tensor appears twice")
    require(sum(group.tensors for group in groups) == len(described.layout), "other tensors than those of the groups")
    require(described.start + stored == blob.size, "streams that do not fill the rest")
    for group, layout in zip(groups, described.layouts, strict=True):
        dtypes = {spec.dtype for spec in layout}
        require(len(dtypes) == 1 or (group.model == SAME and len(dtypes) > 1), "no tensors, or of several dtypes")
        require(len(group.sizes) == _STREAMS[group.model], "other streams than those of the model")
        require(sum(group.sizes) <= size_of(layout), "streams longer than what they code")
        bits = 8 * word_of(layout[0].dtype).itemsize if group.model == BELOW else 0
        require(not group.top >> bits, "a top where there is none, or that is no word")
        require((group.rule is not None) == (group.model == RULE), "a rule where there is none, or none")


@lru_cache(maxsize=4)
def _layout(layout: Layout) -> bytes:
    return _framed(encode_json(specs.write(layout)))


def _framed(text: bytes) -> bytes:
    frame = frames.compress(text)
    return len(text).to_bytes(4, "big") + len(frame).to_bytes(4, "big") + frame


def _unframed(blob: Blob, start: int) -> tuple[bytes, int]:
    sizes = _part(blob, start, 8)
    length, size = int.from_bytes(sizes[:4], "big"), int.from_bytes(sizes[4:], "big")
    if max(length, size) > MAX_TENSORS_HEADER:
        raise FormatError(Reason.LIMIT, blob.place, f"a description of {length} bytes in a frame of {size}")
    return frames.decompress(_part(blob, start + 8, size), length, blob.place), start + 8 + size


def _part(blob: Blob, start: int, size: int) -> bytes:
    if start + size > blob.size:
        raise FormatError(Reason.CODING, blob.place, f"{size} bytes at {start} of {blob.size}")
    return bytes(blob.read(start, size))


def _read_affixes(value: Json) -> Affixes:
    found = _texts.read(value)
    if len(found) != 2:
        raise ValueError("expected what stands before and after a name")
    return found[0], found[1]


_texts: Final = f.sequence(f.text, 2)
_formula: Final = f.sequence(f.text, MAX_STEPS)
_rule: Final = f.fields(
    Rule,
    names=f.sequence(f.Codec(_texts.write, _read_affixes), MAX_SOURCES),
    formula=f.Codec(lambda formula: _formula.write(formula.steps), lambda value: Formula(_formula.read(value))),
)
_group: Final = f.fields(
    Group,
    tensors=f.u64,
    model=f.one_of(SAME, RAW, NEAR, BELOW, RULE),
    top=f.u64,
    rule=f.optional(_rule),
    sizes=f.sequence(f.u64, 5),
)
_groups: Final = f.sequence(_group, MAX_TENSORS)
