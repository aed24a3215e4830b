"""Test that header, segments, end and step rows have one spelling, and that every other field is refused."""

import base64
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import fields as fields_of
from dataclasses import is_dataclass, replace
from typing import Any, TypeAlias

import hypothesis.strategies as st
import pytest
from hypothesis import given

from polarchive.errors import FormatError, Reason
from polarchive.format.canonical import Json, encode
from polarchive.format.commitment import BatchRow
from polarchive.format.entry import End, Initial, Rows, StepRow
from polarchive.format.limits import MAX_ENTRY, MAX_HEADER, MAX_ROW, MAX_ROWS, MAX_STEPS_PER_SEGMENT
from polarchive.format.note import VerifierKey
from polarchive.format.schema import Field, Schema
from polarchive.format.spelling import decode_entry, decode_header, decode_row, encode_entry, encode_header, encode_row
from polarchive.format.tensors import Spec
from tests.format.strategies import ends, headers, segments, step_rows
from tests.simulator import PROVER, Simulation

Path: TypeAlias = tuple[str | int, ...]
HONEST = Simulation().run()
SPEC = Spec("w", "F32", (2,))
FIELD = Field("x", "U8", "record", (None, 2), low=0.0)
HEADER = replace(HONEST.header, schema=Schema((FIELD,)), layout=(SPEC,), source=None)
SEGMENT = HONEST.segments[0]
END = HONEST.entries[-1]
ROW = StepRow(3, (BatchRow(2, bytes(32), None, (5, 9)),), {"lr": 0.5})

Spelling: TypeAlias = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
ENTRY: Spelling = (encode_entry, lambda data: decode_entry(data, "entry"))
SPELLINGS: dict[str, Spelling] = {
    "header": (encode_header, decode_header),
    "segment": ENTRY,
    "end": ENTRY,
    "row": (encode_row, lambda data: decode_row(data, "row")),
}
PARTS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "header": (HEADER, headers),
    "segment": (SEGMENT, segments),
    "end": (END, ends),
    "row": (ROW, step_rows),
}
FREE: dict[str, set[Path]] = {  # objects whose names are not fixed
    "header": {("stack",), ("probe",)},
    "segment": {("hyper",)},
    "end": set(),
    "row": {("hyper",)},
}
WRONG: list[Json] = [
    None,
    True,
    "",
    "x",
    "-1",
    "00",
    "1.5",
    str(1 << 64),
    "i1",
    [],
    {},
    ["x"],
    {"x": "x"},
    [None],
    {"x": []},
]
FREE_TEXTS: list[Json] = ["", "x", "-1", "00", "1.5", str(1 << 64), "i1"]
ALLOWED: dict[str, dict[Path, list[Json]]] = {  # of WRONG, what is right after all
    "header": {
        ("commitment", "salted"): [True],
        ("layout",): [[]],
        ("layout", 0, "name"): FREE_TEXTS[1:],
        ("layout", 0, "shape"): [[]],
        ("probe",): [{}],
        ("schema",): [[]],
        ("schema", 0, "high"): [None, True, "i1"],
        ("schema", 0, "low"): [None, True, "i1"],
        ("schema", 0, "name"): FREE_TEXTS[1:],
        ("schema", 0, "shape"): [[], [None]],
        ("schema", 0, "shape", 0): [None],
        ("schema", 0, "shape", 1): [None],
        ("source",): [None],
        ("stack",): [{}, {"x": "x"}],
        ("stack", "device"): FREE_TEXTS,
        ("stack", "polarchive"): FREE_TEXTS,
        ("commitment", "root"): [None],
        ("commitment", "size"): [None],
        ("initial", "archive"): [None],
        ("initial", "state"): [None],
    },
    "segment": {
        ("hyper",): [{}],
        **{("hyper", name): [None, True, "i1"] for name in SEGMENT.hyper},
        ("not_before",): [None],
        ("stored",): [True],
    },
    "end": {},
    "row": {
        ("batches",): [[]],
        ("batches", 0, "indices"): [None, ""],
        ("batches", 0, "whole"): [None],
        ("hyper",): [None, {}],
        ("hyper", "lr"): [None, True, "i1"],
    },
}


def spell(kind: str) -> Json:
    value: Json = json.loads(SPELLINGS[kind][0](PARTS[kind][0]))
    return value


