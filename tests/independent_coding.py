"""The states of polarchive/v1 in both their codings, read as SPEC.md alone says: a part of the independent reader."""

import hashlib
import io
import json
import math
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

import zstandard

SIZES = dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1) | dict.fromkeys(("U16", "I16", "F16", "BF16"), 2)
SIZES |= dict.fromkeys(("U32", "I32", "F32"), 4) | dict.fromkeys(("U64", "I64", "F64", "C64"), 8)
MIB, BLOCK, PART = 2**20, 131_072, 16_384
STREAMS = {"same": 0, "raw": 1, "near": 5, "below": 5}
NAME, SHAPE = r'"(?:[ !#-\[\]-~]|\\["\\])*"', "(?:[0-9]{1,15}(?:,[0-9]{1,15}){0,15})?"
ITEM = rf'({NAME}):\{{"dtype":"({"|".join(SIZES)})","shape":\[({SHAPE})\],"data_offsets"'
State = dict[str, tuple[str, list[int], bytes]]  # dtype, shape and content by name


class Refused(Exception):
    """The format is broken; the argument is the reason code."""


def need(fact: Any, code: str) -> Any:
    if not fact:
        raise Refused(code)
    return fact


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


def cut(raw: bytes, tensors: list[tuple[str, str, list[int]]], code: str) -> State:
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


def unpack(stream: io.BytesIO, bits: int, count: int) -> Iterator[int]:
    words, done = [0] * count, 0
    for size in (64, 32, 16, 8, bits % 8):
        if 0 < size <= bits - done:
            padded = count if size >= 8 else -(-count // 8) * 8
            packed = int.from_bytes(take(stream, padded * size // 8), "little")
            words = [word | (packed >> at * size & (1 << size) - 1) << done for at, word in enumerate(words)]
            done += size
    return iter(words)


def distances(cuts: bytes, symbols: bytes, bits: int, *others: bytes) -> list[int]:
    need(len(cuts) == -(-len(symbols) // BLOCK) and all(cut < bits and cut % 4 == 0 for cut in cuts), "coding")
    (middle, escaped, low), result = map(io.BytesIO, others), []
    for at in range(0, len(symbols), PART):
        part, cut = symbols[at : at + PART], cuts[at // BLOCK]
        four = unpack(middle, 4, sum(64 <= symbol < 124 for symbol in part))
        eight = unpack(middle, 8, sum(124 <= symbol < 184 for symbol in part))
        whole = unpack(escaped, bits, sum(symbol >= 184 for symbol in part))
        for symbol, lowest in zip(part, unpack(low, cut, len(part)), strict=True):
            if symbol < 64:
                distance = (symbol << cut) + lowest
            elif symbol < 124:
                distance = ((symbol - 60) * 16 + next(four) << cut) + lowest
            elif symbol < 184:
                distance = ((symbol - 120) * 256 + next(eight) << cut) + lowest
            else:
                distance = next(whole)
            result.append(distance % 2**bits)
    need(not middle.read() + escaped.read() + low.read(), "coding")
    return result


def near(word: int, z: int, dtype: str, bits: int) -> int:
    d = -(z + 1) // 2 if z % 2 else z // 2
    if dtype == "BOOL" or dtype[0] in "UI":
        return (word + d) % 2**bits
    full, high = 2**bits - 1, 2 ** (bits - 1)
    ordered = (word ^ (full if word & high else high)) + d & full
    return ordered ^ (high if ordered & high else full)


def below(z: int, top: int, bits: int) -> int:
    word = (top - z) % 2**bits
    return word >> 1 | (word & 1) << bits - 1


def decode(group: dict[str, Any], dtype: str, size: int, streams: list[bytes], base: bytes) -> bytes:
    """Return the words of a group, which has `size` bytes."""
    if group["model"] in ("same", "raw"):
        return streams[0] if streams else base
    item = 4 if dtype == "C64" else SIZES[dtype]
    cuts, symbols, *others = streams
    gaps = distances(cuts, unzstd(symbols, size // item), 8 * item, *others)
    form = f"<{len(gaps)}{' BH I   Q'[item]}"
    if group["model"] == "below":
        return struct.pack(form, *(below(z, group["top"], 8 * item) for z in gaps))
    pairs = zip(struct.unpack(form, base), gaps, strict=True)
    return struct.pack(form, *(near(word, z, dtype, 8 * item) for word, z in pairs))


def read_coded(
    raw: bytes, index: int, states: dict[int, State], most: int, read_json: Callable[..., Any]
) -> tuple[int, State]:
    """Return the index of the base, or -1, and a state of at most `most` bytes."""
    base, stream = int.from_bytes(raw[20:28], "big") - 1, io.BytesIO(raw[28:])
    need(raw[:20] == b"polarchive/v1/coded\0" and len(raw) >= 28, "coding")
    need(base < index and (base < 0 or base in states), "coding")
    old, state = states.get(base, {}), State()
    while stream.tell() < len(raw) - 28:
        described, framed = struct.unpack(">2I", take(stream, 8))
        need(described <= 32 * MIB, "limit")
        group = read_json(unzstd(take(stream, framed), described), "group", 32 * MIB)
        model, tensors = group["model"], [tuple(one.values()) for one in group["tensors"]]
        size = sum(length(dtype, shape) for dtype, _, shape in tensors)
        need(sum(len(content) for _, _, content in state.values()) + size <= most, "limit")
        need(len(group["sizes"]) == STREAMS[model] and (model == "below" or not group["top"]), "coding")
        need(len({dtype for dtype, _, _ in tensors}) == 1 or (model == "same" and tensors), "coding")
        streams, words = [take(stream, one) for one in group["sizes"]], b""
        if model in ("same", "near"):
            need(all(old.get(name, ())[:2] == (dtype, shape) for dtype, name, shape in tensors), "coding")
            words = b"".join(old[name][2] for _, name, _ in tensors)
        found = cut(decode(group, tensors[0][0], size, streams, words), tensors, "coding")
        need(not found.keys() & state.keys(), "coding")
        state |= found
    return base, state


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
