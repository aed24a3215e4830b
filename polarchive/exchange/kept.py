"""Keep what a prover has shown, so that it is asked for nothing twice and a wrong part stays as evidence."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from polarchive.errors import FormatError, Reason
from polarchive.format import disk, part, request
from polarchive.format.blob import Blob
from polarchive.format.merkle import Digest
from polarchive.format.note import VerifierKey
from polarchive.format.part import SUFFIX, Part

REQUEST: Final = "request.json"
SIGNED: Final = ".signature"


class Kept:
    """Hold a folder for the answer to one request: a file per part, and its signature beside it.

    It holds data that may be private, so only its owner can look into it.
    """

    def __init__(self, folder: Path, document: bytes, prover: VerifierKey) -> None:
        """Open or begin the folder; FormatError if it holds the answer to another request."""
        self.digest: Digest = request.digest(document)
        self._folder, self._prover = folder, prover
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (folder / REQUEST).exists():
            if (folder / REQUEST).read_bytes() != document:
                raise FormatError(Reason.MEMBER, str(folder), "it holds the answer to another request")
        else:
            _write(folder / REQUEST, [document])

    def has(self, shown: Part) -> bool:
        """Tell whether a part is there."""
        return self._path(shown).exists()

    def keep(self, shown: Part, signature: bytes, chunks: Iterator[bytes]) -> None:
        """Take in a part; SignatureError unless the prover signed it, and then nothing is kept."""
        with disk.replacing(self._path(shown)) as file:
            found = sha256()
            for chunk in chunks:
                found.update(chunk)
                file.write(chunk)
            part.check(shown, self.digest, found.digest(), signature, self._prover)
            _write(self._signature(shown), [signature])  # first: a part without its signature would be worth nothing

    @contextmanager
    def open(self, shown: Part) -> Iterator[Blob]:
        """Open a part that is there; SignatureError if it is no longer what was taken in."""
        blob = Blob.of(self._path(shown))
        with blob.file:
            found = sha256()
            for chunk in blob.chunks():
                found.update(chunk)
            part.check(shown, self.digest, found.digest(), self._signature(shown).read_bytes(), self._prover)
            yield blob

    def _path(self, shown: Part) -> Path:
        return self._folder / (shown.name + SUFFIX)

    def _signature(self, shown: Part) -> Path:
        return self._folder / (shown.name + SIGNED)


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    with disk.replacing(path) as file:
        file.writelines(chunks)
