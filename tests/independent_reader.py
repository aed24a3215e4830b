"""A reader of polarchive/v1, written from SPEC.md alone: that it agrees with the package says that SPEC.md suffices."""

import hashlib
import hmac
import io
import itertools
import json
import math
import re
import struct
import zlib
from base64 import b64decode
from typing import Any

import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIZES = dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1) | dict.fromkeys(("U16", "I16", "F16", "BF16"), 2)
SIZES |= dict.fromkeys(("U32", "I32", "F32"), 4) | dict.fromkeys(("U64", "I64", "F64", "C64"), 8)
MIB, FULL = 2**20, 2**32 - 1
State = dict[str, tuple[str, list[int], bytes]]  # dtype, shape and content by name

# A JSON value has one spelling, so regular expressions can say what is well formed. In a line of GRAMMAR, <x> is the
# rule x, <x;n> and <x:y;n> are at most n items x or x:y between commas, and <n> is a decimal number below n.
GRAMMAR = r"""
u64 "<18446744073709551616>"
text "(?:[^"\\]|\\.){0,4096}"
name "(?!"|__metadata__")(?:[ !#-\[\]-~]|\\["\\]){1,4096}"
indices "(?:[0-9A-Za-z+/]{16})*(?:[0-9A-Za-z+/]{5}[AQgw]==|[0-9A-Za-z+/]{10}[AEIMQUYcgkosw048]=)?"
digest "[0-9a-f]{64}"
boolean true|false
setting null|true|false|"i(?:(?!-0)-?<9223372036854775808>|-9223372036854775808)"|"f(?![7f]ff)[0-9a-f]{16}"
size null|<u64>
dimension <281474976710656>
length "<dimension>"
ranged (?:BOOL|[UI](?:8|16|32|64)|BF16|F(?:16|32|64))","high":<setting>,"level":"(?:record|batch)","low":<setting>
odd (?:F8_E5M2|F8_E4M3|C64)","high":null,"level":"(?:record|batch)","low":null
string {"dtype":"UTF8","high":null,"level":"record","low":null,"name":<text>,"shape":\[\]}
field {"dtype":"(?:<ranged>|<odd>),"name":<text>,"shape":\[<size;16>\]}|<string>
fed {"mode":"fed","root":null,"salted":<boolean>,"size":null}
indexed {"mode":"indexed","root":<digest>,"salted":<boolean>,"size":<u64>}
tensor {"dtype":"<dtype>","name":<name>,"shape":\[<length;16>\]}
seeded "archive":null,"kind":"seeded","seed":<u64>,"state":null
parent "archive":<digest>,"kind":"parent","seed":null,"state":<digest>
unexplained "archive":null,"kind":"unexplained","seed":null,"state":null
header {"commitment":(?:<fed>|<indexed>),"every":(?!"0")<u64>,"initial":{(?:<seeded>|<parent>|<unexplained>)},
 "key":<text>,"layout":\[<tensor;131072>\],"micro":(?!"0")"<65537>","probe":{<text:digest;8>},"root":<digest>,
 "run":"[0-9a-f]{32}","schema":\[<field;1024>\],"source":(?:null|<digest>),"stack":{<text:text;64>},
 "type":"header","version":<text>,"world":<u64>}
segment {"epoch":<u64>,"first":<u64>,"hyper":{<text:setting;4096>},"index":<u64>,"not_before":(?:null|<digest>),
 "records":<u64>,"root":<digest>,"rows":{"root":<digest>,"size":<u64>},"steps":<u64>,"stored":<boolean>,"type":"segment"}
entry <segment>|{"records":<u64>,"root":<digest>,"steps":<u64>,"type":"end"}
batch {"count":<u64>,"indices":(?:null|<indices>),"root":<digest>,"whole":(?:null|<digest>)}
row {"batches":\[<batch;65536>\],"hyper":(?:null|{<text:setting;4096>}),"step":<u64>}
member {"crc32":<u64>,"name":<text>,"sha256":<digest>,"size":<u64>}
index {"members":\[<member;262144>\]}
group {"model":"(?:same|raw|near|below)","sizes":\[<u64;5>\],"tensors":\[<tensor;131072>\],"top":<u64>}
item {"dtype":"<dtype>","shape":\[<dimension;16>\],"data_offsets":\[(?:0|[1-9][0-9]*),(?:0|[1-9][0-9]*)\]}
file {<name:item;131072>} *
"""
RULES = {"any": "(?s:.*)", "dtype": "|".join(SIZES)}


