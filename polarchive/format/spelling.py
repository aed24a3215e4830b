"""Spell entries and step rows as canonical JSON and read them back, every field checked (SPEC.md, "Entries")."""

import base64
import binascii
import struct
from typing import Final

from polarchive.errors import FormatError, Reason
from polarchive.format import fields as f
from polarchive.format.canonical import Json, decode, encode
from polarchive.format.commitment import TEXT, BatchRow, is_dtype
from polarchive.format.entry import VERSION, Commitment, End, Entry, Header, Initial, Rows, Segment, StepRow
from polarchive.format.limits import (
    MAX_ENTRY,
    MAX_HEADER,
    MAX_NDIM,
    MAX_ROW,
    MAX_ROWS,
    MAX_STEPS_PER_SEGMENT,
    MAX_TENSORS,
)
from polarchive.format.note import VerifierKey
from polarchive.format.schema import BOUNDED, Field, Schema
from polarchive.format.tensors import Layout, Spec, check_spec, in_order


def encode_header(header: Header) -> bytes:
    """Return the canonical JSON of the header, entry 0."""
    return encode({**_tagged("header", _header.write(header)), "version": VERSION})


def decode_header(data: bytes) -> Header:
    """Return the header that `data` spells; FormatError for any field this version does not allow."""
    value = _untagged(decode(data, MAX_HEADER, "header"), "header", "header")
    version = value.pop("version", None)
    if version != VERSION:
        raise FormatError(Reason.VERSION, "header", f"version {str(version)[:40]}, not {VERSION}")
    header = f.read(_header, value, "header")
    if header.world != 1:
        raise FormatError(Reason.VERSION, "header", f"world {header.world}: this reader takes one process only")
    if not (header.every and 0 < header.micro <= 1 << 16):
        raise FormatError(Reason.FIELD, "header", "every and micro are at least 1, micro at most 65,536")
    return header


def encode_entry(entry: Entry) -> bytes:
    """Return the canonical JSON of a segment or end."""
    if isinstance(entry, Segment):
        return encode(_tagged("segment", _segment.write(entry)))
    return encode(_tagged("end", _end.write(entry)))


def decode_entry(data: bytes, place: str) -> Entry:
    """Return the segment or end that `data` spells."""
    value = decode(data, MAX_ENTRY, place)
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "end":
        return f.read(_end, _untagged(value, "end", place), place)
    segment = f.read(_segment, _untagged(value, "segment", place), place)
    if not 0 < segment.steps <= MAX_STEPS_PER_SEGMENT:
        raise FormatError(Reason.LIMIT, place, f"a segment of {segment.steps} steps")
    if segment.rows.size > MAX_ROWS:
        raise FormatError(Reason.LIMIT, place, f"{segment.rows.size} bytes of rows, at most {MAX_ROWS} are allowed")
    return segment


def encode_row(row: StepRow) -> bytes:
    """Return the canonical JSON of a step row."""
    return encode(_row.write(row))


def decode_row(data: bytes, place: str) -> StepRow:
    """Return the step row that `data` spells."""
    return f.read(_row, decode(data, MAX_ROW, place), place)


def _tagged(kind: str, value: Json) -> dict[str, Json]:
    assert isinstance(value, dict)
    return {"type": kind, **value}


def _untagged(value: Json, kind: str, place: str) -> dict[str, Json]:
    if not isinstance(value, dict) or value.get("type") != kind:
        raise FormatError(Reason.FIELD, place, f"not an entry of type {kind}")
    return {name: item for name, item in value.items() if name != "type"}


def _read_key(value: Json) -> VerifierKey:
    try:
        return VerifierKey.parse(f.text.read(value))
    except FormatError as error:
        raise ValueError(str(error)) from None


def _read_indices(value: Json) -> tuple[int, ...]:
    try:
        data = base64.b64decode(value if isinstance(value, str) else "?", validate=True)
        indices: tuple[int, ...] = struct.unpack(f">{len(data) // 4}I", data)
    except (binascii.Error, struct.error):
        raise ValueError("expected base64 of big-endian u32 indices") from None
    if _write_indices(indices) != value:
        raise ValueError("expected canonical base64")
    return indices


def _write_indices(indices: tuple[int, ...]) -> str:
    return base64.b64encode(struct.pack(f">{len(indices)}I", *indices)).decode()


