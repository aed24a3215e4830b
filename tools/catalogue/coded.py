"""Make coded states, whole and broken: the first `base` bytes of each are state 0 as a file, the others code state 1.

All frames but one are made by hand of blocks that are not compressed, so that no version of zstd makes other bytes.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import zstandard

from polarchive.errors import Reason
from polarchive.format import bits, container, tensors
from polarchive.format.bits import Words
from polarchive.format.canonical import Json, encode
from polarchive.format.delta import MAGIC
from polarchive.format.limits import MAX_CHAIN, MAX_GROWTH, MAX_SMALL_STATE, MAX_TENSORS_HEADER
from polarchive.format.tensors import ITEMSIZE, Array
from tests.simulator import Member, Simulation, State, floats, spell_state
from tools.catalogue import OK, Made, Make, opened, sealed, vector
from tools.catalogue import good as whole
from tools.catalogue.forge import ONE, TWO, forged, plus, swap

SPEC, BLOCK = "Coded states", 1 << 17
CUTS, SYMBOLS, MIDDLE, ESCAPED, LOW = range(5)
Streams = tuple[bytes, ...]
Change = Callable[[bytes], bytes]
Both = tuple[bytes, Mapping[str, object]]


def good(make: Make) -> Make:
    """Enter a coded state that every reader accepts."""
    return vector("coded", OK, SPEC)(make)


def bad(make: Make) -> Make:
    """Enter a coded state that is none."""
    return vector("coded", Reason.CODING, SPEC)(make)


def frame(
    data: bytes,
    *,
    stated: int | None = None,
    blocks: bytes | None = None,
    flags: int = 0xC4,
    window: int = 7,
    check: bytes | None = None,
) -> bytes:
    """Return a zstd frame that states its size in 8 bytes, a window of 2^(10 + `window`) bytes, and has a checksum."""
    size = (len(data) if stated is None else stated).to_bytes(8, "little") if flags & 0xC0 else b""
    head = b"\x28\xb5\x2f\xfd" + bytes([flags, window << 3]) + b"\1" * (flags & 1) + size
    return head + (stored(data) if blocks is None else blocks) + (checksum(data) if check is None else check)


def stored(data: bytes) -> bytes:
    """Return the blocks of a frame that hold these bytes as they are."""
    starts = range(0, max(len(data), 1), BLOCK)
    return b"".join(block(data[start : start + BLOCK], last=start + BLOCK >= len(data)) for start in starts)


def block(data: bytes, *, last: bool = False) -> bytes:
    """Return one block: the byte and how often, where all are equal, or the bytes."""
    same = len(set(data)) == 1
    return (len(data) << 3 | 2 * same | last).to_bytes(3, "little") + (data[:1] if same else data)


def checksum(data: bytes) -> bytes:
    """Return what ends a frame: the low four bytes of the XXH64 of its content."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)[-4:]


@dataclass(frozen=True, slots=True)
class Group:
    """Hold what a coded state says of a group, the tensors that it lists for it, and its streams."""

    told: Mapping[str, Json]
    tensors: Sequence[Json]
    streams: Streams


def group(
    model: str, state: State, *streams: bytes, top: int = 0, rule: Json = None, tensors: Any = None, **lies: Json
) -> Group:
    """Return a group of these streams, with lies."""
    items: list[Json] = [
        {"dtype": array.dtype, "name": name, "shape": [str(dim) for dim in array.shape]}
        for name, array in state.items()
    ]
    items = items if tensors is None else tensors
    told = {"model": model, "rule": rule, "sizes": [str(len(stream)) for stream in streams], "top": str(top)}
    return Group({**told, "tensors": str(len(items)), **lies}, items, streams)


def layout_of(*groups: Group) -> bytes:
    """Return the description of the tensors of these groups."""
    return encode([item for each in groups for item in each.tensors])


def told_of(*groups: Group) -> bytes:
    """Return the description of these groups."""
    return encode([dict(each.told) for each in groups])


def framed(text: bytes, made: Change = frame, length: int | None = None) -> bytes:
    """Return a description in its frame, behind the sizes of both."""
    found = made(text)
    return (len(text) if length is None else length).to_bytes(4, "big") + len(found).to_bytes(4, "big") + found


def raw(state: State) -> Group:
    """Return a group of tensors as they are."""
    return group("raw", state, b"".join(bytes(array.data) for array in state.values()))


def streams(distances: Iterable[int], cut: int = 0, width: int = 32) -> Streams:
    """Return the five streams of distances of one block."""
    found = np.array(list(distances), f"<u{width // 8}")
    above = [int(distance) >> cut for distance in found]
    symbols = bytes(map(_symbol, above))
    middle = bytes(each % 256 for each, symbol in zip(above, symbols, strict=True) if 192 <= symbol < 255)
    escaped = found[[symbol == 255 for symbol in symbols]].tobytes()
    return bytes([cut]), frame(symbols), middle, escaped, packed(found, cut)


