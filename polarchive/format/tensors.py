"""Write and read tensors as canonical safetensors, and commit to their content (SPEC.md, "States").

The commitment is to names, dtypes, shapes and bytes, never to the file they lie in: a state may be stored again in
another coding and keep its root.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, TypeAlias

from polarchive.errors import DigestError, FormatError, Reason
from polarchive.format import merkle
from polarchive.format.blob import Blob
from polarchive.format.canonical import is_printable, require_few
from polarchive.format.limits import CHUNK, MAX_NDIM, MAX_TENSORS, MAX_TENSORS_HEADER, MAX_TEXT, MAX_VALUES

Buffer: TypeAlias = bytes | bytearray | memoryview
Layout: TypeAlias = tuple["Spec", ...]
TAG: Final = b"polarchive/v1/tensor\x00"
METADATA: Final = "__metadata__"
ITEMSIZE: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}


@dataclass(frozen=True, slots=True)
class Array:
    """Hold one tensor without torch: safetensors dtype, shape, and row-major little-endian bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: Buffer

    def __post_init__(self) -> None:
        """Raise ValueError unless the bytes are as many as dtype and shape say."""
        if memoryview(self.data).nbytes != ITEMSIZE[self.dtype] * math.prod(self.shape):
            raise ValueError(f"{memoryview(self.data).nbytes} bytes for {self.dtype} {self.shape}")


@dataclass(frozen=True, slots=True)
class Spec:
    """Name a tensor of a state, its dtype and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Return the size of its bytes."""
        return ITEMSIZE[self.dtype] * math.prod(self.shape)


def lp(data: bytes) -> bytes:
    """Return `data` behind its length as a big-endian u64."""
    return len(data).to_bytes(8, "big") + data


def describe(dtype: str, shape: Iterable[int]) -> bytes:
    """Return the bytes that commit to a dtype and a shape: lp(dtype), u8 ndim, u64 dims."""
    dims = tuple(shape)
    return lp(dtype.encode()) + bytes([len(dims)]) + b"".join(dim.to_bytes(8, "big") for dim in dims)


def leaf(spec: Spec, data: Buffer) -> merkle.Digest:
    """Return the leaf digest of one tensor: its description and the root over its 16 MiB chunks."""
    view = memoryview(data).cast("B")
    return _leaf(spec, (view[start : start + CHUNK] for start in range(0, len(view), CHUNK)))


def _leaf(spec: Spec, chunks: Iterable[Buffer]) -> merkle.Digest:
    root = merkle.root(merkle.leaf(memoryview(chunk)) for chunk in chunks)
    return merkle.leaf(TAG, lp(spec.name.encode()), describe(spec.dtype, spec.shape), root)


def state_root(leaves: Mapping[str, merkle.Digest]) -> merkle.Digest:
    """Return a state's root from the leaf digest of each of its tensors."""
    return merkle.root(leaves[name] for name in sorted(leaves))


def root_of(state: Mapping[str, Array]) -> merkle.Digest:
    """Return a state's root from its tensors."""
    return state_root({name: leaf(spec_of(name, array), array.data) for name, array in state.items()})


def spec_of(name: str, array: Array) -> Spec:
    """Return the spec of a named array."""
    return Spec(name, array.dtype, array.shape)


def layout_of(state: Mapping[str, Array]) -> Layout:
    """Return the specs of a state in the order in which they are stored."""
    return in_order(spec_of(name, array) for name, array in state.items())


def size_of(layout: Layout) -> int:
    """Return the size of all tensors' bytes."""
    return sum(spec.nbytes for spec in layout)


def in_order(specs: Iterable[Spec]) -> Layout:
    """Return specs as stored: wide items first, then by name, so that every tensor lies aligned."""
    return tuple(sorted(specs, key=lambda spec: (-ITEMSIZE[spec.dtype], spec.name)))


