"""A reader of polarchive/v1, written from SPEC.md alone: that it agrees with the package says that SPEC.md suffices."""

import io
import itertools
import json
import re
import struct
import zlib
from base64 import b64decode, b64encode
from contextlib import suppress
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests import independent_coding as coding
from tests import independent_stamp as stamp
from tests.independent_coding import MIB, SIZES, Refused, need, root, sha256

# The forms of JSON values; two lines for one name are alternatives. FIELD:FORM and so on is an object of these fields,
# [x]n is an array of at most n items x, {x:y}n an object of at most n pairs, x? is x or null. All else is a regular
# expression for the spelling, where <a..b> stands for a number from a to b.
TABLE = r"""
u64        "<0..18446744073709551615>"
digest     "[0-9a-f]{64}"
text       "(?:[^"\\]|\\.){0,4096}"
name       "(?!"|__metadata__")(?:[ !#-\[\]-~]|\\["\\]){1,4096}"
dtype      "(?:BOOL|[UI](?:8|16|32|64)|F8_E5M2|F8_E4M3|BF16|F(?:16|32|64)|C64)"
boolean    true|false
setting    null|true|false|"f(?![7f]ff)[0-9a-f]{16}"
setting    "i<-9223372036854775808..9223372036854775807>"
indices    "(?:[0-9A-Za-z+/]{16})*(?:[0-9A-Za-z+/]{5}[AQgw]==|[0-9A-Za-z+/]{10}[AEIMQUYcgkosw048]=)?"
length     "<0..281474976710655>"
tensor     dtype:dtype name:name shape:[length]16
field      name:text dtype:"(?:BOOL|[UI](?:8|16|32|64)|BF16|F(?:16|32|64))" level:"(?:record|batch)"
           shape:[u64?]16 low:setting high:setting
field      name:text dtype:"(?:F8_E5M2|F8_E4M3|C64)" level:"(?:record|batch)" shape:[u64?]16 low:null high:null
field      name:text dtype:"UTF8" level:"record" shape:[u64]0 low:null high:null
commitment mode:"fed" salted:boolean root:null size:null
commitment mode:"indexed" salted:boolean root:digest size:u64
initial    kind:"seeded" seed:u64 archive:null state:null
initial    kind:"parent" seed:null archive:digest state:digest
initial    kind:"unexplained" seed:null archive:null state:null
header     type:"header" version:"polarchive/v1" run:"[0-9a-f]{32}" key:text every:"<1..18446744073709551615>" world:u64
           micro:"<1..65536>" schema:[field]1024 commitment:commitment layout:[tensor]131072 root:digest
           initial:initial source:digest? stack:{text:text}64 probe:{text:digest}8
rows       size:u64 root:digest
entry      type:"segment" index:u64 first:u64 steps:u64 records:u64 rows:rows hyper:{text:setting}4096 root:digest
           stored:boolean epoch:u64 not_before:digest?
entry      type:"end" root:digest steps:u64 records:u64
batch      count:u64 root:digest whole:digest? indices:indices?
row        step:u64 batches:[batch]65536 hyper:{text:setting}4096?
member     name:text size:u64 crc32:u64 sha256:digest
layout     [tensor]131072
affixes    [text]2
step       "(?:old[0-7]|new[0-7]|copy|[-+*/]|sqrt|F32|F16|BF16|f(?![7f]ff)[0-9a-f]{16})"
rule       formula:[step]64 names:[affixes]8
group      tensors:u64 model:"(?:same|raw|near|below|rule)" top:u64 rule:rule? sizes:[u64]5
groups     [group]131072
"""
FORMS: dict[str, list[str]] = {}
for name, form in (line.split(maxsplit=1) for line in re.sub(r"\n +", " ", TABLE).strip().splitlines()):
    FORMS.setdefault(name, []).append(form)
NAMES = r"00-header\.json|10-entries\.jsonl|20-rows\.jsonl|30-heads\.txt|40-dataset\.bin|50-stamp-\d{10}-\d{3}\.tsr"
NAMES += r"|60-cosignatures-\d{10}\.txt|70-state-\d{10}\.(?:coded|safetensors)"
FULL, MOST = 2**32 - 1, {"00": 16 * MIB, "10": 256 * MIB, "50": 65_536, "60": 65_536}