def packed(found: Words, cut: int) -> bytes:
    """Return the bits of words below the cut."""
    low = np.zeros(bits.packed_size(len(found), cut), np.uint8)
    bits.pack(found, cut, low)
    return low.tobytes()


def _symbol(above: int) -> int:
    return above if above < 192 else min((above >> 8) + 192, 255)


def coded(*groups: Group, base: int | None = 0, state: State | None = None, tail: bytes = b"") -> Both:
    """Return a coded state behind its base, and bytes after it."""
    streams = b"".join(stream for each in groups for stream in each.streams)
    return behind(framed(layout_of(*groups)) + framed(told_of(*groups)) + streams + tail, base=base, state=state)


def behind(rest: bytes, *, base: int | None = 0, state: State | None = None, head: bytes = MAGIC) -> Both:
    """Return a coded state behind its base, of which all but the first bytes are these."""
    file = spell_state(BASE if state is None else state)
    return file + head + (0 if base is None else base + 1).to_bytes(8, "big") + rest, {"base": len(file)}


def gives(found: State, *groups: Group, base: int | None = 0, state: State | None = None) -> Made:
    """Return a coded state behind its base, with the root of the state that it gives."""
    return rooted(found, coded(*groups, base=base, state=state))


def rooted(found: State, made: Both) -> Made:
    """Return a coded state with the root of the state that it gives."""
    data, more = made
    return data, {**more, "root": tensors.root_of(found).hex()}


def words(array: Array) -> Words:
    """Return the words of a tensor."""
    return np.frombuffer(array.data, f"<u{4 if array.dtype == 'C64' else ITEMSIZE[array.dtype]}")


def like(array: Array, found: Words) -> Array:
    """Return a tensor of other words."""
    return Array(array.dtype, array.shape, found.astype(words(array).dtype).tobytes())


def zeros(count: int = 32) -> State:
    """Return a tensor of zeros of each dtype."""
    return {dtype.lower(): Array(dtype, (count,), bytes(count * size)) for dtype, size in ITEMSIZE.items()}


def ones(state: State) -> State:
    """Return tensors whose words are 1, which is the float just above 0, and true."""
    return {name: like(array, words(array) | words(array).dtype.type(1)) for name, array in state.items()}


def each(model: str, state: State, distance: int, top: int = 0) -> Iterable[Group]:
    """Return a group for each tensor, all of whose words lie at one distance."""
    for name, array in state.items():
        found = words(array)
        yield group(model, {name: array}, *streams([distance] * len(found), width=bits.width(found)), top=top)


W = Array("F32", (4, 8), (np.arange(-16, 16, dtype="<f4") / 8).tobytes())
N = Array("I64", (8,), np.arange(-3, 5, dtype="<i8").tobytes())
M = Array("BOOL", (32,), bytes(32))
BASE: State = {"m": M, "n": N, "w": W}
FILE = spell_state(BASE)
RAW = sum(len(bytes(array.data)) for array in BASE.values())
UP = like(W, words(W) + np.uint32(16))
SIXTEEN = streams([2 * 16] * 32)
NEAR = group("near", {"w": W}, *SIXTEEN)
TEXT = told_of(NEAR)
FAR = [3, 3055, 3072, 4095, 4096, 258047, 258048, 1 << 31, *range(24)]
TOP = (1 << 32) - 1
X = like(W, bits.unrotated(np.uint32(TOP) - np.array(FAR, "<u4")))
RICH = streams(FAR, cut=4)  # symbols of every range, and escaped words
RICH_SYMBOLS = bytes(_symbol(distance >> 4) for distance in FAR)
BELOW = group("below", {"x": W}, *RICH, top=TOP)
SKIPPED = b"\x50\x2a\x4d\x18\4\0\0\0skip"
WRITTEN = """
AAAAggAAAFYotS/9JIJNAgCUA1t7ImR0eXBlIjoiSTY0IiwibmFtZSI6Im4iLCJzaGFwZSI6WyI4Il19LEYzMnc0Iix4MTIwIl19XQUAgBNQ3QP4BXuIbaoM
AOrbPAAAAPYAAAB5KLUv/ST2ZQMAkkYVGoA5LQaI6K1xRiIeMY5boEkAYTS2NE8dzOgISLNxjEMUAA5PsQXwDml1cLYPt2+VKLLmc25Iy/adL5UW0mVDjnwp
orC2XQbluozaViVZ56uEpJw4AgcAWyxSRTGwYNQVXtgVHioFAxzMEklLmAAotS/9JCBFAAAQICABACLAAjEwSQcUKLUv/SR4jQMAgkcbHUCNHsOsCcHVkGUj
pwb8qR/PkDS6MxRViraRLYkEjlgYaGCbWTfcBQlokqO/4DNNNX8hTarcwbKvx9zYXkXYEuM3TnXAgdyRVIi4uuTjVBIYt5cj8Kgb92OxKeEUr2E7a0SOSfQQ
Gm5b5b8+JQCKSv5NAAABAAAAAAAAAAEAAAAAAAAAAQABAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAABAAEAAAABAAEAAQABAAAAAQAAAAEAAQABAAEAAAABAAEA
AAABAAEAAQAAAAEAAQAAAAEAAQABAAAAAQAAAAEAAAAAAAEAAQABAAAAAQAAAAAAAAAAAAEAAAABAAAAAAABAAEAAAABAAEAAAABAAEAAQAAAAAAAQABAAAA
AAABAAAAAQABAAAAAQAAAAEAAQAAAAAAAQAAAAAAAQABAAEAAQAAAAEAAAAAAAAAAQAAAAEAAQAAAAEAAQAAAAAAAQAAAAEAhATIzMyIyASETERIwMjMwIAM
DMQAzMyEDMwIzMzMzEBIiEBIBIxMyMzMDMzMTMjMiMTIhMDERIDAzESM
"""


