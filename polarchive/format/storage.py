"""Read a state that is stored as safetensors or as a difference from an earlier one (SPEC.md, "States")."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from polarchive.errors import FormatError, OpeningError, Reason
from polarchive.format import delta, groups, tensors
from polarchive.format.blob import Blob
from polarchive.format.delta import State
from polarchive.format.limits import MAX_CHAIN, MAX_GROWTH, MAX_SMALL_STATE
from polarchive.format.tensors import Array, Buffer

CODED: Final = ".coded"
PLAIN: Final = ".safetensors"


def plain(state: State) -> Iterable[Buffer]:
    """Return a state as safetensors, part by part."""
    layout = tensors.layout_of(state)
    return [tensors.header(layout), *(state[spec.name].data for spec in layout)]


def is_coded(blob: Blob) -> bool:
    """Tell whether a member stores a state as a difference."""
    return blob.place.endswith(CODED)


def read(index: int, blob: Blob, earlier: Callable[[int, int], State], depth: int, first: int) -> dict[str, Array]:
    """Return the state that a member stores, unchecked against its root.

    `earlier(index, depth)` returns the state a coded one builds on, `depth` such steps deep, of at most MAX_CHAIN.
    `first` is the raw size of state 0, which bounds that of any coded state; state 0 itself must lie there in full.
    """
    if not is_coded(blob):
        return {spec.name: Array(spec.dtype, spec.shape, data) for spec, data in tensors.read(blob)}
    base = delta.base_of(blob)
    if depth >= MAX_CHAIN or not index or (base is not None and base >= index):
        raise FormatError(
            Reason.CODING, blob.place, f"state {index} on state {base}: not an earlier one, or too long a chain"
        )
    try:
        before = earlier(base, depth + 1) if base is not None else {}
    except OpeningError:
        raise FormatError(Reason.CODING, blob.place, f"builds on state {base}, which is not stored") from None
    return delta.decode(blob, before, bound(first))


def links(blob: Blob, before: int) -> int:
    """Return how many coded states lead to a member, if `before` lead to the one it builds on; FormatError if too many.

    The one it builds on may have been read before, so counting down to it does not count them all.
    """
    count = 0 if not is_coded(blob) else 1 if delta.base_of(blob) is None else 1 + before
    if count > MAX_CHAIN:
        raise FormatError(Reason.CODING, blob.place, f"{count} coded states build on one another")
    return count


def by_kind(blob: Blob) -> dict[str, tuple[int, int]]:
    """Return how many bytes the tensors of each kind have, and take in a member, reading only their description."""
    found: dict[str, tuple[int, int]] = {}
    for layout, stored in _stored(blob):
        raw = tensors.size_of(layout)
        for spec in layout:
            before = found.get(kind := _kind(spec.name), (0, 0))
            share = stored * spec.nbytes // raw if raw else 0  # of tensors that are coded as one
            found[kind] = before[0] + spec.nbytes, before[1] + share
    return found


def _stored(blob: Blob) -> Iterator[tuple[tensors.Layout, int]]:
    if is_coded(blob):
        described = groups.read(blob)
        yield from zip(described.layouts, (sum(group.sizes) for group in described.groups), strict=True)
    else:
        yield from (((spec,), spec.nbytes) for spec in tensors.read_layout(blob))


def _kind(name: str) -> str:
    """Return the part that a tensor is of, and what the optimizer keeps it as."""
    part, *path = name.split("/")
    return f"{part} {path[-1]}" if len(path) > 1 else part


def bound(first: int) -> int:
    """Return how large a coded state may be, by the size of state 0."""
    return MAX_GROWTH * first + MAX_SMALL_STATE