class Refused(Exception):
    """The format is broken; the argument is the reason code."""


def need(fact: Any, code: str) -> Any:
    if not fact:
        raise Refused(code)
    return fact


def expand(macro: re.Match[str]) -> str:
    rule, value, most = macro.groups()
    if rule.isdigit():
        less = [(at, int(at == 0), int(digit) - 1) for at, digit in enumerate(rule)]
        same = [f"{rule[:at]}[{low}-{high}]" + "[0-9]" * (len(rule) - at - 1) for at, low, high in less if low <= high]
        return f"(?:0|[1-9][0-9]{{0,{len(rule) - 2}}}|{'|'.join(same)})"
    item = f"(?:{RULES[rule]})" + (f":(?:{RULES[value]})" if value else "")
    return f"(?:{item}(?:,{item}){{0,{int(most) - 1}}})?" if most else item


for rule in GRAMMAR.replace("\n ", "").strip().splitlines():
    RULES[rule.split()[0]] = re.sub(r"<(\w+)(?::(\w+))?(?:;(\d+))?>", expand, rule.split(maxsplit=1)[1])


def read_json(raw: bytes, rule: str = "any", limit: int = MIB) -> Any:
    need(len(raw) <= limit and raw.count(b",") <= 2 * MIB, "limit")
    bare = re.sub(rb'"(?:[^"\\]|\\["\\])*"', b"\0", raw)
    bare = re.sub(rb"true|false|null|\[\]|\{\}", b"\1", bare)
    for _ in range(8):
        bare = re.sub(rb"\[[\0\1](?:,[\0\1])*\]|\{\0:[\0\1](?:,\0:[\0\1])*\}", b"\1", bare)
    need(bare in (b"\0", b"\1") and re.fullmatch(b"[ -~]+", raw), "json")
    value = json.loads(raw)
    need(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == raw, "json")
    if rule == "header" and isinstance(value, dict) and value.get("type") == "header":
        need(value.get("version") == "polarchive/v1", "version")
    need(re.fullmatch(RULES[rule], raw.decode()), "field")
    numbers = r'(?<=[:,\[])(?<!"name":)(?<!"indices":)"(0|[1-9][0-9]{0,19})"(?=[\],}])'
    return json.loads(re.sub(numbers, r"\1", raw.decode()))


def read_header(raw: bytes) -> dict[str, Any]:
    header = read_json(raw, "header", 16 * MIB)
    need(header["world"] == 1, "version")
    need((header["commitment"]["size"] or 0) <= 2**22, "limit")
    read_key(header["key"], "field")
    names, tensors = [one["name"] for one in header["schema"]], [one["name"] for one in header["layout"]]
    need(names == sorted(set(names)) and len(tensors) == len(set(tensors)), "field")
    need(header["layout"] == sorted(header["layout"], key=lambda one: (-SIZES[one["dtype"]], one["name"])), "field")
    return header