@good
def of_nothing() -> Made:
    """A state of no tensors is no groups."""
    return gives({})


@good
def based_on_nothing() -> Made:
    """A state that builds on no other."""
    return gives({"a": N, "x": X}, BELOW, raw({"a": N}), base=None)


@good
def same() -> Made:
    """All tensors are those of the base: three dtypes in one group, in no order."""
    return gives(BASE, group("same", {"w": W, "m": M, "n": N}))


@good
def same_without_some() -> Made:
    """The base has tensors that the state does not have."""
    return gives({"n": N}, group("same", {"n": N}))


@good
def near() -> Made:
    """Floats whose words are sixteen above those of the base, on either side of zero."""
    return gives({"w": UP}, NEAR)


@good
def near_by_a_step_down() -> Made:
    """Floats whose words are one below those of the base; from 0.0 it leads to a NaN with all bits set."""
    found = like(W, words(W) - np.uint32(1))
    return gives({"w": found}, group("near", {"w": W}, *streams([1] * 32)))


@good
def near_not_a_number() -> Made:
    """Infinities, subnormal numbers and NaNs with bits of their own, at the distances that their bits have."""
    found = words(W).copy()
    found[:8] = [0x7F800000, 0xFF800000, 0x7F800001, 0xFFC01234, 0x80000000, 1, 0x807FFFFF, 0x7FFFFFFF]
    distances = bits.zigzag(found - words(W))
    return gives({"w": like(W, found)}, group("near", {"w": W}, *streams(map(int, distances))))


@good
def near_integers() -> Made:
    """Integers one above those of the base: from -1 to 0 the word begins anew."""
    return gives({"n": like(N, words(N) + np.uint64(1))}, *each("near", {"n": N}, 2))


@good
def near_two_tensors() -> Made:
    """Two tensors are coded as one, in the order in which they are described, which is not that of their names."""
    both = group("near", {"w": W, "v": W}, *streams([*[2 * 16] * 32, *[0] * 32]))
    return gives({"w": UP, "v": W}, both, state={"v": W, "w": W})


@good
def near_of_every_dtype() -> Made:
    """A group of each dtype, whose words are one above zero."""
    return gives(ones(zeros()), *each("near", zeros(), 2), state=zeros())


@good
def below() -> Made:
    """Distances at the borders of all three ranges of symbols, under a cut of 4 bits."""
    return gives({"x": X}, BELOW)


@good
def below_of_every_dtype() -> Made:
    """A group of each dtype, whose words are 1, which is 2 when it is turned."""
    return gives(ones(zeros()), *each("below", zeros(), 1, top=3), base=None)


@good
def raw_of_every_dtype() -> Made:
    """A group of each dtype as it is."""
    return gives(ones(zeros(2)), *(raw({name: array}) for name, array in ones(zeros(2)).items()))


@good
def raw_without_bytes() -> Made:
    """Tensors of no elements and of no dimensions."""
    state = {"a": Array("F32", (0, 3), b""), "b": Array("F32", (), b"abcd")}
    return gives(state, raw({"a": state["a"]}), raw({"b": state["b"]}))


@good
def bits_of_an_odd_number() -> Made:
    """An odd number of words have four bits below the cut; the four bits that pad them mean nothing."""
    distances = np.arange(99, dtype=np.uint8) % np.uint8(16)
    low = bytearray(packed(distances, 4))
    low[-1] |= 0xF0
    state = {"x": Array("U8", (99,), bits.unrotated(np.uint8(255) - distances).tobytes())}
    return gives(state, group("below", state, b"\4", frame(bytes(99)), b"", b"", bytes(low), top=255))