def fit(value: Any, form: str) -> Any:
    """Return a JSON value of the form, with its numbers as integers."""
    *others, form = FORMS.get(form, [form])
    for other in others:
        with suppress(Refused):
            return fit(value, other)
    if many := re.fullmatch(r"[\[{](?:(\w+):)?(\w+\??)[\]}](\d+)", form):
        key, item, most = many.groups()
        need(isinstance(value, dict if key else list) and len(value) <= int(most), "field")
        return {fit(name, key): fit(value[name], item) for name in value} if key else [fit(one, item) for one in value]
    if re.match(r"\w+:", form):
        fields = dict(field.split(":", 1) for field in form.split())
        need(isinstance(value, dict) and value.keys() == fields.keys(), "field")
        return {name: fit(value[name], fields[name]) for name in fields}
    if form.endswith("?"):
        return None if value is None else fit(value, form[:-1])
    found = need(re.fullmatch(re.sub("<.+>", "(0|-?[1-9][0-9]{0,19})", form), json.dumps(value)), "field")
    if bounds := re.search(r"<(.+)\.\.(.+)>", form):
        need(int(bounds[1]) <= int(found[1]) <= int(bounds[2]), "field")
        return int(found[1])
    return value


def read_json(raw: bytes, form: str = "", limit: int = MIB) -> Any:
    need(len(raw) <= limit and raw.count(b",") <= 2 * MIB, "limit")
    bare = re.sub(rb'"(?:[ !#-\[\]-~]|\\["\\])*"|true|false|null|\[\]|\{\}', b"", raw)
    need(re.fullmatch(rb"[][{}:,]*", bare), "json")
    need(max(itertools.accumulate((sign in b"[{") - (sign in b"]}") for sign in bare), default=0) <= 8, "json")
    with suppress(ValueError):
        value = json.loads(raw)
        if json.dumps(value, sort_keys=True, separators=(",", ":")).encode() == raw:
            return fit(value, form) if form else value
    raise Refused("json")


def read_header(raw: bytes) -> dict[str, Any]:
    header = read_json(raw, limit=16 * MIB)
    if isinstance(header, dict) and header.get("type") == "header":
        need(header.get("version") == "polarchive/v1", "version")
    header = fit(header, "header")
    need(header["world"] == 1, "version")
    need((header["commitment"]["size"] or 0) <= 2**22, "limit")
    read_key(header["key"], "field")
    names, tensors = ([one["name"] for one in header[part]] for part in ("schema", "layout"))
    need(names == sorted(set(names)) and len(tensors) == len(set(tensors)), "field")
    need(header["layout"] == sorted(header["layout"], key=lambda one: (-SIZES[one["dtype"]], one["name"])), "field")
    return header


def read_entry(raw: bytes) -> dict[str, Any]:
    entry = read_json(raw, "entry")
    need(entry["type"] == "end" or (0 < entry["steps"] <= MIB and entry["rows"]["size"] <= 256 * MIB), "limit")
    return entry


def climb(at: int, last: int, top: bytes, path: list[bytes]) -> tuple[bytes, bytes]:
    """Return the roots over the nodes up to `at`, which is `top`, and over all up to `last`, as RFC 9162 does."""
    need(0 <= at <= last and all(len(item) == 32 for item in [top, *path]), "proof")
    first = second = top
    for item in path:
        need(last, "proof")
        if at % 2 or at == last:
            first, second = sha256(b"\1", item, first), sha256(b"\1", item, second)
            while at and at % 2 == 0:
                at, last = at // 2, last // 2
        else:
            second = sha256(b"\1", second, item)
        at, last = at // 2, last // 2
    need(last == 0, "proof")
    return first, second


