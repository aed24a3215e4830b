"""The states of polarchive/v1 in both their codings, read as SPEC.md alone says: a part of the independent reader."""

import hashlib
import io
import itertools
import json
import math
import re
import struct
from collections.abc import Callable
from typing import Any

import zstandard

from tests.independent_formula import SIZES, Refused, check_rule, need, number, predict

MIB, BLOCK = 2**20, 131_072
STREAMS = {"same": 0, "raw": 1, "near": 5, "below": 5, "rule": 5}
NAME, SHAPE = r'"(?:[ !#-\[\]-~]|\\["\\])*"', "(?:[0-9]{1,15}(?:,[0-9]{1,15}){0,15})?"
ITEM = rf'({NAME}):\{{"dtype":"({"|".join(SIZES)})","shape":\[({SHAPE})\],"data_offsets"'
State = dict[str, tuple[str, list[int], bytes]]  # dtype, shape and content by name
Tensor = tuple[str, str, list[int]]  # dtype, name and shape


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1", root(leaves[:half]), root(leaves[half:]))


def state_root(state: State) -> bytes:
    leaves = []
    for name, (dtype, shape, content) in sorted(state.items()):
        chunks = root([sha256(b"\0", content[at : at + 16 * MIB]) for at in range(0, len(content), 16 * MIB)])
        form = f">Q{len(name)}sQ{len(dtype)}sB{len(shape)}Q"
        tensor = struct.pack(form, len(name), name.encode(), len(dtype), dtype.encode(), len(shape), *shape)
        leaves.append(sha256(b"\0polarchive/v1/tensor\0", tensor, chunks))
    return root(leaves)


def length(dtype: str, shape: list[int]) -> int:
    return SIZES[dtype] * math.prod(shape)


def cut(raw: bytes, tensors: list[Tensor], code: str) -> State:
    """Return the tensors (dtype, name, shape) whose contents lie one after the other."""
    state: State = {}
    at = 0
    for dtype, name, shape in tensors:
        content = raw[at : at + length(dtype, shape)]
        need(name not in state and (dtype != "BOOL" or not content.strip(b"\0\1")), code)
        state[name] = dtype, shape, content
        at += length(dtype, shape)
    need(at == len(raw), code)
    return state


def read_state(raw: bytes) -> State:
    """Return what is in a safetensors file."""
    end = 8 + int.from_bytes(raw[:8], "little")
    need(end <= 8 + 32 * MIB and raw[8:end].count(b",") <= 2 * MIB, "limit")
    tensors = []
    for name, dtype, shape in re.findall(ITEM, raw[8:end].decode("latin-1")):
        tensors.append((dtype, json.loads(name), [int(size) for size in shape.split(",") if size]))
    need(len(tensors) <= 131_072 and all(size < 2**48 for _, _, shape in tensors for size in shape), "tensors")
    need(all(1 <= len(name) <= 4096 and name != "__metadata__" for _, name, _ in tensors), "tensors")
    need(tensors == sorted(tensors, key=lambda one: (-SIZES[one[0]], one[1])), "tensors")
    state, header, at = cut(raw[end:], tensors, "tensors"), {}, 0
    for name, (dtype, shape, content) in state.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(content)]}
        at += len(content)
    spelled = json.dumps(header, separators=(",", ":")).encode()
    need(raw[8:end] == spelled + b" " * (-len(spelled) % 8) and end <= len(raw), "tensors")
    return state


def take(stream: io.BytesIO, size: int) -> bytes:
    content = stream.read(min(size, 2**48))
    need(len(content) == size, "coding")
    return content


def unzstd(raw: bytes, size: int) -> bytes:
    try:
        frame = zstandard.get_frame_parameters(raw)
        need(frame.content_size == size and frame.has_checksum and not frame.dict_id, "coding")
        stream = zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj()
        content = stream.decompress(raw)
    except zstandard.ZstdError:
        raise Refused("coding") from None
    need(stream.eof and not stream.unused_data and len(content) == size, "coding")
    return content