@good
def cuts_of_two_blocks() -> Made:
    """The second block has one word, 4 bits of which lie below its cut."""
    distances = np.array([0] * BLOCK + [21], np.uint8)
    state = {"x": Array("U8", (BLOCK + 1,), bits.unrotated(np.uint8(255) - distances).tobytes())}
    symbols = frame(bytes(BLOCK) + b"\1")
    return gives(state, group("below", state, b"\0\4", symbols, b"", b"", packed(distances[-1:], 4), top=255))


@good
def blocks_that_are_compressed() -> Made:
    """A state as a writer makes it, with matches and Huffman codes."""
    return rooted(written(), behind(base64.b64decode(WRITTEN)))


def written() -> State:
    """Return the state whose groups are `WRITTEN`."""
    return {"n": N, "w": UP, "x": floats(0, "written", 120)}


@good
def frame_of_several_blocks() -> Made:
    """A description in blocks of one byte each, and a last one of none."""
    same = group("same", {"w": W})

    def apart(text: bytes) -> bytes:
        return frame(text, blocks=b"".join(block(text[at : at + 1]) for at in range(len(text))) + block(b"", last=True))

    return rooted({"w": W}, behind(framed(layout_of(same), apart) + framed(told_of(same), apart)))


@bad
def empty() -> Made:
    """A member of no bytes."""
    return FILE, {"base": len(FILE)}


@bad
def of_another_version() -> Made:
    """The first bytes are those of another version."""
    return behind(framed(layout_of(NEAR)) + framed(TEXT) + b"".join(SIXTEEN), head=MAGIC.replace(b"v1", b"v2"))


@bad
def safetensors_file() -> Made:
    """A safetensors file where a coded state should be."""
    return FILE + FILE, {"base": len(FILE)}


@bad
def cut_in_the_index_of_the_base() -> Made:
    """A byte of the index of the base is missing."""
    return behind(b"")[0][:-1], {"base": len(FILE)}


@bad
def cut_in_the_sizes() -> Made:
    """Seven bytes follow the description of the layout."""
    return behind(framed(layout_of(NEAR)) + bytes(7))


@bad
def cut_in_the_frame() -> Made:
    """The frame of the groups ends early."""
    return behind((framed(layout_of(NEAR)) + framed(TEXT))[:-1])


@bad
def cut_in_the_streams() -> Made:
    """The last stream ends early."""
    data, more = coded(raw({"a": N}))
    return data[:-1], more


@bad
def byte_after() -> Made:
    """A byte follows the last group."""
    return coded(NEAR, tail=b"\0")


def reframed(made: Change, length: int | None = None) -> Made:
    """Return a state of one group whose description lies in another frame."""
    return behind(framed(layout_of(NEAR)) + framed(TEXT, made, length) + b"".join(SIXTEEN))


@bad
def frame_missing() -> Made:
    """A description in a frame of no bytes."""
    return reframed(lambda text: b"")


@bad
def frame_that_is_none() -> Made:
    """A description without a frame around it."""
    return reframed(lambda text: text)


@bad
def frame_without_magic() -> Made:
    """A frame without its first four bytes, as some programs allow."""
    return reframed(lambda text: frame(text)[4:])


@bad
def frame_of_another_size() -> Made:
    """A frame states one byte more than it holds, and so does the group."""
    return reframed(lambda text: frame(text, stated=len(text) + 1), len(TEXT) + 1)


@bad
def frame_of_another_size_than_described() -> Made:
    """A frame states what it holds, and the group one byte more."""
    return reframed(frame, len(TEXT) + 1)


@bad
def frame_of_no_size() -> Made:
    """A frame does not state its size."""
    return reframed(lambda text: frame(text, flags=0x04))


@bad
def frame_of_terabytes() -> Made:
    """A frame of some hundred bytes states 2^40."""
    return reframed(lambda text: frame(text, stated=1 << 40))


@bad
def frame_that_holds_more() -> Made:
    """A frame and its group state 2 MiB, and the frame holds 128 MiB of spaces in four kilobytes."""
    blocks = block(b" " * BLOCK) * 1024 + block(b"", last=True)
    return reframed(lambda text: frame(text, stated=1 << 21, blocks=blocks), 1 << 21)


@bad
def frame_without_checksum() -> Made:
    """A frame has no checksum, which zstd allows."""
    return reframed(lambda text: frame(text, flags=0xC0, check=b""))


@bad
def frame_of_a_wrong_checksum() -> Made:
    """The checksum of a frame is that of no bytes."""
    return reframed(lambda text: frame(text, check=checksum(b"")))