def consistent(old: int, new: int, known: bytes, path: list[bytes]) -> tuple[bytes, bytes]:
    """Return the roots of a tree of `old` leaves, which should be `known`, and of its extension to `new`."""
    need(0 < old <= new and bool(path) == (old < new), "proof")
    level = new.bit_length() if old == new else (old & -old).bit_length() - 1
    top, *path = [known, *path] if old >> level < 2 else path
    return climb(old - 1 >> level, new - 1 >> level, top, path)


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
    digest, signature = (f"([0-9A-Za-z+/]{{{count}}}[AEIMQUYcgkosw048]=)" for count in (42, 90))
    form = f"(([!-~]+)\n(0|[1-9][0-9]{{0,19}})\n{digest}\n)\n— ([!-*,-~]+) {signature}\n"
    text, origin, size, top, name, signed = need(re.fullmatch(form, raw.decode("utf-8", "replace")), "note").groups()
    need(int(size) < 2**64, "note")
    signer, number, public = read_key(key)
    need((name, b64decode(signed)[:4]) == (signer, number), "key")
    with suppress(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(public).verify(b64decode(signed)[4:], text.encode())
        return origin, int(size), b64decode(top)
    raise Refused("signature")


def read_log(first: bytes, others: list[bytes], notes: bytes) -> tuple[dict[str, Any], list[dict[str, Any]], set[int]]:
    """Return the header, the segments and the sizes of the heads."""
    need(len(others) < 262_144, "limit")
    header, segments, leaves = read_header(first), [], [sha256(b"\0", line) for line in [first, *others]]
    last, steps, records, sizes = header | {"epoch": 0, "steps": header["every"], "stored": True}, 0, 0, [0]
    for entry in map(read_entry, others):
        need(last["type"] != "end", "entry")
        if entry["type"] == "end":
            sums = {"type": "end", "root": last["root"], "steps": steps, "records": records}
            need(entry == sums and last["stored"], "entry")
        else:
            need((entry["index"], entry["first"]) == (len(segments), steps), "entry")
            need(entry["steps"] <= last["steps"] == header["every"] and entry["epoch"] >= last["epoch"], "entry")
            steps, records = steps + entry["steps"], records + entry["records"]
            segments.append(entry)
        last = entry
    for note in re.findall(rb"(?:.*\n){1,5}|.+", notes):
        origin, size, top = read_head(note, header["key"])
        need(origin == f"{read_key(header['key'])[0]}/{header['run']}", "head")
        need(sizes[-1] < size <= len(leaves) and top == root(leaves[:size]), "head")
        sizes.append(size)
    need(sizes[-1] == len(leaves), "head")
    return header, segments, set(sizes[1:])


def check_rows(header: dict[str, Any], segment: dict[str, Any], raw: bytes, dataset: list[bytes]) -> None:
    rows, indexed, records = raw.split(b"\n"), header["commitment"]["mode"] == "indexed", 0
    need(len(raw) == segment["rows"]["size"] and len(rows) == segment["steps"] + 1 and not rows.pop(), "rows")
    need(root([sha256(b"\0", row) for row in rows]).hex() == segment["rows"]["root"], "rows")
    for at, row in enumerate(read_json(row, "row") for row in rows):
        need((row["step"], len(row["batches"])) == (segment["first"] + at, header["micro"]), "rows")
        need(row["hyper"] is None or (at and row["hyper"]), "rows")
        for batch in row["batches"]:
            records += batch["count"]
            need((batch["indices"] is not None) == indexed, "rows")
            if indexed:
                chosen = [index for (index,) in struct.iter_unpack(">I", b64decode(batch["indices"]))]
                need(len(chosen) == batch["count"] and max(chosen, default=-1) < len(dataset), "rows")
                need(root([dataset[index] for index in chosen]).hex() == batch["root"], "rows")
    need(records == segment["records"], "rows")


def read_container(raw: bytes) -> dict[str, bytes]:
    need(len(raw) >= 185 and raw[-139:-126] == b"zz-index.json", "zip")
    size, _, offset = struct.unpack("<3Q", raw[-122:-98])
    start = offset + 67 + -(offset + 67) % 64
    need(start + size <= len(raw), "truncated")
    content = raw[start : start + size]
    index = read_json(content, limit=64 * MIB)
    need(isinstance(index, dict) and index.keys() == {"members"}, "index")
    items = fit(index["members"], "[member]262144")
    need(all(item["size"] < 2**62 and item["crc32"] < 2**32 for item in items), "index")
    names = [item["name"] for item in items]
    need(names == sorted(set(names)) and all(re.fullmatch(NAMES, name) for name in names), "member")
    items.append({"name": "zz-index.json", "size": size, "crc32": zlib.crc32(content), "sha256": sha256(content).hex()})
    members, central, at = {}, b"", 0
    for item in items:
        size, name = item["size"], item["name"].encode()
        pad = -(at + 54 + len(name)) % 64
        same = struct.pack("<5H3IH", 45, 0, 0, 0, 0x21, item["crc32"], FULL, FULL, len(name))
        local = struct.pack("<I24sH", 0x04034B50, same, 24 + pad) + name
        local += struct.pack(f"<2H2Q2H{pad}x", 1, 16, size, size, 0x4150, pad)
        central += struct.pack("<IH24s4H2I", 0x02014B50, 0x032D, same, 28, 0, 0, 0, 0x81240000, FULL) + name
        central += struct.pack("<2H3Q", 1, 24, size, size, at)
        begin, at = at, at + len(local) + size
        need(at <= len(raw), "truncated")
        need(raw[begin : at - size] == local, "zip")
        members[item["name"]] = raw[at - size : at]
    directory = len(members), len(members), len(central), at
    central += struct.pack("<IQ2H2I4Q", 0x06064B50, 44, 0x032D, 45, 0, 0, *directory)
    central += struct.pack("<2IQI", 0x07064B50, 0, sum(directory[2:]), 1)
    central += struct.pack("<I4H2IH", 0x06054B50, 0, 0, 65_535, 65_535, FULL, FULL, 0)
    need(raw[at:] == central, "zip")
    for item in items:
        content = members[item["name"]]
        need(item["size"] <= MOST.get(item["name"][:2], 2**62), "limit")
        need((item["crc32"], item["sha256"]) == (zlib.crc32(content), sha256(content).hex()), "digest")
    return {name: members[name] for name in names}


def read_archive(raw: bytes) -> None:
    members = read_container(raw)
    need(members.keys() >= {"00-header.json", "10-entries.jsonl", "20-rows.jsonl", "30-heads.txt"}, "member")
    first, entries, rows, notes = (members.pop(name) for name in sorted(members)[:4])
    need(entries[-1:] in (b"", b"\n"), "entry")
    header, segments, sizes = read_log(first, entries.split(b"\n")[:-1], notes)
    mode, _, top, size = header["commitment"].values()
    need(("40-dataset.bin" in members) == (mode == "indexed"), "member")
    flat = members.pop("40-dataset.bin", b"")
    dataset = [flat[at : at + 32] for at in range(0, len(flat), 32)]
    need(mode == "fed" or (len(flat), root(dataset).hex()) == (32 * size, top), "digest")
    stream = io.BytesIO(rows)
    for segment in segments:
        check_rows(header, segment, stream.read(segment["rows"]["size"]), dataset)
    need(not stream.read(), "rows")
    roots = {0: header["root"]} | {one["index"] + 1: one["root"] for one in segments if one["stored"]}
    numbers = [(int(name.split("-")[2][:10]), name) for name in members]
    stored = [(at, name) for at, name in numbers if name[:2] == "70"]
    need(all(size in sizes for size, name in numbers if name[:2] != "70"), "member")
    for size, note in zip(sorted(sizes), re.findall(rb"(?:.*\n){5}", notes), strict=True):
        stamp.read_stamps(note, [(name, members[name]) for at, name in numbers if (at, name[:2]) == (size, "50")])
    for _, name in numbers:
        need(name[:2] != "60" or all(map(is_cosignature, members[name].split(b"\n")[:-1] or [b""])), "cosignature")
        need(name[:2] != "60" or members[name].endswith(b"\n"), "cosignature")
    need([at for at, _ in stored] == list(roots), "member")
    layout = {one["name"]: (one["dtype"], one["shape"]) for one in header["layout"]}
    most = 16 * sum(coding.length(*one) for one in layout.values()) + 16 * MIB
    forms = [(at, name.endswith(".coded"), members[name]) for at, name in stored]
    states = coding.read_states(forms, most, read_json)
    need({at: coding.state_root(state).hex() for at, state in states.items()} == roots, "state")
    need({name: one[:2] for name, one in states[0].items()} == layout, "state")


def is_cosignature(line: bytes) -> bool:
    """Tell whether a line without its end is one of a witness."""
    found = re.fullmatch(rb"\xe2\x80\x94 [!-*,-~]+ ([A-Za-z0-9+/]+={0,2})", line)
    with suppress(ValueError):
        return bool(found) and b64encode(raw := b64decode(found[1], validate=True)) == found[1] and len(raw) > 4
    return False


def read_journal(raw: bytes) -> int:
    """Return how many bytes are dropped."""
    frames, at = [], 22
    need(raw[:at] == b"polarchive/v1/journal\n", "journal")
    while (size := int.from_bytes(raw[at : at + 4], "big")) <= 256 * MIB:
        end = at + 5 + size
        if raw[end : end + 8] != sha256(raw[at:end])[:8]:
            break
        frames.append((chr(raw[at + 4]), raw[at + 5 : end], end + 8))
        at = end + 8
    while frames and frames[-1][0] != "N":
        frames.pop()
    kinds = "".join(kind for kind, _, _ in frames)
    need(re.fullmatch("H[REN]*", kinds), "journal")
    entries, rows, notes = ([content for one, content, _ in frames if one == kind] for kind in "ERN")
    header, segments, sizes = read_log(frames[0][1], entries, b"".join(notes))
    need(sizes == {1 + kinds.count("E", 0, at) for at, kind in enumerate(kinds) if kind == "N"}, "head")
    need(re.fullmatch("H(RE)*E?", kinds.replace("N", "")) and len(rows) == len(segments), "rows")
    for segment, content in zip(segments, rows, strict=True):
        check_rows(header, segment, content, [])
    return len(raw) - frames[-1][2]
