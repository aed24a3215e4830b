"""Compare two logs entry by entry: one signer's two stories, states and batches that both have."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from polarchive.format.archive import Archive
from polarchive.format.merkle import Digest
from polarchive.verification.dispute.claim import Claim


class Relation(StrEnum):
    """Say how two logs relate as logs."""

    OTHER = "other"  # of other runs, or by other keys
    SAME = "same"  # one is the beginning of the other, or all of it
    REWRITTEN = "rewritten"  # one key signed both, under one origin, and they differ


@dataclass(frozen=True, slots=True)
class Pair:
    """Say that state `a` of one run is state `b` of another, and whose existed first, if that can be told."""

    a: int
    b: int
    first: str | None


def relation(a: Archive, b: Archive) -> Relation:
    """Return how the logs of two archives relate; a difference under one origin is proof against who signed both."""
    if (a.header.key, a.header.run) != (b.header.key, b.header.run):
        return Relation.OTHER
    return Relation.REWRITTEN if fork(a, b) is not None else Relation.SAME


def fork(a: Archive, b: Archive) -> int | None:
    """Return the first entry in which two logs differ, None if one begins with the other."""
    pairs = enumerate(zip(a.lines, b.lines, strict=False))
    return next((number for number, (left, right) in pairs if left != right), None)


def shared_states(a: Claim, b: Claim) -> tuple[Pair, ...]:
    """Return the states that both logs commit to, bit for bit, state 0 of either left out: seeds may be the same.

    A root that comes back in a log counts once, where it came first.
    """
    assert a.archive is not None and b.archive is not None
    there = {root: index for index, root in reversed(list(_roots(b.archive)))}
    here = {root: index for index, root in reversed(list(_roots(a.archive)))}
    common = sorted((index, there[root]) for root, index in here.items() if root in there)
    return tuple(Pair(i, j, first(a, i, b, j)) for i, j in common)


def first(a: Claim, i: int, b: Claim, j: int) -> str | None:
    """Return whose claim to a state is the earlier beyond the accuracy of clocks, or the only one with a date."""
    mine, theirs = a.existed(i), b.existed(j)
    if mine is None or theirs is None:
        return None if mine is theirs else (a.name if theirs is None else b.name)
    if mine.before(theirs):
        return a.name
    return b.name if theirs.before(mine) else None


def shared_batches(a: Archive, b: Archive) -> int | None:
    """Return how many batch roots both logs have; None if one is salted, so that the same batch looks different."""
    if any(archive.header.commitment.salted and archive.header.commitment.mode == "fed" for archive in (a, b)):
        return None
    return len(set(_batches(a)) & set(_batches(b)))


def starts_from(child: Archive, parent: Archive) -> int | None:
    """Return which later state of one run is the state 0 of another, None if none is.

    A state that comes from a seed comes from nobody's run: whoever knows the seed can have it in a run of theirs.
    """
    if child.header.initial.kind == "seeded":
        return None
    return next((index for index, root in _roots(parent) if root == child.root(0)), None)


def _roots(archive: Archive) -> Iterator[tuple[int, Digest]]:
    for segment in archive.segments:
        if segment.root != archive.root(0):
            yield segment.index + 1, segment.root


def _batches(archive: Archive) -> Iterator[Digest]:
    for segment in archive.segments:
        for step in archive.steps(segment.index):
            yield from (batch.root for batch in step.batches)