def header(specs: Layout) -> bytes:
    """Return the safetensors header of tensors stored in this order, padded with spaces to a multiple of 8."""
    described: dict[str, Any] = {}
    offset = 0
    for spec in specs:
        end = offset + spec.nbytes
        described[spec.name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(described, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write(file: BinaryIO, state: Mapping[str, Array]) -> None:
    """Write a state as one canonical safetensors file."""
    layout = layout_of(state)
    file.write(header(layout))
    for spec in layout:
        file.write(state[spec.name].data)


def header_size(blob: Blob) -> int:
    """Return the size of a safetensors header; FormatError if it is beyond the limit or the file."""
    length = int.from_bytes(blob.read(0, min(8, blob.size)), "little")
    if length > MAX_TENSORS_HEADER:
        raise FormatError(Reason.LIMIT, blob.place, f"a safetensors header of {length} bytes")
    if 8 + length > blob.size:
        raise FormatError(Reason.TENSORS, blob.place, f"a safetensors header of {length} bytes in {blob.size}")
    return length


def read_layout(blob: Blob) -> Layout:
    """Return the specs in a safetensors file; FormatError unless its header is canonical and fits its size."""
    length = header_size(blob)
    raw = bytes(blob.read(0, 8 + length))
    specs = _parse(raw[8:], blob.place)
    if header(specs) != raw or in_order(specs) != specs:
        raise FormatError(Reason.TENSORS, blob.place, "the safetensors header is not canonical")
    if len(raw) + size_of(specs) != blob.size:
        raise FormatError(Reason.TENSORS, blob.place, "the tensors do not fill the file")
    return specs


def read(blob: Blob) -> Iterator[tuple[Spec, bytearray]]:
    """Yield each tensor of a safetensors file with its bytes, one tensor in memory at a time."""
    for spec, part in _located(blob):
        data = part.read()
        require_bools(spec, data, blob.place)
        yield spec, data


def read_state(blob: Blob, expected: merkle.Digest) -> dict[str, Array]:
    """Return a state; DigestError unless its root is the `expected` one."""
    state = {spec.name: Array(spec.dtype, spec.shape, data) for spec, data in read(blob)}
    if root_of(state) != expected:
        raise DigestError(Reason.STATE, blob.place, "the state differs from its committed root")
    return state


def _located(blob: Blob) -> Iterator[tuple[Spec, Blob]]:
    """Yield each tensor of a safetensors file and where its bytes lie."""
    layout = read_layout(blob)
    offset = blob.size - size_of(layout)
    for spec in layout:
        yield spec, blob.slice(offset, spec.nbytes, blob.place)
        offset += spec.nbytes


def _chunks(blob: Blob, spec: Spec) -> Iterator[bytearray]:
    for chunk in blob.chunks(CHUNK):
        require_bools(spec, chunk, blob.place)
        yield chunk


def require_bools(spec: Spec, data: Buffer, place: str) -> None:
    """Raise FormatError if a tensor of bools holds anything but 0 and 1."""
    if spec.dtype == "BOOL" and bytes(data).translate(None, b"\x00\x01"):
        raise FormatError(Reason.TENSORS, place, f"{spec.name}: a bool that is neither 0 nor 1")


def check_state(blob: Blob, expected: merkle.Digest) -> None:
    """Raise DigestError unless a safetensors file has the `expected` root; one chunk in memory at a time."""
    leaves = {spec.name: _leaf(spec, _chunks(part, spec)) for spec, part in _located(blob)}
    if state_root(leaves) != expected:
        raise DigestError(Reason.STATE, blob.place, "the state differs from its committed root")


def check_spec(name: object, dtype: object, shape: object) -> Spec:
    """Return a spec out of untrusted values; ValueError if it is not one."""
    if not isinstance(name, str) or not name or not is_printable(name) or len(name) > MAX_TEXT:
        raise ValueError("a tensor name that is not printable ASCII")
    if name == METADATA:
        raise ValueError(f"{name} is what safetensors calls its metadata, not a tensor")
    if not isinstance(dtype, str) or dtype not in ITEMSIZE:
        raise ValueError(f"{name}: an unknown dtype")
    if not isinstance(shape, list | tuple) or len(shape) > MAX_NDIM:
        raise ValueError(f"{name}: not a shape")
    if not all(isinstance(dim, int) and not isinstance(dim, bool) and 0 <= dim < 1 << 48 for dim in shape):
        raise ValueError(f"{name}: not a shape")
    return Spec(name, dtype, tuple(shape))


def _parse(text: bytes, place: str) -> Layout:
    require_few(text, MAX_VALUES, place)
    try:
        pairs = json.loads(text.decode("ascii"), object_pairs_hook=list)
        if not isinstance(pairs, list) or len(pairs) > MAX_TENSORS:
            raise ValueError("too many tensors, or not an object")
        found = [(name, dict(value)) for name, value in pairs]
        specs = tuple(check_spec(name, value.get("dtype"), value.get("shape")) for name, value in found)
    except (ValueError, TypeError, RecursionError) as error:
        message = (str(error) or "nested too deeply").splitlines()[0][:120]
        raise FormatError(Reason.TENSORS, place, f"not a safetensors header: {message}") from None
    if len({spec.name for spec in specs}) != len(specs):
        raise FormatError(Reason.TENSORS, place, "a tensor name appears twice")
    return specs
