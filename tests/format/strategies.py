"""Draw values of every kind that the format can spell."""

import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st

from polarchive.format.canonical import Json
from polarchive.format.commitment import Batch, BatchRow, Texts
from polarchive.format.entry import Commitment, End, Header, Initial, Rows, Segment, StepRow
from polarchive.format.limits import MAX_ROWS
from polarchive.format.note import VerifierKey
from polarchive.format.schema import BOUNDED, Field, Schema
from polarchive.format.tensors import ITEMSIZE, METADATA, Array, Spec, in_order
from tests.simulator import FakeSigner

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
DTYPES = sorted(ITEMSIZE)

texts = st.text(PRINTABLE, max_size=12)
names = st.text(PRINTABLE, min_size=1, max_size=12).filter(lambda name: name != METADATA)
u64 = st.integers(0, 2**64 - 1) | st.integers(0, 5)
digests = st.binary(min_size=32, max_size=32)
dims = st.integers(0, 3)
shapes = st.lists(dims, max_size=4).map(tuple)
finite = st.floats(allow_nan=False, allow_infinity=False)
settings = st.none() | st.booleans() | finite | st.integers(-(2**63), 2**63 - 1)
hypers = st.dictionaries(texts, settings, max_size=4)
key_names = st.text(PRINTABLE.replace(" ", "").replace("+", ""), min_size=1, max_size=12)
signers = st.builds(FakeSigner, key_names, digests)
keys: st.SearchStrategy[VerifierKey] = signers.map(lambda signer: signer.key)


def sorted_by_name(strategy: st.SearchStrategy[Any], limit: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    parts = st.lists(strategy, max_size=limit, unique_by=lambda part: part.name)
    return parts.map(lambda found: tuple(sorted(found, key=lambda part: part.name)))


def json_values() -> st.SearchStrategy[Json]:
    leaves = st.none() | st.booleans() | texts
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@st.composite
def arrays(draw: Callable[..., Any], shape: st.SearchStrategy[tuple[int, ...]] = shapes) -> Array:
    """Draw a tensor; a bool is 0 or 1."""
    dtype, found = draw(st.sampled_from(DTYPES)), draw(shape)
    size = ITEMSIZE[dtype] * math.prod(found)
    data = draw(st.binary(min_size=size, max_size=size))
    return Array(dtype, found, bytes(byte & 1 for byte in data) if dtype == "BOOL" else data)


states = st.dictionaries(names, arrays(), max_size=4)


@st.composite
def batches(draw: Callable[..., Any], counts: st.SearchStrategy[int] = dims) -> Batch:
    """Draw a batch with columns of tensors and of strings, some with no bytes at all, and batch-level fields."""
    count = draw(counts)
    rows = shapes.map(lambda shape: (count, *shape[:2]))
    strings = st.lists(st.binary(max_size=4), min_size=count, max_size=count).map(lambda v: Texts(tuple(v)))
    columns = draw(st.dictionaries(names, arrays(rows) | strings, max_size=3))
    whole = draw(st.dictionaries(names.filter(lambda name: name not in columns), arrays(), max_size=2))
    return Batch(count, columns, whole)


specs = st.builds(Spec, names, st.sampled_from(DTYPES), st.lists(st.integers(0, 2**48 - 1), max_size=4).map(tuple))
layouts = sorted_by_name(specs).map(in_order)
levels = st.sampled_from(["record", "batch"])
patterns = st.lists(st.none() | u64, max_size=4).map(tuple)
bounds = st.none() | finite | st.integers(-(2**63), 2**63 - 1)
fields = (
    st.builds(Field, names, st.sampled_from(DTYPES), levels, patterns)
    | st.builds(Field, names, st.sampled_from(sorted(BOUNDED)), levels, patterns, bounds, bounds)
    | st.builds(Field, names, st.just("UTF8"), st.just("record"), st.just(()))
)
commitments = st.builds(Commitment, st.just("fed"), st.booleans()) | st.builds(
    Commitment, st.just("indexed"), st.booleans(), digests, u64
)
initials = (
    st.builds(Initial, st.just("seeded"), seed=u64)
    | st.builds(Initial, st.just("parent"), archive=digests, state=digests)
    | st.just(Initial("unexplained"))
)
headers = st.builds(
    Header,
    run=st.binary(min_size=16, max_size=16),
    key=keys,
    every=st.integers(1, 2**64 - 1),
    world=st.just(1),
    micro=st.integers(1, 1 << 16),
    schema=st.builds(Schema, sorted_by_name(fields)),
    commitment=commitments,
    layout=layouts,
    root=digests,
    initial=initials,
    source=st.none() | digests,
    stack=st.dictionaries(texts, texts, max_size=4),
    probe=st.dictionaries(texts, digests, max_size=4),
)
segments = st.builds(
    Segment,
    index=u64,
    first=u64,
    steps=st.integers(1, 1 << 20),
    records=u64,
    rows=st.builds(Rows, st.integers(0, MAX_ROWS), digests),
    hyper=hypers,
    root=digests,
    stored=st.booleans(),
    epoch=u64,
    not_before=st.none() | digests,
)
ends = st.builds(End, digests, u64, u64)
indices = st.none() | st.lists(st.integers(0, 2**32 - 1), max_size=4).map(tuple)
batch_rows = st.builds(BatchRow, u64, digests, st.none() | digests, indices)
step_rows = st.builds(StepRow, u64, st.lists(batch_rows, max_size=3).map(tuple), st.none() | hypers)