@bad
def frame_with_a_dictionary() -> Made:
    """A frame names a dictionary, which no reader has."""
    return reframed(lambda text: frame(text, flags=0xC5))


@bad
def frame_with_a_reserved_bit() -> Made:
    """A frame uses a bit that zstd reserves."""
    return reframed(lambda text: frame(text, flags=0xCC))


@bad
def frame_with_a_reserved_block() -> Made:
    """A frame has a block of the kind that zstd reserves."""
    return reframed(lambda text: frame(text, blocks=bytes([block(text, last=True)[0] | 6]) + block(text)[1:]))


@bad
def frame_without_a_last_block() -> Made:
    """No block of a frame says that it is the last."""
    return reframed(lambda text: frame(text, blocks=block(text)))


@bad
def frame_cut_off() -> Made:
    """A frame ends within its checksum, and the group says so."""
    return reframed(lambda text: frame(text)[:-1])


@bad
def frame_twice() -> Made:
    """The frame of a description is there twice."""
    return reframed(lambda text: frame(text) * 2)


@bad
def frame_of_halves() -> Made:
    """A description in two frames, which together have its size."""
    return reframed(lambda text: frame(text[:40]) + frame(text[40:]))


@bad
def frame_and_a_byte() -> Made:
    """A byte follows the frame of a description, and the group counts it."""
    return reframed(lambda text: frame(text) + b"\0")


@bad
def frame_after_a_skippable_one() -> Made:
    """A frame that zstd skips comes first."""
    return reframed(lambda text: SKIPPED + frame(text))


@bad
def frame_before_a_skippable_one() -> Made:
    """A frame that zstd skips comes last."""
    return reframed(lambda text: frame(text) + SKIPPED)


@bad
def frame_that_is_skippable() -> Made:
    """A frame that zstd skips has the size of the description, and holds it."""
    return reframed(lambda text: SKIPPED[:4] + len(text).to_bytes(4, "little") + text)


@bad
def layout_in_a_frame_without_checksum() -> Made:
    """The frame of the layout has no checksum."""
    return behind(framed(layout_of(NEAR), lambda text: frame(text, flags=0xC0, check=b"")) + framed(TEXT))


@bad
def groups_of_fewer_tensors() -> Made:
    """The layout has a tensor more than the groups."""
    return behind(framed(layout_of(NEAR, raw({"a": N}))) + framed(TEXT) + b"".join(SIXTEEN))


@bad
def groups_of_more_tensors() -> Made:
    """The groups have a tensor more than the layout."""
    return behind(framed(layout_of()) + framed(TEXT) + b"".join(SIXTEEN))