def _read_field(value: Json) -> Field:
    field = _fields_of_field.read(value)
    if not is_dtype(field.dtype):
        raise ValueError(f"field {field.name}: an unknown dtype")
    if not field.name or (field.dtype == TEXT and (field.level, field.shape) != ("record", ())):
        raise ValueError(f"field {field.name}: without a name, or strings that are not one per record")
    if (field.low, field.high) != (None, None) and field.dtype not in BOUNDED:
        raise ValueError(f"field {field.name}: {field.dtype} has no bounds")
    return field


def _read_schema(value: Json) -> Schema:
    found = f.sequence(f.Codec(_fields_of_field.write, _read_field), 1 << 10).read(value)
    if [field.name for field in found] != sorted({field.name for field in found}):
        raise ValueError("expected fields in name order, each once")
    return Schema(found)


def _read_spec(value: Json) -> Spec:
    spec = _fields_of_spec.read(value)
    return check_spec(spec.name, spec.dtype, spec.shape)


def _read_layout(value: Json) -> Layout:
    found = specs.read(value)
    if found != in_order(found) or len({spec.name for spec in found}) != len(found):
        raise ValueError("expected tensors in the order of storage, each once")
    return found


def _read_commitment(value: Json) -> Commitment:
    commitment = _fields_of_commitment.read(value)
    indexed = commitment.mode == "indexed"
    if (commitment.root is not None, commitment.size is not None) != (indexed, indexed):
        raise ValueError("root and size belong to indexed mode, and only there")
    return commitment


def _read_initial(value: Json) -> Initial:
    initial = _fields_of_initial.read(value)
    present = {name for name in ("seed", "archive", "state") if getattr(initial, name) is not None}
    if present != {"seeded": {"seed"}, "parent": {"archive", "state"}, "unexplained": set()}[initial.kind]:
        raise ValueError(f"the wrong fields for {initial.kind}")
    return initial


_fields_of_spec: Final = f.fields(Spec, name=f.text, dtype=f.text, shape=f.sequence(f.u64, MAX_NDIM))
specs: Final = f.sequence(f.Codec(_fields_of_spec.write, _read_spec), MAX_TENSORS)
_fields_of_field: Final = f.fields(
    Field,
    name=f.text,
    dtype=f.text,
    level=f.one_of("record", "batch"),
    shape=f.sequence(f.optional(f.u64), MAX_NDIM),
    low=f.setting,
    high=f.setting,
)
_fields_of_commitment: Final = f.fields(
    Commitment,
    mode=f.one_of("fed", "indexed"),
    salted=f.boolean,
    root=f.optional(f.digest),
    size=f.optional(f.u64),
)
_fields_of_initial: Final = f.fields(
    Initial,
    kind=f.one_of("seeded", "parent", "unexplained"),
    seed=f.optional(f.u64),
    archive=f.optional(f.digest),
    state=f.optional(f.digest),
)
verifier_key: Final = f.Codec(str, _read_key)
schema: Final = f.Codec(lambda found: [_fields_of_field.write(field) for field in found.fields], _read_schema)
_hyper: Final = f.mapping(f.setting, 1 << 12)
_header: Final = f.fields(
    Header,
    run=f.hexadecimal(16),
    key=verifier_key,
    every=f.u64,
    world=f.u64,
    micro=f.u64,
    schema=schema,
    commitment=f.Codec(_fields_of_commitment.write, _read_commitment),
    layout=f.Codec(specs.write, _read_layout),
    root=f.digest,
    initial=f.Codec(_fields_of_initial.write, _read_initial),
    source=f.optional(f.digest),
    stack=f.mapping(f.text, 64),
    probe=f.mapping(f.digest, 8),
)
_segment: Final = f.fields(
    Segment,
    index=f.u64,
    first=f.u64,
    steps=f.u64,
    records=f.u64,
    rows=f.fields(Rows, size=f.u64, root=f.digest),
    hyper=_hyper,
    root=f.digest,
    stored=f.boolean,
    epoch=f.u64,
    not_before=f.optional(f.digest),
)
_end: Final = f.fields(End, root=f.digest, steps=f.u64, records=f.u64)
_batch: Final = f.fields(
    BatchRow,
    count=f.u64,
    root=f.digest,
    whole=f.optional(f.digest),
    indices=f.optional(f.Codec(_write_indices, _read_indices)),
)
_row: Final = f.fields(
    StepRow,
    step=f.u64,
    batches=f.sequence(_batch, 1 << 16),
    hyper=f.optional(_hyper),
)