def paths(value: Json, start: Path = ()) -> Iterator[Path]:
    """Yield the path to every value inside `value`."""
    steps: list[tuple[str | int, Json]] = []
    if isinstance(value, dict):
        steps = [*value.items()]
    elif isinstance(value, list):
        steps = [*enumerate(value)]
    for step, inner in steps:
        yield (*start, step)
        yield from paths(inner, (*start, step))


def at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def altered(kind: str, path: Path, change: Callable[[Any, Any], None]) -> bytes:
    """Return the spelling in which `change` was done to the parent of `path`, at its last step."""
    value = spell(kind)
    change(at(value, path[:-1]), path[-1])
    return encode(value)


def put(new: Json) -> Callable[[Any, Any], None]:
    return lambda parent, step: parent.__setitem__(step, new)


def drop(parent: Any, step: Any) -> None:
    del parent[step]


def is_refused(kind: str, data: bytes) -> bool:
    try:
        SPELLINGS[kind][1](data)
    except FormatError:
        return True
    return False


def types(value: Any) -> Any:
    """Return the types inside a value: True, 1 and 1.0 are equal, and not the same setting."""
    if is_dataclass(value):
        return {field.name: types(getattr(value, field.name)) for field in fields_of(value)}
    if isinstance(value, dict):
        return {name: types(item) for name, item in value.items()}
    return [types(item) for item in value] if isinstance(value, tuple) else type(value)


KINDS = pytest.mark.parametrize("kind", PARTS)
FIXED = [
    (kind, path)
    for kind in PARTS
    for path in paths(spell(kind))
    if isinstance(path[-1], str) and path[:-1] not in FREE[kind]
]
OBJECTS = sorted({(kind, path[:-1]) for kind, path in FIXED}, key=str)
EVERY = [(kind, path) for kind in PARTS for path in paths(spell(kind)) if path != ("type",)]


def name(case: tuple[str, Path]) -> str:
    return "/".join(map(str, (case[0], *case[1])))


@KINDS
@given(data=st.data())
def test_decode_is_the_inverse_of_encode(kind: str, data: st.DataObject) -> None:
    write, read = SPELLINGS[kind]
    part = data.draw(PARTS[kind][1])
    found = read(write(part))
    assert found == part and types(found) == types(part)
    assert write(found) == write(part)


@KINDS
def test_the_catalogue_names_every_field(kind: str) -> None:
    found = {step for path in paths(spell(kind)) for step in path[:1]} - {"type", "version"}
    assert found == {field.name for field in fields_of(PARTS[kind][0])}


@pytest.mark.parametrize("case", FIXED, ids=name)
def test_a_missing_field_is_refused(case: tuple[str, Path]) -> None:
    kind, path = case
    assert is_refused(kind, altered(kind, path, drop))


@pytest.mark.parametrize("case", OBJECTS, ids=name)
@pytest.mark.parametrize("extra", ["", "more", "Type", "version_", "~"])
def test_an_extra_field_is_refused(case: tuple[str, Path], extra: str) -> None:
    kind, path = case
    assert is_refused(kind, altered(kind, (*path, extra), put(None)))


@pytest.mark.parametrize("case", EVERY, ids=name)
def test_a_field_of_another_form_is_refused(case: tuple[str, Path]) -> None:
    kind, path = case
    original = at(spell(kind), path)
    accepted = [wrong for wrong in WRONG if wrong != original and not is_refused(kind, altered(kind, path, put(wrong)))]
    assert accepted == [value for value in ALLOWED[kind].get(path, []) if value != original]


@pytest.mark.parametrize("case", EVERY, ids=name)
def test_what_is_accepted_has_this_one_spelling(case: tuple[str, Path]) -> None:
    kind, path = case
    write, read = SPELLINGS[kind]
    for wrong in WRONG:
        data = altered(kind, path, put(wrong))
        assert is_refused(kind, data) or write(read(data)) == data


@pytest.mark.parametrize("tag", [None, "", "Segment", "header ", "row", ["end"], {"end": "end"}])
@pytest.mark.parametrize("kind", ["header", "segment", "end"])
def test_another_type_is_refused(kind: str, tag: Json) -> None:
    assert is_refused(kind, altered(kind, ("type",), put(tag)))


