"""Read what lies beside the heads of a log: stamps, and signature lines of witnesses (SPEC.md, "Stamps")."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby

from polarchive.errors import FormatError, Reason
from polarchive.format import container, cosignature, note, stamp
from polarchive.format.log import Log
from polarchive.format.merkle import Digest
from polarchive.format.stamp import Stamp


@dataclass(frozen=True, slots=True)
class Stamped:
    """Hold a stamp beside the head of tree size `size`, and what imprint it must have.

    A renewal is also over the stamps with lower numbers, and so shows when they existed.
    """

    size: int
    number: int
    stamp: Stamp
    over: Digest
    renewal: bool

    @property
    def name(self) -> str:
        """Return the name of its member."""
        return container.stamp_name(self.size, self.number)


@dataclass(frozen=True, slots=True)
class Attached:
    """Hold stamps in order of size and number, and the lines of witnesses by size. Whose they are is not checked."""

    stamps: tuple[Stamped, ...] = ()
    cosignatures: Mapping[int, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, checked: Log, members: Mapping[str, bytes]) -> "Attached":
        """Read the members beside a log; FormatError if one is malformed or over no head, or over another."""
        notes = {head.size: raw for head, raw in zip(checked.heads, checked.notes, strict=True)}
        stamps: list[Stamped] = []
        for name in members:
            if container.size_of_name(name) not in notes:
                raise FormatError(Reason.MEMBER, name, "no entry or head has this member")
        names = sorted(name for name in members if name.startswith("50-"))
        for size, group in groupby(names, container.size_of_name):
            stamps += _stamps(notes[size], size, [(name, members[name]) for name in group])
        lines = {container.size_of_name(name): _lines(name, members[name]) for name in members.keys() - set(names)}
        return cls(tuple(stamps), lines)

    def over(self, size: int) -> tuple[Stamped, ...]:
        """Return the stamps over the head of tree size `size`."""
        return tuple(each for each in self.stamps if each.size == size)


def _stamps(head: bytes, size: int, members: Sequence[tuple[str, bytes]]) -> Iterator[Stamped]:
    """Yield the stamps over one head; what a renewal is over grows from one to the next."""
    renewed = sha256(stamp.RENEWAL + stamp.prefixed(head))
    for number, (name, raw) in enumerate(members):
        if name != container.stamp_name(size, number):
            raise FormatError(Reason.MEMBER, name, "the stamps over a head are numbered from 000, without a gap")
        found = stamp.read(raw, name)
        renewal = number > 0 and found.imprint == renewed.digest()
        over = found.imprint if renewal else note.imprint(head)
        stamp.require_over(found, over, name)
        yield Stamped(size, number, found, over, renewal)
        renewed.update(stamp.prefixed(raw))


def _lines(name: str, data: bytes) -> bytes:
    """Return the lines of witnesses; FormatError if one is not well formed, whoever's it is."""
    if not cosignature.lines(data, name):
        raise FormatError(Reason.COSIGNATURE, name, "no line of a witness")
    return data
