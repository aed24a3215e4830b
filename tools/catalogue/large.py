"""Make vectors that are too large to commit: one above each limit that a small file cannot break, and some at it."""

from polarchive.errors import Reason
from polarchive.format import container
from polarchive.format.canonical import Json
from polarchive.format.limits import MAX_BRACKETS, MAX_ENTRIES, MAX_HEADER, MAX_HYPER, MAX_TENSORS, MAX_TEXT, MAX_VALUES
from tests.simulator import at, changed
from tools.catalogue import OK, opened, sealed, vector
from tools.catalogue.forge import LONG, NONE, ONE, data_of, forged, put, with_members
from tools.catalogue.tensor_files import sized

SPEC = "Limits"
HEADER = NONE.run().lines[0]
SEGMENT = ONE.run().lines[1]
ROW = ONE.run().rows[0][:-1]


def names(count: int, width: int = 4) -> dict[str, Json]:
    """Return hyper-parameters of so many names of so many characters."""
    return {f"{number:0{width}}": "i1" for number in range(count)}


def layout(count: int, width: int = 6) -> list[Json]:
    """Return the layout of so many tensors with names of so many characters."""
    return [{"dtype": "U8", "name": f"{number:0{width}}", "shape": []} for number in range(count)]


def state(count: int) -> bytes:
    """Return a state of so many tensors of one byte."""
    items = (f'"{n:06}":{{"dtype":"U8","shape":[],"data_offsets":[{n},{n + 1}]}}' for n in range(count))
    text = "{" + ",".join(items) + "}"
    return sized((text + " " * (-len(text) % 8)).encode(), bytes(count))


@vector("entry", Reason.LIMIT, SPEC, large=True)
def segment_too_large() -> bytes:
    """A segment of more than 1,048,576 bytes, in 4,096 long names of hyper-parameters."""
    return put("hyper", to=names(MAX_HYPER, 256))(SEGMENT)


@vector("row", Reason.LIMIT, SPEC, large=True)
def row_too_large() -> bytes:
    """A row of more than 1,048,576 bytes, in 4,096 long names of hyper-parameters."""
    return put("hyper", to=names(MAX_HYPER, 256))(ROW)


@vector("entry", OK, SPEC, large=True)
def segment_of_4096_settings() -> bytes:
    """A segment with as many hyper-parameters as there may be."""
    return put("hyper", to=names(MAX_HYPER))(SEGMENT)


@vector("entry", Reason.FIELD, SPEC, large=True)
def segment_of_4097_settings() -> bytes:
    """A segment with a hyper-parameter too many."""
    return put("hyper", to=names(MAX_HYPER + 1))(SEGMENT)


@sealed(Reason.FIELD, SPEC, large=True)
def step_of_4097_settings() -> bytes:
    """A segment has 4,096 hyper-parameters, and a row adds one."""
    settings = dict.fromkeys(names(MAX_HYPER), 1)
    return forged(LONG, entries=at(0, changed(hyper=settings)), rows=at(0, at(1, changed(hyper={"more": 1}))))


@vector("header", Reason.FIELD, SPEC, large=True)
def schema_of_1025_fields() -> bytes:
    """A schema with a field too many."""
    field: dict[str, Json] = {"dtype": "U8", "high": None, "level": "record", "low": None, "shape": []}
    return put("schema", to=[{**field, "name": f"{number:04}"} for number in range(1025)])(HEADER)


@vector("header", OK, SPEC, large=True)
def layout_of_131072_tensors() -> bytes:
    """A layout with as many tensors as there may be."""
    return put("layout", to=layout(MAX_TENSORS))(HEADER)


@vector("header", Reason.FIELD, SPEC, large=True)
def layout_of_131073_tensors() -> bytes:
    """A layout with a tensor too many."""
    return put("layout", to=layout(MAX_TENSORS + 1))(HEADER)


@vector("header", Reason.LIMIT, SPEC, large=True)
def header_too_large() -> bytes:
    """A header of more than 16,777,216 bytes, in long names of tensors."""
    return put("layout", to=layout(MAX_HEADER // MAX_TEXT, MAX_TEXT))(HEADER)


@vector("header", Reason.LIMIT, SPEC, large=True)
def too_many_commas() -> bytes:
    """An array of strings with a comma too many for any JSON text, which is small on disk and large in memory."""
    return b"[" + b'"",' * (MAX_VALUES + 1) + b'""]'


@vector("header", Reason.LIMIT, SPEC, large=True)
def too_many_brackets() -> bytes:
    """An array of arrays with a bracket too many for any JSON text, which is small on disk and large in memory."""
    return b"[" + b"[]," * (MAX_BRACKETS - 1) + b"[]]"


@vector("safetensors", OK, SPEC, large=True)
def of_131072_tensors() -> bytes:
    """A state with as many tensors as there may be."""
    return state(MAX_TENSORS)


@vector("safetensors", Reason.TENSORS, SPEC, large=True)
def of_131073_tensors() -> bytes:
    """A state with a tensor too many."""
    return state(MAX_TENSORS + 1)


@vector("safetensors", Reason.LIMIT, SPEC, large=True)
def too_many_commas_in_a_state() -> bytes:
    """The header of a state is an array with a comma too many."""
    return sized(b"[" + b"0," * (MAX_VALUES + 1) + b"0]")


@vector("safetensors", Reason.LIMIT, SPEC, large=True)
def too_many_brackets_in_a_state() -> bytes:
    """The header of a state is an array of arrays with a bracket too many."""
    return sized(b"[" + b"[]," * (MAX_BRACKETS - 1) + b"[]]")


@opened(Reason.LIMIT, SPEC, large=True)
def too_many_entries() -> bytes:
    """The entries are 262,144 lines, which with the header is one too many."""
    return with_members(data_of(container.ENTRIES, lambda _: b"{}\n" * MAX_ENTRIES), ONE)