@pytest.mark.parametrize(
    ("kind", "tag"), [("segment", "end"), ("end", "segment"), ("header", "end"), ("segment", "header")]
)
def test_a_type_does_not_fit_the_fields_of_another(kind: str, tag: str) -> None:
    assert is_refused(kind, altered(kind, ("type",), put(tag)))


@pytest.mark.parametrize("value", [b"null", b'""', b"[]", b"{}", b'["segment"]', b"", b"x"])
@KINDS
def test_what_is_no_object_of_fields_is_refused(kind: str, value: bytes) -> None:
    assert is_refused(kind, value)


@KINDS
def test_another_spelling_is_refused(kind: str) -> None:
    data = SPELLINGS[kind][0](PARTS[kind][0])
    assert not is_refused(kind, data)
    assert is_refused(kind, data + b"\n") and is_refused(kind, data.replace(b",", b", "))


ZERO, SHORT, LONG = "0" * 64, "0" * 62, "0" * 66
NAN, INFINITE = "f7ff8000000000000", "ffff0000000000000"
TENSOR: Json = {"name": "w", "dtype": "F32", "shape": ["2"]}
COLUMN: Json = {"name": "x", "dtype": "U8", "level": "record", "shape": [None, "2"], "low": None, "high": None}
INITIAL: Json = {"kind": "unexplained", "seed": None, "archive": None, "state": None}
FED: Json = {"mode": "fed", "salted": True, "root": None, "size": None}
MANY = [str(number) for number in range(4097)]


def but(value: Json, **changes: Json) -> Json:
    assert isinstance(value, dict)
    return {**value, **changes}


