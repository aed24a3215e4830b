"""Put a stamp or cosignatures beside the log they are over, in an archive or a run directory (SPEC.md, "Stamps")."""

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from polarchive.errors import DigestError, PolError, Reason
from polarchive.format import container, disk
from polarchive.format.blob import Blob
from polarchive.format.container import Container
from polarchive.format.limits import MAX_STAMP
from polarchive.format.tensors import Buffer

FOLDER: Final = "attached"  # of a run directory; what is in it has the names of an archive's members
MOST: Final = 1000  # stamps over one head


def attach(path: Path, name: str, data: bytes, target: Path | None = None) -> Path:
    """Put one member where nothing has its name, and return the file written; FileExistsError if something has.

    A run directory gets a file; an archive is written anew, as `target` or in its own place.
    """
    if path.is_dir():
        return keep(path / FOLDER, name, data)
    return _rewritten(path, target or path, {name: data})


def attach_all(path: Path, members: Mapping[str, bytes], target: Path | None = None) -> None:
    """Put several members at once, an archive being written anew only once; FileExistsError if a name is taken.

    A run directory then has those that come before it in order of name.
    """
    if not path.is_dir():
        _rewritten(path, target or path, members)
        return
    for name, data in sorted(members.items()):
        keep(path / FOLDER, name, data)


def replace(path: Path, name: str, data: bytes, target: Path | None = None) -> Path:
    """Put one member in the place of what has its name, if anything has."""
    if not path.is_dir():
        return _rewritten(path, target or path, {name: data}, over=True)
    with disk.replacing(ensured(path / FOLDER) / name) as file:
        file.write(data)
    return path / FOLDER / name


def attach_stamp(path: Path, size: int, data: bytes, target: Path | None = None) -> str:
    """Put a stamp over the head of this size beside those that are there, and return its name."""
    for number in range(MOST):
        try:
            name = container.stamp_name(size, number)
            attach(path, name, data, target)
            return name
        except FileExistsError:
            continue
    raise PolError(f"{path}: {MOST} stamps over one head, and there is room for no more")


def keep(folder: Path, name: str, data: bytes) -> Path:
    """Write a new file of a folder, whole and durably; FileExistsError if there is one of this name."""
    temporary = ensured(folder) / f".{secrets.token_hex(8)}-{name}"  # several may be at it, in one process too
    try:
        with disk.replacing(temporary) as file:
            file.write(data)
        os.link(temporary, folder / name)  # which, unlike a rename, takes no other file's place
    finally:
        temporary.unlink(missing_ok=True)
    disk.sync_folder(folder)
    return folder / name


def ensured(folder: Path) -> Path:
    """Return a folder of a run directory, and make it, durably, if it is not there."""
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        disk.sync_folder(folder.parent)
    return folder


def attached(run: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of everything that is attached to a run directory, in order of name."""
    for name in names(run):
        blob = Blob.of(run / FOLDER / name)
        with blob.file:
            yield name, bytes(blob.bounded(MAX_STAMP))


def names(run: Path) -> list[str]:
    """Return the names of everything that is attached to a run directory, in order."""
    folder = run / FOLDER
    found = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(filter(container.is_attached, found))


def keep_only(run: Path, size: int) -> None:
    """Delete what is attached to heads that cover more than `size` entries, and what a crash left half-written.

    A run that goes on without a damaged tail signs other heads of those sizes.
    """
    for name in names(run):
        if container.size_of_name(name) > size:
            (run / FOLDER / name).unlink()
    for path in (run / FOLDER).glob(".*"):
        path.unlink(missing_ok=True)


def _rewritten(path: Path, target: Path, new: Mapping[str, bytes], over: bool = False) -> Path:
    parts = container.read(path)
    with parts.file:
        names = set(parts.blobs) - {container.INDEX}
        if not over and names & new.keys():
            raise FileExistsError(f"{path}: has a member {min(names & new.keys())} already")
        members: Iterable[tuple[str, Iterable[Buffer]]] = (
            (name, [new[name]] if name in new else _copied(parts, name)) for name in sorted(names | new.keys())
        )
        container.write(target, members)
    return target


def _copied(parts: Container, name: str) -> Iterator[Buffer]:
    """Yield a member's bytes; DigestError if they are not those listed, which a new index would make forgotten."""
    digest = sha256()
    for chunk in parts.blobs[name].chunks():
        digest.update(chunk)
        yield chunk
    if digest.digest() != parts.listed[name].sha256:
        raise DigestError(Reason.DIGEST, name, "its bytes are not those that the index lists")
