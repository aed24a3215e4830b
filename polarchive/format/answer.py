"""Seal a prover's answer to a request into one file, and read it part by part (SPEC.md, "Answers").

An `.polr` file is a container as `.pol` is one. The request lies in it, the parts, and last their signatures, so that
it is written in one pass and is evidence on its own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from polarchive.errors import FormatError, OpeningError, Reason, TrustError
from polarchive.format import container, part, request
from polarchive.format import fields as f
from polarchive.format.blob import Blob
from polarchive.format.canonical import decode, encode
from polarchive.format.commitment import Opening
from polarchive.format.container import Container, Grammar
from polarchive.format.entry import VERSION
from polarchive.format.limits import MAX_MEMBERS
from polarchive.format.merkle import Digest
from polarchive.format.note import Signer, VerifierKey
from polarchive.format.part import SUFFIX, BatchPart, Part, StatePart
from polarchive.format.request import MAX_REQUEST, Request
from polarchive.format.spelling import verifier_key
from polarchive.format.tensors import Array, Buffer

Content: TypeAlias = Mapping[str, Array]
REQUEST: Final = "00-request.json"
ANSWER: Final = "30-answer.json"
MAX_ANSWER: Final = 64 << 20
GRAMMAR: Final = Grammar(
    re.compile("00-request[.]json|(10-batch-[0-9]{20}-[0-9]{5}|20-state-[0-9]{10})[.]safetensors|30-answer[.]json"),
    (REQUEST, ANSWER),
)


@dataclass(frozen=True, slots=True)
class _Signed:
    """Say who signed the parts, and give the signature of each by its name."""

    key: VerifierKey
    signatures: Mapping[str, bytes]


_signed: Final = f.fields(
    _Signed,
    key=verifier_key,
    signatures=f.mapping(request.signature_hex, MAX_MEMBERS),
)


def write(path: Path, document: bytes, parts: Iterable[tuple[Part, Content]], signer: Signer) -> Digest:
    """Seal the answer to the request `document` and return the digest of its index.

    `parts` come in ascending order, batches first. Memory stays flat: each is written before the next is taken.
    """
    return container.write(path, _members(document, parts, signer))


class Answers:
    """Hold an open answer: the request it answers, and its parts, each checked when it is read."""

    def __init__(self, parts: Container, key: VerifierKey) -> None:
        """Read request and signatures; TrustError if they are by another key than `key`, the run's."""
        document = parts.read(REQUEST, MAX_REQUEST)
        self.request: Request = request.open_request(document)
        self.digest: Digest = parts.digest
        self._asked = request.digest(document)
        self._parts, self._key = parts, key
        self._signatures = _read_signatures(parts, key)

    @classmethod
    def open(cls, path: str | Path, key: VerifierKey) -> "Answers":
        """Open the answer at `path` that the owner of `key` should have signed; FormatError if it is broken."""
        parts = container.read(Path(path), GRAMMAR)
        try:
            return cls(parts, key)
        except BaseException:
            parts.close()
            raise

    def batch(self, step: int, micro: int) -> Opening:
        """Return one batch; OpeningError if it is not there, or not as the prover signed it."""
        shown = BatchPart(step, micro)
        with part.blamed(shown):
            return part.read_opening(self._checked(shown))

    def state(self, index: int) -> dict[str, Array]:
        """Return one state; OpeningError if it is not there, or not as the prover signed it."""
        shown = StatePart(index)
        with part.blamed(shown):
            return part.read_state(self._checked(shown))

    def close(self) -> None:
        """Close the file."""
        self._parts.close()

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _checked(self, shown: Part) -> Blob:
        name = _member(shown)
        if name not in self._parts.blobs:
            raise OpeningError(f"{shown} was asked for and not shown")
        self._parts.check(name)
        content = self._parts.listed[name].sha256
        part.check(shown, self._asked, content, self._signatures[shown.name], self._key)
        return self._parts.blobs[name]


def _members(
    document: bytes, parts: Iterable[tuple[Part, Content]], signer: Signer
) -> Iterator[tuple[str, Iterable[Buffer]]]:
    asked, signatures = request.digest(document), {}
    yield REQUEST, [document]
    for shown, content in parts:
        signatures[shown.name] = part.sign(shown, asked, part.digest(content), signer)
        yield _member(shown), part.chunks(content)
    written = _signed.write(_Signed(signer.key, signatures))
    assert isinstance(written, dict)
    yield ANSWER, [encode({"type": "answer", "version": VERSION, **written})]


def _read_signatures(parts: Container, key: VerifierKey) -> Mapping[str, bytes]:
    value = decode(parts.read(ANSWER, MAX_ANSWER), MAX_ANSWER, ANSWER)
    if not isinstance(value, dict) or value.pop("type", None) != "answer":
        raise FormatError(Reason.FIELD, ANSWER, "not an answer")
    version = value.pop("version", None)
    if version != VERSION:
        raise FormatError(Reason.VERSION, ANSWER, f"version {str(version)[:40]}, not {VERSION}")
    found = f.read(_signed, value, ANSWER)
    if found.key != key:
        raise TrustError(Reason.KEY, ANSWER, f"an answer by {found.key.name}, not by the run's key {key.name}")
    shown = [_member(part.parse(name)) for name in found.signatures]
    if {*shown, REQUEST, ANSWER, container.INDEX} != parts.listed.keys():
        raise FormatError(Reason.MEMBER, ANSWER, "not one signature for each part")
    return found.signatures


def _member(shown: Part) -> str:
    return ("10-" if isinstance(shown, BatchPart) else "20-") + shown.name + SUFFIX