FORGED: dict[str, tuple[str, Path, Json, Reason]] = {
    "every_zero": ("header", ("every",), "0", Reason.FIELD),
    "micro_zero": ("header", ("micro",), "0", Reason.FIELD),
    "micro_huge": ("header", ("micro",), "65537", Reason.FIELD),
    "world_zero": ("header", ("world",), "0", Reason.VERSION),
    "world_two": ("header", ("world",), "2", Reason.VERSION),
    "run_short": ("header", ("run",), "0" * 30, Reason.FIELD),
    "run_in_capitals": ("header", ("run",), "A" * 32, Reason.FIELD),
    "root_short": ("header", ("root",), SHORT, Reason.FIELD),
    "key_weak": ("header", ("key",), str(VerifierKey("a", bytes(32))), Reason.FIELD),
    "key_without_name": ("header", ("key",), str(VerifierKey("", PROVER.key.public)), Reason.FIELD),
    "key_with_a_space": ("header", ("key",), str(PROVER.key) + " ", Reason.FIELD),
    "field_twice": ("header", ("schema",), [COLUMN, COLUMN], Reason.FIELD),
    "fields_unsorted": ("header", ("schema",), [but(COLUMN, name="y"), COLUMN], Reason.FIELD),
    "field_without_name": ("header", ("schema", 0, "name"), "", Reason.FIELD),
    "field_of_an_unknown_dtype": ("header", ("schema",), [but(COLUMN, dtype="F128")], Reason.FIELD),
    "field_of_an_unknown_level": ("header", ("schema", 0, "level"), "run", Reason.FIELD),
    "field_bound_nan": ("header", ("schema", 0, "high"), NAN, Reason.FIELD),
    "field_bound_without_order": ("header", ("schema",), [but(COLUMN, dtype="C64", low="i0")], Reason.FIELD),
    "field_bound_of_strings": ("header", ("schema",), [but(COLUMN, dtype="UTF8", shape=[], low="i0")], Reason.FIELD),
    "field_of_17_dimensions": ("header", ("schema", 0, "shape"), ["1"] * 17, Reason.FIELD),
    "strings_with_a_shape": ("header", ("schema",), [but(COLUMN, dtype="UTF8")], Reason.FIELD),
    "strings_of_the_batch": ("header", ("schema",), [but(COLUMN, dtype="UTF8", shape=[], level="batch")], Reason.FIELD),
    "tensor_twice": ("header", ("layout",), [TENSOR, TENSOR], Reason.FIELD),
    "tensors_unsorted": ("header", ("layout",), [but(TENSOR, name="x"), TENSOR], Reason.FIELD),
    "tensors_not_wide_first": ("header", ("layout",), [TENSOR, but(TENSOR, name="x", dtype="F64")], Reason.FIELD),
    "tensor_without_name": ("header", ("layout", 0, "name"), "", Reason.FIELD),
    "tensor_named_metadata": ("header", ("layout", 0, "name"), "__metadata__", Reason.FIELD),
    "tensor_of_an_unknown_dtype": ("header", ("layout", 0, "dtype"), "UTF8", Reason.FIELD),
    "tensor_of_an_absurd_size": ("header", ("layout", 0, "shape"), [str(1 << 48)], Reason.FIELD),
    "tensor_of_17_dimensions": ("header", ("layout", 0, "shape"), ["1"] * 17, Reason.FIELD),
    "seeded_without_a_seed": ("header", ("initial",), but(INITIAL, kind="seeded"), Reason.FIELD),
    "seeded_with_a_negative_seed": ("header", ("initial",), but(INITIAL, kind="seeded", seed="-1"), Reason.FIELD),
    "seeded_with_a_state": ("header", ("initial",), but(INITIAL, kind="seeded", seed="1", state=ZERO), Reason.FIELD),
    "parent_without_a_state": ("header", ("initial",), but(INITIAL, kind="parent", archive=ZERO), Reason.FIELD),
    "unexplained_with_a_seed": ("header", ("initial",), but(INITIAL, seed="1"), Reason.FIELD),
    "initial_of_an_unknown_kind": ("header", ("initial",), but(INITIAL, kind="random"), Reason.FIELD),
    "fed_with_a_dataset": ("header", ("commitment",), but(FED, root=ZERO, size="1"), Reason.FIELD),
    "fed_with_a_size": ("header", ("commitment",), but(FED, size="1"), Reason.FIELD),
    "indexed_without_a_dataset": ("header", ("commitment",), but(FED, mode="indexed"), Reason.FIELD),
    "indexed_without_a_size": ("header", ("commitment",), but(FED, mode="indexed", root=ZERO), Reason.FIELD),
    "stack_of_65_names": ("header", ("stack",), dict.fromkeys(MANY[:65], ""), Reason.FIELD),
    "probe_of_nine_names": ("header", ("probe",), dict.fromkeys(MANY[:9], ZERO), Reason.FIELD),
    "stack_larger_than_a_header": ("header", ("stack",), {"a": "x" * MAX_HEADER}, Reason.LIMIT),
    "segment_without_steps": ("segment", ("steps",), "0", Reason.LIMIT),
    "segment_of_too_many_steps": ("segment", ("steps",), str(MAX_STEPS_PER_SEGMENT + 1), Reason.LIMIT),
    "segment_of_too_many_rows": ("segment", ("rows", "size"), str(MAX_ROWS + 1), Reason.LIMIT),
    "segment_index_negative": ("segment", ("index",), "-1", Reason.FIELD),
    "segment_first_above_u64": ("segment", ("first",), str(1 << 64), Reason.FIELD),
    "segment_root_short": ("segment", ("root",), SHORT, Reason.FIELD),
    "segment_rows_root_long": ("segment", ("rows", "root"), LONG, Reason.FIELD),
    "segment_hyper_nan": ("segment", ("hyper", "lr"), NAN, Reason.FIELD),
    "segment_hyper_infinite": ("segment", ("hyper", "lr"), INFINITE, Reason.FIELD),
    "segment_hyper_huge_integer": ("segment", ("hyper", "lr"), f"i{1 << 63}", Reason.FIELD),
    "segment_of_too_many_hypers": ("segment", ("hyper",), dict.fromkeys(MANY, "i1"), Reason.FIELD),
    "segment_larger_than_an_entry": ("segment", ("hyper", "x" * MAX_ENTRY), "i1", Reason.LIMIT),
    "end_root_short": ("end", ("root",), SHORT, Reason.FIELD),
    "end_steps_negative": ("end", ("steps",), "-1", Reason.FIELD),
    "end_records_above_u64": ("end", ("records",), str(1 << 64), Reason.FIELD),
    "row_step_negative": ("row", ("step",), "-1", Reason.FIELD),
    "row_count_above_u64": ("row", ("batches", 0, "count"), str(1 << 64), Reason.FIELD),
    "row_root_short": ("row", ("batches", 0, "root"), SHORT, Reason.FIELD),
    "row_whole_long": ("row", ("batches", 0, "whole"), LONG, Reason.FIELD),
    "row_hyper_nan": ("row", ("hyper", "lr"), NAN, Reason.FIELD),
    "row_larger_than_a_row": ("row", ("hyper", "x" * MAX_ROW), "i1", Reason.LIMIT),
}
BATCH = ROW.batches[0]
UNWRITABLE: dict[str, tuple[str, Any]] = {
    "run_short": ("header", replace(HEADER, run=bytes(15))),
    "root_long": ("header", replace(HEADER, root=bytes(33))),
    "seed_negative": ("header", replace(HEADER, initial=Initial("seeded", -1))),
    "bound_nan": ("header", replace(HEADER, schema=Schema((replace(FIELD, high=float("nan")),)))),
    "stack_not_ascii": ("header", replace(HEADER, stack={"device": "é"})),
    "stack_with_a_line_end": ("header", replace(HEADER, stack={"device": "a\n"})),
    "index_negative": ("segment", replace(SEGMENT, index=-1)),
    "first_above_u64": ("segment", replace(SEGMENT, first=1 << 64)),
    "hyper_nan": ("segment", replace(SEGMENT, hyper={"lr": float("nan")})),
    "hyper_infinite": ("segment", replace(SEGMENT, hyper={"lr": float("-inf")})),
    "rows_root_short": ("segment", replace(SEGMENT, rows=Rows(1, b""))),
    "steps_negative": ("end", End(bytes(32), -1, 1)),
    "count_negative": ("row", replace(ROW, batches=(replace(BATCH, count=-1),))),
    "whole_short": ("row", replace(ROW, batches=(replace(BATCH, whole=b"a"),))),
}
BAD_INDICES = {
    "not_base64": "????",
    "three_bytes": base64.b64encode(bytes(3)).decode(),
    "without_padding": base64.b64encode(bytes(4)).decode().rstrip("="),
    "loose_bits": base64.b64encode(bytes(4)).decode().replace("A==", "B=="),
    "line_end": base64.b64encode(bytes(4)).decode() + " ",
    "url_alphabet": base64.urlsafe_b64encode(b"\xff" * 12).decode(),
}


