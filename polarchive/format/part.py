"""Name, sign and read the parts of an answer: one batch, or one state (SPEC.md, "Parts").

Every part is signed for itself, so that a wrong one is evidence against the prover, however it travelled.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from polarchive.errors import FormatError, OpeningError, Reason
from polarchive.format import tensors
from polarchive.format.blob import Blob
from polarchive.format.commitment import Opening
from polarchive.format.merkle import Digest
from polarchive.format.note import Signer, VerifierKey
from polarchive.format.opening import gather
from polarchive.format.tensors import Array, Buffer, lp

TAG: Final = b"polarchive/v1/answer\x00"
MAX_PART: Final = 1 << 32
SUFFIX: Final = ".safetensors"
NAME: Final = "batch-[0-9]{20}-[0-9]{5}|state-[0-9]{10}"


@dataclass(frozen=True, slots=True, order=True)
class BatchPart:
    """Name one batch of a step; `micro` counts the batches of one step from 0."""

    step: int
    micro: int

    @property
    def name(self) -> str:
        """Return the name that is signed and that files have."""
        return f"batch-{self.step:020}-{self.micro:05}"

    def __str__(self) -> str:
        return f"step {self.step}, batch {self.micro}" if self.micro else f"step {self.step}"


@dataclass(frozen=True, slots=True, order=True)
class StatePart:
    """Name one state."""

    index: int

    @property
    def name(self) -> str:
        """Return the name that is signed and that files have."""
        return f"state-{self.index:010}"

    def __str__(self) -> str:
        return f"state {self.index}"


Part: TypeAlias = BatchPart | StatePart


def parse(name: str) -> Part:
    """Return the part of that name; FormatError if there is none."""
    if not re.fullmatch(NAME, name):
        raise FormatError(Reason.MEMBER, "part", f"{name[:40]!a} is no name of a part")
    kind, *numbers = name.split("-")
    return BatchPart(*map(int, numbers)) if kind == "batch" else StatePart(*map(int, numbers))


def chunks(content: Mapping[str, Array]) -> Iterator[Buffer]:
    """Yield the bytes of a part, tensor by tensor: one canonical safetensors file."""
    layout = tensors.layout_of(content)
    yield tensors.header(layout)
    for spec in layout:
        yield memoryview(content[spec.name].data).cast("B")


def digest(content: Mapping[str, Array]) -> Digest:
    """Return the SHA-256 of a part's bytes."""
    found = sha256()
    for chunk in chunks(content):
        found.update(chunk)
    return found.digest()


def sign(part: Part, request: Digest, content: Digest, signer: Signer) -> bytes:
    """Return the prover's signature of the part of digest `content` as an answer to the request of that digest."""
    return signer.sign(_signed(part, request, content))


def check(part: Part, request: Digest, content: Digest, signature: bytes, key: VerifierKey) -> None:
    """Raise SignatureError unless this part is signed by `key` as an answer to this request."""
    key.check(_signed(part, request, content), signature, part.name)


def read_opening(blob: Blob) -> Opening:
    """Return the opening in a part; FormatError if it holds none, or more than `MAX_PART` bytes."""
    return gather(read_state(blob), blob.place)


def read_state(blob: Blob) -> dict[str, Array]:
    """Return the tensors in a part; FormatError if they are not canonical, or more than `MAX_PART` bytes."""
    if blob.size > MAX_PART:
        raise FormatError(Reason.LIMIT, blob.place, f"{blob.size} bytes, at most {MAX_PART} are allowed")
    return {spec.name: Array(spec.dtype, spec.shape, data) for spec, data in tensors.read(blob)}


@contextmanager
def blamed(part: Part) -> Iterator[None]:
    """Turn what is wrong with the bytes of an answer into an OpeningError that names what was asked for."""
    try:
        yield
    except FormatError as error:
        raise OpeningError(f"{part}: {error}") from None


def _signed(part: Part, request: Digest, content: Digest) -> bytes:
    return TAG + request + lp(part.name.encode()) + content