@vector("coded", Reason.LIMIT, SPEC)
def description_too_long() -> Made:
    """A description of a byte more than 33,554,432, in a frame of a kilobyte that states it."""
    size = MAX_TENSORS_HEADER + 1
    blocks = block(b" " * BLOCK) * (size // BLOCK) + block(b" ", last=True)
    return reframed(lambda text: frame(b"", stated=size, blocks=blocks), size)


def respelled(text: bytes) -> Made:
    """Return a state of one group whose description is spelled so."""
    return behind(framed(layout_of(NEAR)) + framed(text) + b"".join(SIXTEEN))


def retold(model: str = "near", streams: Streams = SIXTEEN, top: int = 0, **lies: Any) -> Made:
    """Return a state of one group with another description."""
    return coded(group(model, {"w": W}, *streams, top=top, **lies))


def item(**lies: Json) -> list[Json]:
    """Return the tensors of a description, of which there is one, with lies."""
    return [{"dtype": "F32", "name": "w", "shape": ["4", "8"], **lies}]


def fields(make: Make) -> Make:
    """Enter a coded state whose description has a field of the wrong form."""
    return vector("coded", Reason.FIELD, SPEC)(make)


@fields
def model_unknown() -> Made:
    """A model that this version does not know."""
    return retold("median")


@fields
def model_missing() -> Made:
    """A description without a model."""
    return respelled(swap(b'"model":"near",', b"")(TEXT))


@fields
def description_with_more() -> Made:
    """A description has a field that this version does not know."""
    return retold(level="19")


@fields
def description_of_nothing() -> Made:
    """A description is an empty object."""
    return respelled(b"[{}]")


@fields
def sizes_of_six_streams() -> Made:
    """A group has a sixth stream, of no bytes."""
    return retold(streams=(*SIXTEEN, b""))


@fields
def size_negative() -> Made:
    """The size of a stream is negative."""
    return retold(sizes=["-1", *(str(len(stream)) for stream in SIXTEEN[1:])])


@fields
def tensor_of_an_unknown_dtype() -> Made:
    """A tensor has a dtype of four bits."""
    return retold(tensors=item(dtype="F4"))


@fields
def tensor_without_a_name() -> Made:
    """A tensor has an empty name."""
    return retold(tensors=item(name=""))


@fields
def tensor_named_as_metadata() -> Made:
    """A tensor has the name of the metadata of safetensors."""
    return retold(tensors=item(name="__metadata__"))


@fields
def dimension_of_2_to_the_48() -> Made:
    """A tensor has no elements and a dimension of 2^48."""
    return retold(tensors=item(shape=[str(1 << 48), "0"]))


@fields
def dimensions_seventeen() -> Made:
    """A tensor has seventeen dimensions."""
    return retold(tensors=item(shape=["1"] * 17))


@vector("coded", Reason.JSON, SPEC)
def description_with_a_space() -> Made:
    """A description is spelled with a space."""
    return respelled(swap(b",", b", ")(TEXT))


@vector("coded", Reason.JSON, SPEC)
def description_with_a_number() -> Made:
    """The size of a stream is a number."""
    return respelled(swap(b'"1"', b"1")(TEXT))


@vector("coded", Reason.JSON, SPEC)
def description_empty() -> Made:
    """A description of no bytes, in a whole frame."""
    return respelled(b"")


@bad
def group_of_no_tensors() -> Made:
    """A group has no tensors and no streams."""
    return coded(group("same", {}))


@bad
def group_of_two_dtypes() -> Made:
    """A group holds tensors of two dtypes as they are."""
    return coded(raw({"n": N, "w": W}))


@bad
def group_of_two_dtypes_of_a_size() -> Made:
    """A group codes floats and integers of 32 bits as one."""
    state = {"i": Array("I32", (4, 8), W.data), "w": W}
    return coded(group("near", state, *streams([0] * 64)), state=state)


@bad
def streams_of_same() -> Made:
    """A group of unchanged tensors has a stream, of no bytes."""
    return retold("same", (b"",))


@bad
def streams_of_raw() -> Made:
    """A group of tensors as they are has five streams."""
    return retold("raw", (bytes(W.data), b"", b"", b"", b""))


@bad
def streams_of_near() -> Made:
    """A group of differences has one stream."""
    return retold("near", (bytes(W.data),))


@bad
def streams_missing() -> Made:
    """A group of differences has no streams."""
    return retold(streams=())


@bad
def size_beyond_the_end() -> Made:
    """The last stream reaches past the end of the state."""
    return retold(sizes=[*(str(len(stream)) for stream in SIXTEEN[:4]), "1"])


@bad
def size_beyond_everything() -> Made:
    """A stream has 2^64 - 1 bytes."""
    return retold("raw", (bytes(W.data),), sizes=[str((1 << 64) - 1)])


@bad
def top_of_raw() -> Made:
    """A group of tensors as they are has a top."""
    return retold("raw", (bytes(W.data),), top=1)


@bad
def top_of_near() -> Made:
    """A group of differences has a top."""
    return retold(top=1)


@bad
def raw_with_less() -> Made:
    """A byte is missing from tensors as they are."""
    return retold("raw", (bytes(W.data)[:-1],))


@bad
def raw_with_more() -> Made:
    """Tensors as they are have a byte too many."""
    return retold("raw", (bytes(W.data) + b"\0",))


@bad
def bool_of_two() -> Made:
    """A bool of tensors as they are is 2."""
    return coded(raw({"m": Array("BOOL", (3,), b"\1\2\0")}))


@bad
def bool_near_two() -> Made:
    """All bools lie two above those of the base, which are 0."""
    return coded(*each("near", {"m": M}, 4))


@bad
def name_twice_in_a_group() -> Made:
    """A group has a tensor twice."""
    return retold("same", (), tensors=item() * 2)


@bad
def name_twice_in_two_groups() -> Made:
    """A second group has a tensor of the first, with the same bytes."""
    return coded(group("same", {"w": W}), group("same", {"w": W}))


@bad
def same_as_a_tensor_that_is_not_there() -> Made:
    """A tensor is said to be that of the base, which has none of its name."""
    return retold("same", (), tensors=item(name="v"))


@bad
def near_a_tensor_that_is_not_there() -> Made:
    """A tensor is said to be near that of the base, which has none of its name."""
    return retold(tensors=item(name="v"))


@bad
def same_as_a_tensor_of_another_shape() -> Made:
    """A tensor is said to be that of the base, which has as many elements in another shape."""
    return retold("same", (), tensors=item(shape=["8", "4"]))


@bad
def near_a_tensor_of_another_shape() -> Made:
    """A tensor is said to be near that of the base, which has as many elements in another shape."""
    return retold(tensors=item(shape=["32"]))


@bad
def same_as_a_tensor_of_another_dtype() -> Made:
    """A tensor is said to be that of the base, which has another dtype of this size."""
    return retold("same", (), tensors=item(dtype="U32"))


@bad
def near_a_tensor_of_another_dtype() -> Made:
    """A tensor is said to be near that of the base, which has another dtype of this size."""
    return retold(tensors=item(dtype="U32"))


@bad
def same_without_a_base() -> Made:
    """A tensor is said to be that of the base, and there is no base."""
    return coded(group("same", {"w": W}), base=None)


@bad
def base_of_the_greatest_index() -> Made:
    """The index of the base is 2^64 - 2."""
    return coded(raw({"w": W}), base=(1 << 64) - 2)


def recoded(stream: int, change: Change) -> Made:
    """Return a state of one group of which one stream is another."""
    found = [change(data) if index == stream else data for index, data in enumerate(RICH)]
    return coded(group("below", {"x": W}, *found, top=TOP))


@bad
def cut_of_five() -> Made:
    """A cut is no multiple of 4."""
    return recoded(CUTS, lambda data: b"\5")


@bad
def cut_of_all_bits() -> Made:
    """A cut is 32, for words of 32 bits."""
    return recoded(CUTS, lambda data: b"\x20")


@bad
def cut_missing() -> Made:
    """There is no cut."""
    return recoded(CUTS, lambda data: b"")


@bad
def cut_too_many() -> Made:
    """There are two cuts for one block."""
    return recoded(CUTS, lambda data: data * 2)


@bad
def symbols_fewer() -> Made:
    """There is a symbol less than words."""
    return recoded(SYMBOLS, lambda data: frame(RICH_SYMBOLS[:-1]))


@bad
def symbols_more() -> Made:
    """There is a symbol more than words, which means a distance of 0."""
    return recoded(SYMBOLS, lambda data: frame(RICH_SYMBOLS + b"\0"))


@bad
def symbols_missing() -> Made:
    """The stream of the symbols has no bytes."""
    return recoded(SYMBOLS, lambda data: b"")


@bad
def symbols_without_checksum() -> Made:
    """The frame of the symbols has no checksum."""
    return recoded(SYMBOLS, lambda data: frame(RICH_SYMBOLS, flags=0xC0, check=b""))


@bad
def symbols_of_no_size() -> Made:
    """The frame of the symbols does not state its size."""
    return recoded(SYMBOLS, lambda data: frame(RICH_SYMBOLS, flags=0x04))


@bad
def symbols_of_terabytes() -> Made:
    """The frame of the symbols states 2^40."""
    return recoded(SYMBOLS, lambda data: frame(RICH_SYMBOLS, stated=1 << 40))


@bad
def symbols_that_hold_more() -> Made:
    """The frame of the symbols states their number, and a megabyte follows in 32 bytes."""
    blocks = block(RICH_SYMBOLS) + block(bytes(BLOCK)) * 7 + block(b"\0", last=True)
    return recoded(SYMBOLS, lambda data: frame(RICH_SYMBOLS, blocks=blocks))


@bad
def symbols_and_a_byte() -> Made:
    """A byte follows the frame of the symbols."""
    return recoded(SYMBOLS, lambda data: data + b"\0")


@bad
def symbols_and_an_empty_frame() -> Made:
    """A frame of no symbols follows that of the symbols."""
    return recoded(SYMBOLS, lambda data: data + frame(b""))


@bad
def symbols_with_a_dictionary() -> Made:
    """The frame of the symbols names a dictionary."""
    return recoded(SYMBOLS, lambda data: frame(RICH_SYMBOLS, flags=0xC5))


@bad
def middle_with_less() -> Made:
    """A byte of the middle bits is missing."""
    return recoded(MIDDLE, lambda data: data[:-1])


@bad
def middle_with_more() -> Made:
    """A byte follows the middle bits."""
    return recoded(MIDDLE, lambda data: data + b"\0")


@bad
def escaped_with_less() -> Made:
    """A byte of the escaped words is missing."""
    return recoded(ESCAPED, lambda data: data[:-1])


@bad
def escaped_with_more() -> Made:
    """There is one escaped word too many."""
    return recoded(ESCAPED, lambda data: data + bytes(4))


@bad
def low_with_less() -> Made:
    """A byte of the low bits is missing."""
    return recoded(LOW, lambda data: data[:-1])


@bad
def low_with_more() -> Made:
    """A byte follows the low bits."""
    return recoded(LOW, lambda data: data + b"\0")


@vector("coded", Reason.LIMIT, SPEC)
def state_of_terabytes() -> Made:
    """A tensor of 2^42 bytes in a state of some hundred."""
    return retold("below", SIXTEEN, tensors=item(shape=[str(1 << 40)]))


@vector("coded", Reason.LIMIT, SPEC)
def state_of_sixteen_dimensions() -> Made:
    """A tensor of sixteen dimensions of 2^48 - 1, whose size overflows everything."""
    return retold("below", SIXTEEN, tensors=item(shape=[str((1 << 48) - 1)] * 16))


@vector("coded", Reason.LIMIT, SPEC)
def state_that_grew() -> Made:
    """A tensor of a byte more than 16 times state 0 and 16,777,216, whose streams are whole and small."""
    size = MAX_GROWTH * RAW + MAX_SMALL_STATE + 1
    state = {"x": Array("U8", (size,), bytes(size))}
    return coded(group("below", state, bytes(-(-size // BLOCK)), frame(bytes(size)), b"", b"", b""))


def run(number: int) -> list[State]:
    """Return the states of a run: one number, which counts."""
    return [{"n": Array("I64", (), index.to_bytes(8, "little"))} for index in range(number)]


def on(base: int | None, state: State) -> bytes:
    """Return a coded state that builds on another and does not need it."""
    return coded(raw(state), base=base, state={})[0][len(spell_state({})) :]


def based(bases: Mapping[int, int | None], simulation: Simulation = TWO, **hooks: Any) -> bytes:
    """Return an archive of which these states are coded and build on those."""
    found = run(simulation.segments + 1)
    names = {container.state_name(index): index for index in bases}

    def member(name: str, data: bytes) -> Member:
        index = names.get(name)
        return (name, data) if index is None else (container.coded_name(index), on(bases[index], found[index]))

    def hook(members: list[Member]) -> list[Member]:
        return [member(*each) for each in members]

    return forged(simulation, **{"states": lambda _: found, "members": hook, **hooks})


@whole(SPEC)
def coded_in_a_chain() -> bytes:
    """State 2 builds on state 1, and state 1 on state 0."""
    return based({1: 0, 2: 1})


@whole(SPEC)
def coded_on_the_same() -> bytes:
    """Both states build on state 0."""
    return based({1: 0, 2: 0})


@whole(SPEC)
def coded_on_nothing() -> bytes:
    """State 1 builds on no other, and state 2 lies in full."""
    return based({1: None})


@whole(SPEC)
def coded_after_one_that_is_not_stored() -> bytes:
    """State 1 is not stored, and state 2 builds on state 0."""
    return based({2: 0}, store={2})


@whole(SPEC, large=True)
def coded_in_the_longest_chain() -> bytes:
    """64 coded states build on one another."""
    return based({index: index - 1 for index in range(1, MAX_CHAIN + 1)}, replace(TWO, segments=MAX_CHAIN))


@sealed(Reason.CODING, SPEC, large=True)
def coded_in_too_long_a_chain() -> bytes:
    """Two chains of coded states, of which the one through the odd states is one too long."""
    count = 2 * MAX_CHAIN + 1
    return based({index: max(index - 2, 0) for index in range(1, count + 1)}, replace(TWO, segments=count))


@sealed(Reason.CODING, SPEC)
def coded_on_itself() -> bytes:
    """State 1 builds on itself."""
    return based({1: 1})


@sealed(Reason.CODING, SPEC)
def coded_on_a_later_one() -> bytes:
    """State 1 builds on state 2, which lies in full."""
    return based({1: 2})


@sealed(Reason.CODING, SPEC)
def coded_on_one_after_the_last() -> bytes:
    """State 2 builds on state 3, which there is not."""
    return based({2: 3})


@sealed(Reason.CODING, SPEC)
def coded_on_one_that_is_not_stored() -> bytes:
    """State 2 builds on state 1, which is not stored."""
    return based({2: 1}, store={2})


@sealed(Reason.STATE, "States")
def coded_with_another_root() -> bytes:
    """A coded state is another than the committed one."""
    return based({1: 0}, members=lambda members: [_coded_as(member, run(3)[0]) for member in members])


def _coded_as(member: Member, state: State) -> Member:
    name, data = member
    return (container.coded_name(1), on(0, state)) if name == container.state_name(1) else (name, data)


@opened(Reason.MEMBER, "States")
def coded_and_in_full() -> bytes:
    """A state lies in the archive in both forms."""
    return forged(ONE, states=lambda _: run(2), members=plus(container.coded_name(1), on(0, run(2)[1])))


@opened(Reason.MEMBER, "Container")
def coded_and_not_stored() -> bytes:
    """A coded state is there that its segment says is not stored."""
    return forged(TWO, store={2}, states=lambda _: run(3), members=plus(container.coded_name(1), on(0, run(3)[1])))


@opened(Reason.MEMBER, "Container")
def coded_that_no_segment_has() -> bytes:
    """A coded state follows the last segment's."""
    return forged(ONE, states=lambda _: run(2), members=plus(container.coded_name(2), on(1, run(3)[2])))