@pytest.mark.parametrize(("kind", "path", "value", "reason"), FORGED.values(), ids=FORGED)
def test_forged_fields_are_refused(kind: str, path: Path, value: Json, reason: Reason) -> None:
    with pytest.raises(FormatError) as refusal:
        SPELLINGS[kind][1](altered(kind, path, put(value)))
    assert refusal.value.reason == reason


SOUND: dict[str, tuple[str, Json]] = {
    "tensor": ("layout", [TENSOR]),
    "column": ("schema", [COLUMN]),
    "strings": ("schema", [but(COLUMN, dtype="UTF8", shape=[])]),
    "unexplained": ("initial", INITIAL),
    "seeded": ("initial", but(INITIAL, kind="seeded", seed="1")),
    "parent": ("initial", but(INITIAL, kind="parent", archive=ZERO, state=ZERO)),
    "fed": ("commitment", FED),
    "indexed": ("commitment", but(FED, mode="indexed", root=ZERO, size="1")),
}


@pytest.mark.parametrize(("field", "value"), SOUND.values(), ids=SOUND)
def test_the_parts_that_faults_are_planted_in_are_read(field: str, value: Json) -> None:
    assert not is_refused("header", altered("header", (field,), put(value)))


@pytest.mark.parametrize(("kind", "part"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_no_reader_takes_is_not_written(kind: str, part: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        SPELLINGS[kind][0](part)


@pytest.mark.parametrize("indices", BAD_INDICES.values(), ids=BAD_INDICES)
def test_bad_indices_are_refused(indices: str) -> None:
    assert is_refused("row", altered("row", ("batches", 0, "indices"), put(indices)))


def test_indices_are_big_endian() -> None:
    found = at(spell("row"), ("batches", 0, "indices"))
    assert struct.unpack(">2I", base64.b64decode(found)) == (5, 9)


@pytest.mark.parametrize("version", ["polarchive/v2", "", None, True, ["polarchive/v1"], {"v": "1"}])
def test_another_version_is_refused_as_such(version: Json) -> None:
    with pytest.raises(FormatError) as refusal:
        decode_header(altered("header", ("version",), put(version)))
    assert refusal.value.reason == Reason.VERSION