def read_entry(raw: bytes) -> dict[str, Any]:
    entry = read_json(raw, "entry")
    need(entry["type"] == "end" or (0 < entry["steps"] <= MIB and entry["rows"]["size"] <= 256 * MIB), "limit")
    return entry


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def half(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256()
    return sha256(b"\1", root(leaves[: half(len(leaves))]), root(leaves[half(len(leaves)) :]))


def included(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """Return the root of a tree of `size` leaves that has `leaf` at `index`."""
    need(0 <= index < size and bool(path) == (size > 1) and all(len(item) == 32 for item in [leaf, *path]), "proof")
    if size == 1:
        return leaf
    if index < half(size):
        return sha256(b"\1", included(index, half(size), leaf, path[:-1]), path[-1])
    return sha256(b"\1", path[-1], included(index - half(size), size - half(size), leaf, path[:-1]))


def consistent(old: int, new: int, path: list[bytes], whole: list[bytes]) -> tuple[bytes, bytes]:
    """Return the roots of a tree of `old` leaves and of its extension to `new`; `whole` has the first, where known."""
    need(0 < old <= new and all(len(item) == 32 for item in [*path, *whole]), "proof")
    if old == new:
        need(len(path + whole) == 1, "proof")
        return ((path + whole)[0],) * 2
    need(path, "proof")
    if old <= half(new):
        first, second = consistent(old, half(new), path[:-1], whole)
        return first, sha256(b"\1", second, path[-1])
    first, second = consistent(old - half(new), new - half(new), path[:-1], [])
    return sha256(b"\1", path[-1], first), sha256(b"\1", path[-1], second)


def state_root(tensors: State) -> bytes:
    leaves = []
    for name, (dtype, shape, content) in sorted(tensors.items()):
        chunks = root([sha256(b"\0", content[at : at + 16 * MIB]) for at in range(0, len(content), 16 * MIB)])
        form = f">Q{len(name)}sQ{len(dtype)}sB{len(shape)}Q"
        tensor = struct.pack(form, len(name), name.encode(), len(dtype), dtype.encode(), len(shape), *shape)
        leaves.append(sha256(b"\0polarchive/v1/tensor\0", tensor, chunks))
    return root(leaves)


def read_state(raw: bytes) -> State:
    end, tensors, begin = 8 + int.from_bytes(raw[:8], "little"), {}, 0
    need(end <= 8 + 32 * MIB and raw[8:end].count(b",") <= 2 * MIB, "limit")
    need(re.fullmatch(RULES["file"], raw[8:end].decode("latin-1")), "tensors")
    items = json.loads(raw[8:end])
    spelled = json.dumps(items, separators=(",", ":")).encode()
    need(raw[8:end] == spelled + b" " * (-len(spelled) % 8), "tensors")
    need(list(items) == sorted(items, key=lambda name: (-SIZES[items[name]["dtype"]], name)), "tensors")
    for name, item in items.items():
        size = SIZES[item["dtype"]] * math.prod(item["shape"])
        tensors[name] = item["dtype"], item["shape"], raw[end + begin : end + begin + size]
        need(item["data_offsets"] == [begin, begin + size], "tensors")
        need(item["dtype"] != "BOOL" or not tensors[name][2].strip(b"\0\1"), "tensors")
        begin += size
    need(len(raw) == end + begin, "tensors")
    return tensors


def unzstd(raw: bytes, size: int) -> bytes:
    try:
        frame, stream = (
            zstandard.get_frame_parameters(raw),
            zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj(),
        )
        need(frame.content_size == size and frame.has_checksum and not frame.dict_id, "coding")
        content = stream.decompress(raw)
    except zstandard.ZstdError:
        raise Refused("coding") from None
    need(stream.eof and not stream.unused_data and len(content) == size, "coding")
    return content


def take(stream: io.BytesIO, size: int) -> bytes:
    content = stream.read(min(size, 2**48))
    need(len(content) == size, "coding")
    return content


def unpack(stream: io.BytesIO, bits: int, count: int) -> list[int]:
    words, done = [0] * count, 0
    for size in (64, 32, 16, 8, bits % 8):
        if 0 < size <= bits - done:
            packed = int.from_bytes(take(stream, size * (count if size >= 8 else -(-count // 8) * 8) // 8), "little")
            words = [word | (packed >> at * size & (1 << size) - 1) << done for at, word in enumerate(words)]
            done += size
    return words


def distances(cuts: bytes, symbols: bytes, bits: int, *others: bytes) -> list[int]:
    need(len(cuts) == -(-len(symbols) // 131_072) and all(cut < bits and cut % 4 == 0 for cut in cuts), "coding")
    (middle, escaped, low), result = map(io.BytesIO, others), []
    for at in range(0, len(symbols), 16_384):
        part, cut = symbols[at : at + 16_384], cuts[at // 131_072]
        some = iter(unpack(middle, 4, sum(64 <= s < 124 for s in part)))
        more = iter(unpack(middle, 8, sum(124 <= s < 184 for s in part)))
        whole = iter(unpack(escaped, bits, sum(s >= 184 for s in part)))
        for s, lowest in zip(part, unpack(low, cut, len(part)), strict=True):
            if s < 184:
                high = s if s < 64 else (s - 60) * 16 + next(some) if s < 124 else (s - 120) * 256 + next(more)
            result.append((high << cut) + lowest & (1 << bits) - 1 if s < 184 else next(whole))
    need(not middle.read() + escaped.read() + low.read(), "coding")
    return result


def recode(model: str, dtype: str, bits: int, old: int, z: int, top: int) -> int:
    full, high = (1 << bits) - 1, 1 << bits - 1
    if model == "below":
        return (top - z & full) >> 1 | (top - z & 1) << bits - 1
    d = (-(z + 1) if z % 2 else z) // 2
    if dtype == "BOOL" or dtype[0] in "UI":
        return old + d & full
    ordered = (old ^ (full if old & high else high)) + d & full
    return ordered ^ (high if ordered & high else full)


def read_coded(raw: bytes, index: int, states: dict[int, State], most: int) -> State:
    base, stream, tensors = int.from_bytes(raw[20:28], "big") - 1, io.BytesIO(raw[28:]), {}
    need(raw[:20] == b"polarchive/v1/coded\0" and len(raw) >= 28, "coding")
    need(base < index and (base < 0 or base in states), "coding")
    while sizes := stream.read(8):
        length, framed = struct.unpack(">2I", sizes.ljust(8, b"\xff"))
        need(length <= 32 * MIB, "limit")
        group = read_json(unzstd(take(stream, framed), length), "group", 32 * MIB)
        model, top, named = group["model"], group["top"], [tuple(one.values()) for one in group["tensors"]]
        lengths = [SIZES[dtype] * math.prod(shape) for dtype, _, shape in named]
        need(sum(lengths) + sum(len(one[2]) for one in tensors.values()) <= most, "limit")
        need(len(group["sizes"]) == {"same": 0, "raw": 1}.get(model, 5) and (model == "below" or not top), "coding")
        need(len({dtype for dtype, _, _ in named}) == 1 or (model == "same" and named), "coding")
        streams = [take(stream, size) for size in group["sizes"]]
        olds = [(name, *states.get(base, {}).get(name, ("", [], b""))) for _, name, _ in named]
        need(model in ("raw", "below") or [(old[1], old[0], old[2]) for old in olds] == named, "coding")
        content = b"".join(streams) if model == "raw" else b"".join(old[3] for old in olds)
        if model in ("near", "below"):
            size = 4 if named[0][0] == "C64" else SIZES[named[0][0]]
            form = f"<{sum(lengths) // size}{' BH I   Q'[size]}"
            symbols = unzstd(streams[1], sum(lengths) // size)
            gaps = distances(streams[0], symbols, 8 * size, *streams[2:])
            before = struct.unpack(form, content) if model == "near" else [0] * len(gaps)
            words = [recode(model, named[0][0], 8 * size, *pair, top) for pair in zip(before, gaps, strict=True)]
            content = struct.pack(form, *words)
        need(len(content) == sum(lengths), "coding")
        for (dtype, name, shape), end, size in zip(named, itertools.accumulate(lengths), lengths, strict=True):
            need(name not in tensors and (dtype != "BOOL" or not content[end - size : end].strip(b"\0\1")), "coding")
            tensors[name] = dtype, shape, content[end - size : end]
    return tensors


def read_key(line: str, code: str = "key") -> tuple[str, bytes, bytes]:
    """Return name, id and public key of a verifier line."""
    form = r"([!-*,-~]+)\+([0-9a-f]{8})\+([0-9A-Za-z+/]{44})"
    name, number, coded = need(re.fullmatch(form, line), code).groups()
    public, prime = b64decode(coded), 2**255 - 19
    need(public[0] == 1 and sha256(name.encode(), b"\n", public)[:4].hex() == number, code)
    y, d = int.from_bytes(public[1:], "little") % 2**255, -121665 * pow(121666, -1, prime)
    need(y < prime and y * (y * y - 1) * (d * y**4 + 2 * y * y - 1) % prime, code)  # order 4, 1 or 2, 8
    return name, bytes.fromhex(number), public[1:]


def read_head(raw: bytes, key: str) -> tuple[str, int, bytes]:
    """Return origin, size and root of a head."""
    need(len(raw) <= 4096, "limit")
    top, signed = (f"([0-9A-Za-z+/]{{{count}}}[AEIMQUYcgkosw048]=)" for count in (42, 90))
    head = f"(([!-~]+)\n({RULES['u64'][1:-1]})\n{top}\n)\n— ([!-*,-~]+) {signed}\n"
    text, origin, size, top, name, signed = need(re.fullmatch(head, raw.decode("utf-8", "replace")), "note").groups()
    need((name, b64decode(signed)[:4]) == read_key(key)[:2], "key")
    try:
        Ed25519PublicKey.from_public_bytes(read_key(key)[2]).verify(b64decode(signed)[4:], text.encode())
    except InvalidSignature:
        raise Refused("signature") from None
    return origin, int(size), b64decode(top)


def read_log(first: bytes, others: list[bytes], notes: bytes) -> tuple[dict[str, Any], list[dict[str, Any]], set[int]]:
    """Return the header, the segments and the sizes of the heads."""
    need(len(others) < 262_144, "limit")
    header, segments, leaves = read_header(first), [], [sha256(b"\0", line) for line in [first, *others]]
    last, sums, sizes = header | {"epoch": 0, "steps": header["every"], "stored": True}, [0, 0], [0]
    for entry in map(read_entry, others):
        need(last["type"] != "end", "entry")
        if entry["type"] == "end":
            need([entry["root"], entry["steps"], entry["records"]] == [last["root"], *sums] and last["stored"], "entry")
        else:
            need([entry["index"], entry["first"]] == [len(segments), sums[0]], "entry")
            need(entry["steps"] <= last["steps"] == header["every"] and entry["epoch"] >= last["epoch"], "entry")
            sums = [sums[0] + entry["steps"], sums[1] + entry["records"]]
            segments.append(entry)
        last = entry
    for note in re.findall(rb"(?:[^\n]*\n){5}|[^\n]+\n?|\n", notes):
        origin, size, top = read_head(note, header["key"])
        need(origin == f"{read_key(header['key'])[0]}/{header['run']}", "head")
        need(sizes[-1] < size <= len(leaves) and top == root(leaves[:size]), "head")
        sizes.append(size)
    need(sizes[-1] == len(leaves), "head")
    return header, segments, set(sizes[1:])


def check_rows(header: dict[str, Any], segment: dict[str, Any], raw: bytes, dataset: list[bytes]) -> None:
    rows, counts, indexed = raw.split(b"\n"), [], header["commitment"]["mode"] == "indexed"
    need(len(raw) == segment["rows"]["size"] and len(rows) == segment["steps"] + 1 and not rows.pop(), "rows")
    need(root([sha256(b"\0", row) for row in rows]).hex() == segment["rows"]["root"], "rows")
    for at, row in enumerate(read_json(row, "row") for row in rows):
        need([row["step"], len(row["batches"])] == [segment["first"] + at, header["micro"]], "rows")
        need(row["hyper"] is None or (at and row["hyper"]), "rows")
        for batch in row["batches"]:
            counts.append(batch["count"])
            need((batch["indices"] is not None) == indexed, "rows")
            if indexed:
                chosen = [one for (one,) in struct.iter_unpack(">I", b64decode(batch["indices"]))]
                need(len(chosen) == batch["count"] and max(chosen, default=-1) < len(dataset), "rows")
                need(root([dataset[one] for one in chosen]).hex() == batch["root"], "rows")
    need(sum(counts) == segment["records"], "rows")


NAMES = (
    r"00-header\.json|10-entries\.jsonl|20-rows\.jsonl|30-heads\.txt|40-dataset\.bin|70-state-[0-9]{10}\.safetensors"
)
NAMES += r"|50-stamp-[0-9]{10}-[0-9]{3}\.tsr|60-cosignatures-[0-9]{10}\.txt|70-state-[0-9]{10}\.coded"
MOST = {"00": 16 * MIB, "10": 256 * MIB, "50": 65_536, "60": 65_536}


def read_container(raw: bytes) -> dict[str, bytes]:
    need(len(raw) >= 185 and raw[-139:-126] == b"zz-index.json", "zip")
    size, _, offset = struct.unpack("<QQQ", raw[-122:-98])
    start = offset + 67 + -(offset + 67) % 64
    need(start + size <= len(raw), "truncated")
    content = raw[start : start + size]
    index = read_json(content, limit=64 * MIB)
    need(isinstance(index, dict) and index.keys() == {"members"}, "index")
    items = read_json(content, "index", 64 * MIB)["members"]
    need(all(item["size"] < 2**62 and item["crc32"] < 2**32 for item in items), "index")
    names = [item["name"] for item in items]
    need(names == sorted(set(names)) and all(re.fullmatch(NAMES, name) for name in names), "member")
    members, central, at = {}, b"", 0
    for item in [*items, {"name": "zz-index.json", "size": size, "crc32": zlib.crc32(content)}]:
        size, name, length = item["size"], item["name"].encode(), len(item["name"])
        pad, common = -(at + 54 + length) % 64, (45, 0, 0, 0, 0x21, item["crc32"], FULL, FULL, length)
        local = struct.pack("<I5H3I2H", 0x04034B50, *common, 24 + pad) + name
        local += struct.pack("<2H2Q2H", 1, 16, size, size, 0x4150, pad) + bytes(pad)
        central += struct.pack("<I6H3I5H2I", 0x02014B50, 0x032D, *common, 28, 0, 0, 0, 0x81240000, FULL) + name
        central += struct.pack("<2H3Q", 1, 24, size, size, at)
        need(at + len(local) + size <= len(raw), "truncated")
        need(raw[at : at + len(local)] == local, "zip")
        members[item["name"]] = raw[at + len(local) : at + len(local) + size]
        at += len(local) + size
    directory = len(members), len(members), len(central), at
    central += struct.pack("<IQ2H2I4Q", 0x06064B50, 44, 0x032D, 45, 0, 0, *directory)
    central += struct.pack("<2IQI", 0x07064B50, 0, sum(directory[2:]), 1)
    central += struct.pack("<I4H2IH", 0x06054B50, 0, 0, 65_535, 65_535, FULL, FULL, 0)
    need(raw[at:] == central and members.pop("zz-index.json") == content, "zip")
    for item in items:
        need(item["size"] <= MOST.get(item["name"][:2], item["size"]), "limit")
        found = zlib.crc32(members[item["name"]]), sha256(members[item["name"]]).hex()
        need((item["crc32"], item["sha256"]) == found, "digest")
    return members


def read_archive(raw: bytes) -> None:
    members = read_container(raw)
    need(members.keys() >= {"00-header.json", "10-entries.jsonl", "20-rows.jsonl", "30-heads.txt"}, "member")
    first, entries, rows, notes = (members.pop(name) for name in sorted(members)[:4])
    need(entries[-1:] in (b"", b"\n"), "entry")
    header, segments, sizes = read_log(first, entries.split(b"\n")[:-1], notes)
    need(("40-dataset.bin" in members) == (header["commitment"]["mode"] == "indexed"), "member")
    flat = members.pop("40-dataset.bin", b"")
    dataset = [flat[at : at + 32] for at in range(0, len(flat), 32)]
    need(len(flat) == 32 * (header["commitment"]["size"] or 0), "digest")
    need(root(dataset).hex() == (header["commitment"]["root"] or sha256().hex()), "digest")
    stored = {int(name[9:19]): name for name in members if name[:2] == "70"}
    need(
        all(int(name.split("-")[2][:10]) in sizes for name in members.keys() - stored.values() if name[0] != "7"),
        "member",
    )
    roots = {0: header["root"]} | {one["index"] + 1: one["root"] for one in segments if one["stored"]}
    need(stored.keys() == roots.keys() and len(stored) == sum(name[0] == "7" for name in members), "member")
    ends = list(itertools.accumulate((one["rows"]["size"] for one in segments), initial=0))
    need(ends[-1] == len(rows), "rows")
    for segment, (begin, end) in zip(segments, itertools.pairwise(ends), strict=True):
        check_rows(header, segment, rows[begin:end], dataset)
    states: dict[int, State] = {}
    chain = {-1: 0}
    most = 16 * sum(SIZES[one["dtype"]] * math.prod(one["shape"]) for one in header["layout"]) + 16 * MIB
    for at, name in stored.items():
        coded, content = name.endswith("coded"), members[name]
        states[at] = read_coded(content, at, states, most) if coded else read_state(content)
        chain[at] = 1 + chain[int.from_bytes(content[20:28], "big") - 1] if coded else 0
        need(chain[at] <= 64, "coding")
        need(state_root(states[at]).hex() == roots[at], "state")
    layout = {one["name"]: (one["dtype"], one["shape"]) for one in header["layout"]}
    need({name: one[:2] for name, one in states[0].items()} == layout, "state")


def read_journal(raw: bytes) -> int:
    """Return how many bytes are dropped."""
    frames, at = [], 22
    need(raw[:at] == b"polarchive/v1/journal\n", "journal")
    while at + 13 <= len(raw) and (size := int.from_bytes(raw[at : at + 4], "big")) <= 256 * MIB:
        end = at + 5 + size
        if raw[end : end + 8] != sha256(raw[at:end])[:8]:
            break
        frames.append((chr(raw[at + 4]), raw[at + 5 : end], end + 8))
        at = end + 8
    kinds = "".join(kind for kind, _, _ in frames)
    frames = frames[: kinds.rfind("N") + 1]
    need(frames and re.fullmatch("H[REN]*", kinds), "journal")
    entries, rows, notes = ([content for one, content, _ in frames if one == kind] for kind in "ERN")
    header, segments, _ = read_log(frames[0][1], entries, b"".join(notes))
    need(re.match("HN(R?EN)*$", kinds[: len(frames)]), "head")
    need(len(rows) == len(segments) and header["commitment"]["mode"] == "fed", "rows")
    for segment, content in zip(segments, rows, strict=True):
        check_rows(header, segment, content, [])
    return len(raw) - frames[-1][2]


def challenge(text: bytes, nonce: bytes, count: int, population: int) -> tuple[bytes, list[int]]:
    drawn, value = set(), sha256(b"polarchive/v1/challenge\0", struct.pack(">Q", len(text)), text, nonce)
    for block in itertools.count():
        for word in struct.unpack(">4Q", sha256(value, struct.pack(">Q", block))):
            if len(drawn) < count and word < 2**64 - 2**64 % population:
                drawn.add(word % population)
        if len(drawn) == count:
            return value, sorted(drawn)


def salts(secret: bytes, run: bytes, epoch: int, step: int, start: int, count: int) -> bytes:
    seed = hmac.digest(secret, b"polarchive/v1/salt\0" + run + struct.pack(">2Q", epoch, step), "sha256")
    return hashlib.shake_256(seed).digest(32 * (start + count))[32 * start :]
