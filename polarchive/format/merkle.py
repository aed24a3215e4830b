"""Hash lists the RFC 9162 way: roots, inclusion and consistency proofs (SPEC.md, "Trees").

Trees here take leaf *digests*; `leaf` makes one from bytes. Indices are 0-based and proofs are in RFC order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias, overload

from polarchive.errors import DigestError, Reason

Digest: TypeAlias = bytes
Proof: TypeAlias = list[Digest]
SIZE: Final = 32
EMPTY: Final = sha256(b"").digest()


def leaf(*parts: bytes | memoryview) -> Digest:
    """Return the leaf digest of the concatenated `parts` (RFC 9162 section 2.1.1)."""
    digest = sha256(b"\x00")
    for part in parts:
        digest.update(part)
    return digest.digest()


def node(left: Digest, right: Digest) -> Digest:
    """Return the digest of an interior node (RFC 9162 section 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Iterable[Digest]) -> Digest:
    """Return the root over leaf digests; of none, the digest of the empty string."""
    level = list(leaves)
    if not level:
        return EMPTY
    while len(level) > 1:
        level = _parents(level)
    return level[0]


@dataclass(frozen=True, slots=True)
class Digests(Sequence[Digest]):
    """See the digests that lie in `data` one after the other, without an object for each."""

    data: bytes

    def __len__(self) -> int:
        return len(self.data) // SIZE

    @overload
    def __getitem__(self, index: int) -> Digest: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Digest]: ...
    def __getitem__(self, index: int | slice) -> Digest | Sequence[Digest]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        start = SIZE * range(len(self))[index]
        return self.data[start : start + SIZE]

    def root(self) -> Digest:
        """Return the root over all of them; at no time is there an object for more than 65,536."""
        step = SIZE << 16
        return root(root(Digests(self.data[start : start + step])) for start in range(0, len(self.data), step))


class Tree:
    """Hold an append-only list of leaf digests and answer for every earlier size of it."""

    def __init__(self, leaves: Iterable[Digest] = ()) -> None:
        self._levels: list[list[Digest]] = [[]]
        for digest in leaves:
            self.append(digest)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, digest: Digest) -> None:
        """Add one leaf digest, completing every full subtree it closes; amortised O(1)."""
        level = 0
        self._levels[0].append(digest)
        while len(self._levels[level]) % 2 == 0:
            if level + 1 == len(self._levels):
                self._levels.append([])
            left, right = self._levels[level][-2:]
            self._levels[level + 1].append(node(left, right))
            level += 1

    def root(self, size: int | None = None) -> Digest:
        """Return the root over the first `size` leaves (all, if not given)."""
        size = len(self) if size is None else size
        if not 0 <= size <= len(self):
            raise IndexError(f"size {size} of a tree of {len(self)}")
        return self._subroot(0, size) if size else EMPTY

    def inclusion(self, index: int, size: int | None = None) -> Proof:
        """Return the proof that leaf `index` is in the tree of `size` leaves (RFC 9162 section 2.1.3.1)."""
        size = len(self) if size is None else size
        if not 0 <= index < size <= len(self):
            raise IndexError(f"leaf {index} in size {size} of a tree of {len(self)}")
        return self._path(index, 0, size)

    def consistency(self, first: int, second: int | None = None) -> Proof:
        """Return the proof that the tree of `first` leaves is a prefix of that of `second` (section 2.1.4.1)."""
        second = len(self) if second is None else second
        if not 0 < first <= second <= len(self):
            raise IndexError(f"consistency {first} to {second} of a tree of {len(self)}")
        return self._subproof(first, 0, second, True)

    def _subroot(self, start: int, stop: int) -> Digest:
        width = stop - start
        if width & (width - 1) == 0:  # a full subtree is aligned, hence stored
            level = width.bit_length() - 1
            return self._levels[level][start >> level]
        middle = start + _split(width)
        return node(self._subroot(start, middle), self._subroot(middle, stop))

    def _path(self, index: int, start: int, stop: int) -> Proof:
        if stop - start == 1:
            return []
        middle = start + _split(stop - start)
        if index < middle:
            return [*self._path(index, start, middle), self._subroot(middle, stop)]
        return [*self._path(index, middle, stop), self._subroot(start, middle)]

    def _subproof(self, size: int, start: int, stop: int, whole: bool) -> Proof:
        if size == stop:
            return [] if whole else [self._subroot(start, stop)]
        middle = start + _split(stop - start)
        if size <= middle:
            return [*self._subproof(size, start, middle, whole), self._subroot(middle, stop)]
        return [*self._subproof(size, middle, stop, False), self._subroot(start, middle)]


def check_inclusion(digest: Digest, index: int, size: int, proof: Sequence[Digest], expected: Digest) -> None:
    """Raise DigestError unless `proof` shows leaf `digest` at `index` of the tree of `size` leaves under `expected`.

    RFC 9162 section 2.1.3.2, with the lengths of all digests checked.
    """
    _require_digests([digest, expected, *proof])
    if not 0 <= index < size:
        raise _refusal(f"leaf {index} of a tree of {size}")
    at, last, running = index, size - 1, digest
    for step in proof:
        if last == 0:
            raise _refusal("the inclusion proof is too long")
        if at & 1 or at == last:
            running = node(step, running)
            while at & 1 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            running = node(running, step)
        at, last = at >> 1, last >> 1
    if last != 0 or running != expected:
        raise _refusal("the inclusion proof does not lead to the root")


def check_consistency(first: int, second: int, proof: Sequence[Digest], old: Digest, new: Digest) -> None:
    """Raise DigestError unless `proof` shows the tree (`first`, `old`) to be a prefix of (`second`, `new`).

    RFC 9162 section 2.1.4.2; `first` = 0 and digests that are not 32 bytes are refused, which the RFC's text forgets.
    """
    _require_digests([old, new, *proof])
    if not 0 < first <= second:
        raise _refusal(f"consistency from size {first} to {second}")
    if first == second:
        if proof or old != new:
            raise _refusal("equal sizes with different roots, or a proof where none is due")
        return
    if not _leads(first, second, proof, old, new):
        raise _refusal("the consistency proof does not lead to the roots")


def _leads(first: int, second: int, proof: Sequence[Digest], old: Digest, new: Digest) -> bool:
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, old)
    if not path:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    from_old = from_new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            from_old, from_new = node(step, from_old), node(step, from_new)
            while at & 1 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            from_new = node(from_new, step)
        at, last = at >> 1, last >> 1
    return last == 0 and from_old == old and from_new == new


def _parents(level: list[Digest]) -> list[Digest]:
    pairs = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
    return pairs + level[len(level) & ~1 :]


def _split(width: int) -> int:
    return 1 << ((width - 1).bit_length() - 1)


def _require_digests(digests: Iterable[Digest]) -> None:
    if any(len(digest) != SIZE for digest in digests):
        raise _refusal("a digest that is not 32 bytes")


def _refusal(message: str) -> DigestError:
    return DigestError(Reason.PROOF, "proof", message)
