"""Keep the commitments to a dataset, record by record, for all runs that use it (SPEC.md, "Indexed mode")."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polarchive.errors import FormatError, Reason, RecordingError
from polarchive.format import disk, merkle
from polarchive.format import fields as f
from polarchive.format.canonical import decode, encode
from polarchive.format.commitment import Batch, index_salt, leaves
from polarchive.format.limits import MAX_DATASET, MAX_HEADER
from polarchive.format.merkle import Digest, Digests
from polarchive.format.schema import Schema
from polarchive.format.spelling import schema as spelled
from polarchive.trust.keys import read_secret, write_private

LEAVES: Final = "leaves"
SECRET: Final = "secret"
ABOUT: Final = "dataset.json"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Hold what is committed of a dataset: the leaf of every record, what records look like, and the salts' secret."""

    folder: Path
    leaves: bytes
    schema: Schema
    secret: bytes | None
    root: Digest

    def __len__(self) -> int:
        return len(self.leaves) // merkle.SIZE

    def check(self, records: Batch, indices: list[int]) -> None:
        """Raise RecordingError unless `records` are those at `indices`."""
        salts = b"".join(index_salt(self.secret, index) for index in indices)
        for index, found in zip(indices, leaves(records, salts), strict=True):
            if found != Digests(self.leaves)[index]:
                raise RecordingError(f"{self.folder}: record {index} is not the one committed; choose another folder")

    def save(self) -> None:
        """Write the folder; what says that it is whole comes last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.secret is not None:
            (self.folder / SECRET).unlink(missing_ok=True)
            write_private(self.folder / SECRET, self.secret.hex().encode() + b"\n")
        with disk.replacing(self.folder / LEAVES) as file:
            file.write(self.leaves)
        about = _About(self.schema, self.secret is not None, len(self), self.root)
        with disk.replacing(self.folder / ABOUT) as file:
            file.write(encode(_about.write(about)))


@dataclass(frozen=True, slots=True)
class _About:
    schema: Schema
    salted: bool
    size: int
    root: Digest


_about: Final = f.fields(_About, schema=spelled, salted=f.boolean, size=f.u64, root=f.digest)


def is_there(folder: Path) -> bool:
    """Tell whether a folder holds the commitments to a dataset, whole."""
    return (folder / ABOUT).is_file()


def load(folder: Path) -> Dataset:
    """Read the commitments to a dataset; FormatError if they are damaged."""
    about = f.read(_about, decode((folder / ABOUT).read_bytes(), MAX_HEADER, str(folder / ABOUT)), str(folder / ABOUT))
    data = (folder / LEAVES).read_bytes()
    if (len(data), Digests(data).root()) != (merkle.SIZE * about.size, about.root) or about.size > MAX_DATASET:
        raise FormatError(Reason.DIGEST, str(folder / LEAVES), f"not the leaves that {ABOUT} names")
    secret = read_secret(folder / SECRET) if about.salted else None
    return Dataset(folder, data, about.schema, secret, about.root)