def unpack(raw: bytes, bits: int, count: int) -> list[int]:
    words, stream, done = [0] * count, io.BytesIO(raw), 0
    for size in (32, 16, 8, 4):
        if size <= bits - done:
            packed = int.from_bytes(stream.read((count * size + 7) // 8), "little")
            words = [word | (packed >> at * size & (1 << size) - 1) << done for at, word in enumerate(words)]
            done += size
    return words


def distances(cuts: bytes, symbols: bytes, bits: int, *others: bytes) -> list[int]:
    need(len(cuts) == -(-len(symbols) // BLOCK) and all(cut < bits and cut % 4 == 0 for cut in cuts), "coding")
    (middle, escaped, low), result = map(io.BytesIO, others), []
    for at, cut in enumerate(cuts):
        block = symbols[at * BLOCK : at * BLOCK + BLOCK]
        size = len(block) * (cut // 8) + (len(block) + 1) // 2 * (cut % 8 // 4)
        for symbol, lowest in zip(block, unpack(take(low, size), cut, len(block)), strict=True):
            if symbol < 192:
                distance = (symbol << cut) + lowest
            elif symbol < 255:
                distance = ((symbol - 192) * 256 + take(middle, 1)[0] << cut) + lowest
            else:
                distance = int.from_bytes(take(escaped, bits // 8), "little")
            result.append(distance % 2**bits)
    need(not middle.read() + escaped.read() + low.read(), "coding")
    return result


def near(word: int, z: int, bits: int) -> int:
    return (word + (-(z + 1) // 2 if z % 2 else z // 2)) % 2**bits


def below(z: int, top: int, bits: int) -> int:
    word = (top - z) % 2**bits
    return word >> 1 | (word & 1) << bits - 1


def predicted(rule: dict[str, Any], tensors: list[Tensor], old: State, new: State) -> list[int]:
    """Return the words that a rule predicts."""
    words, dtypes = list[int](), dict[str, str]()
    (before, after), read = rule["names"][0], {step for step in rule["formula"] if step[:3] in ("old", "new")}
    for dtype, name, shape in tensors:
        need(name.startswith(before) and name.endswith(after) and len(before + after) <= len(name), "coding")
        columns = {}
        for step in read:
            other = name[len(before) : len(name) - len(after)].join(rule["names"][int(step[3])])
            found = need((old if step[0] == "o" else new).get(other), "coding")
            need(found[1] == shape and dtypes.setdefault(step, found[0]) == found[0], "coding")
            need({dtype, found[0]} <= {"F64", "F32", "F16", "BF16"}, "coding")
            columns[step] = [number(word, found[0]) for word in words_of(found[2], SIZES[found[0]])]
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        words += [predict(rule["formula"], dtype, row) for row in rows]
    return words


def words_of(content: bytes, item: int) -> list[int]:
    return [int.from_bytes(content[at : at + item], "little") for at in range(0, len(content), item)]


def decode(group: dict[str, Any], tensors: list[Tensor], streams: list[bytes], old: State, new: State) -> bytes:
    """Return the contents of the tensors of a group, one after the other."""
    model, ((dtype, _, _), *_), expected = group["model"], tensors, b""
    size = sum(length(one, shape) for one, _, shape in tensors)
    if model in ("same", "near"):
        need(all(old.get(name, ())[:2] == (one, shape) for one, name, shape in tensors), "coding")
        expected = b"".join(old[name][2] for _, name, _ in tensors)
    if model in ("same", "raw"):
        return streams[0] if streams else expected
    item = 4 if dtype == "C64" else SIZES[dtype]
    cuts, symbols, *others = streams
    if model == "rule":
        words = predicted(group["rule"], tensors, old, new)
    gaps = distances(cuts, unzstd(symbols, size // item), 8 * item, *others)
    if model == "below":
        found = [below(z, group["top"], 8 * item) for z in gaps]
    else:
        pairs = zip(words if model == "rule" else words_of(expected, item), gaps, strict=True)
        found = [near(word, z, 8 * item) for word, z in pairs]
    return b"".join(word.to_bytes(item, "little") for word in found)


def read_described(stream: io.BytesIO, form: str, read_json: Callable[..., Any]) -> Any:
    described, framed = struct.unpack(">2I", take(stream, 8))
    need(max(described, framed) <= 32 * MIB, "limit")
    return read_json(unzstd(take(stream, framed), described), form, 32 * MIB)


def read_coded(
    raw: bytes, index: int, states: dict[int, State], most: int, read_json: Callable[..., Any]
) -> tuple[int, State]:
    """Return the index of the base, or -1, and a state of at most `most` bytes."""
    base, stream = int.from_bytes(raw[20:28], "big") - 1, io.BytesIO(raw[28:])
    need(raw[:20] == b"polarchive/v1/coded\0" and len(raw) >= 28, "coding")
    need(base < index and (base < 0 or base in states), "coding")
    old, state = states.get(base, {}), State()
    layout = [tuple(one.values()) for one in read_described(stream, "layout", read_json)]
    groups, names = read_described(stream, "groups", read_json), [name for _, name, _ in layout]
    for rule in (group["rule"] for group in groups if group["rule"]):
        check_rule(rule)
    need(len(set(names)) == len(names) == sum(group["tensors"] for group in groups), "coding")
    need(stream.tell() + sum(sum(group["sizes"]) for group in groups) == len(raw) - 28, "coding")
    places = list(itertools.accumulate((group["tensors"] for group in groups), initial=0))
    parts = [layout[start:end] for start, end in itertools.pairwise(places)]
    for group, tensors in zip(groups, parts, strict=True):
        check_group(group, tensors)
    need(sum(length(dtype, shape) for dtype, _, shape in layout) <= most, "limit")
    for group, tensors in zip(groups, parts, strict=True):
        streams = [take(stream, size) for size in group["sizes"]]
        state |= cut(decode(group, tensors, streams, old, state), tensors, "coding")
    return base, state


def check_group(group: dict[str, Any], tensors: list[Tensor]) -> None:
    model, dtypes = group["model"], {dtype for dtype, _, _ in tensors}
    need(len(group["sizes"]) == STREAMS[model] and (group["rule"] is not None) == (model == "rule"), "coding")
    need(len(dtypes) == 1 or (model == "same" and tensors), "coding")
    need(sum(group["sizes"]) <= sum(length(dtype, shape) for dtype, _, shape in tensors), "coding")
    item = 4 if "C64" in dtypes else SIZES[min(dtypes)]
    need(group["top"] < 2 ** (8 * item) if model == "below" else not group["top"], "coding")


def read_states(stored: list[tuple[int, bool, bytes]], most: int, read_json: Callable[..., Any]) -> dict[int, State]:
    """Return states of which each is given with its index, and whether it is coded."""
    states: dict[int, State] = {}
    chain = {-1: 0}
    for index, coded, raw in stored:
        if coded:
            base, states[index] = read_coded(raw, index, states, most, read_json)
            chain[index] = chain[base] + 1
            need(chain[index] <= 64, "coding")
        else:
            states[index] = read_state(raw)
            chain[index] = 0
    return states
