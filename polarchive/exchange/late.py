"""Stamp a run after it was recorded, and years on renew its stamps (SPEC.md, "Stamps")."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polarchive.errors import PolError
from polarchive.exchange.authority import shown
from polarchive.exchange.stamps import StampClient
from polarchive.format import attach, container, stamp
from polarchive.format.archive import Archive, open_archive
from polarchive.format.stamp import Stamp


@dataclass(frozen=True, slots=True)
class New:
    """Hold a stamp that came from the authority at `url`, and the name of its member."""

    name: str
    size: int
    url: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Added:
    """Hold the stamps that were added, and what kept others from coming."""

    stamps: tuple[New, ...]
    failures: tuple[PolError, ...]


@dataclass(slots=True)
class _Head:
    """Hold a head that is to be stamped, and all stamps over it; a renewal is over these too."""

    size: int
    note: bytes
    stamps: list[bytes]
    renewed: bool

    def stamp(self, client: StampClient, url: str) -> New:
        """Return one more stamp over it."""
        if len(self.stamps) >= attach.MOST:
            raise PolError(f"{attach.MOST} stamps over the head of size {self.size}, and there is room for no more")
        name = container.stamp_name(self.size, len(self.stamps))
        found = client.ask(url, stamp.covered(self.note, self.stamps) if self.renewed else self.note)
        self.stamps.append(found.raw)
        return New(name, self.size, shown(url), found)


def add(path: Path, client: StampClient, *, renew: bool = False, target: Path | None = None) -> Added:
    """Have each authority stamp the last head of an archive or run directory, and keep what comes beside it.

    With `renew` each makes, of every head that has stamps, another over all of them, which holds when theirs no longer
    do. An archive is written anew, as `target` or in its own place. FileExistsError if another stamp came meanwhile.
    """
    with open_archive(path, trusted=None) as archive:
        heads = list(_heads(archive, renew))
    if not heads:
        raise PolError(f"{path}: has no stamp to renew")
    made, failures = [], []
    for url in client.urls:
        try:
            for head in heads:
                made.append(head.stamp(client, url))
        except PolError as error:  # which the others need not share
            failures.append(error)
    try:
        if made:
            attach.attach_all(path, {new.name: new.stamp.raw for new in made}, target)
    except FileExistsError:
        raise FileExistsError(f"{path}: somebody else stamped it meanwhile, so ask again") from None
    return Added(tuple(made), tuple(failures))


def _heads(archive: Archive, renew: bool) -> Iterator[_Head]:
    """Yield the heads to stamp: the last, or in a renewal all that have stamps."""
    sizes = {each.size for each in archive.attached.stamps} if renew else {archive.heads[-1].size}
    for head, note in zip(archive.heads, archive.notes, strict=True):
        if head.size in sizes:
            earlier = [each.stamp.raw for each in archive.attached.over(head.size)]
            yield _Head(head.size, note, earlier, renew)
