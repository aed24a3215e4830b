"""Ask a witness to cosign the last head of a log (C2SP tlog-witness; SPEC.md, "Stamps and cosignatures").

Who it is that answers need not be known. What counts is a cosignature by the witness's key, and that is checked; all
that somebody on the way can do is to prevent it.
"""

import re
from base64 import b64encode
from http import HTTPStatus
from pathlib import Path
from time import monotonic
from typing import Final

from polarchive.errors import PolError, Unreachable
from polarchive.exchange import posting
from polarchive.exchange.posting import Answer
from polarchive.format import attach, container, cosignature, disk, journal, merkle
from polarchive.format.archive import Archive, open_archive
from polarchive.format.cosignature import Cosigned, WitnessKey
from polarchive.format.limits import MAX_COSIGNATURES
from polarchive.format.note import Head
from polarchive.trust import witnesses
from polarchive.trust.trust import Trust

TIMEOUT: Final = 30.0
ADD: Final = "/add-checkpoint"
SIZE_TYPE: Final = "text/x.tlog.size"
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_STRANGER: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)  # some witnesses do not tell these two apart


class NotCosigned(PolError):
    """Report that a witness does not cosign a head."""


class AnotherLog(NotCosigned):
    """Report that a witness has seen another log under the origin of this one."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url}: the witness has seen another log under this origin: {why}")


def add(path: Path, url: str, key: WitnessKey, target: Path | None = None) -> tuple[Head, Cosigned]:
    """Have the last head of a run directory or archive cosigned, keep the line beside it, and return both.

    An archive is written anew, as `target` or in its own place. A witness that has cosigned this head already is not
    asked again. Raises what `submit` does.
    """
    with open_archive(path, trusted=None) as archive:
        head = archive.heads[-1]
        new = b"" if head.size == _seen(archive, key) else submit(archive, url, key)
    with open_archive(path, trusted=None) as archive:  # again: somebody may have asked another witness meanwhile
        lines = archive.attached.cosignatures.get(head.size, b"") + new
    name = container.cosignatures_name(head.size)
    cosigned = cosignature.read(lines, head.text, [key], name)[0]
    attach.replace(path, name, lines, target)
    return head, cosigned


def submit(archive: Archive, url: str, key: WitnessKey, old: int | None = None, timeout: float = TIMEOUT) -> bytes:
    """Return the lines by which the witness `key` at `url` cosigns an archive's last head; they verify.

    `old` is the size of the last head that it cosigned, by default of those in the archive. If it knows another, it
    says so, and is asked once more; all of it takes at most `timeout` seconds. AnotherLog if this log does not continue
    what the witness has seen, NotCosigned if there is another reason not to cosign it, Unreachable if nobody answers,
    SignatureError if what is answered does not verify.
    """
    old, head = _seen(archive, key) if old is None else old, archive.heads[-1]
    posting.require_url(url)
    _settle(archive.path)
    until = monotonic() + timeout
    answer = _ask(archive, url, old, until)
    size = _size(answer)
    if size is not None and size != old and size <= head.size:
        old, answer = size, _ask(archive, url, size, until)
    if answer.status != HTTPStatus.OK:
        raise _refusal(answer, archive, old, url)
    return _lines(answer.body, head, key, url)


def _settle(path: Path) -> None:
    """Put on disk what was read of a run that is still being recorded.

    A crash must not lose a head that a witness has seen: the run could not go on but as another log.
    """
    if path.is_dir():
        with disk.Raw(path / journal.JOURNAL, "rb") as file:
            disk.sync(file)


def _seen(archive: Archive, key: WitnessKey) -> int:
    """Return the size of the last head that a witness has cosigned as far as the archive shows, 0 if none."""
    return max(witnesses.cosigned(archive, Trust((), witnesses=(key,))), default=0)


def _ask(archive: Archive, url: str, old: int, until: float) -> Answer:
    """Post the old size, the proof that the log has only grown since, and its last note."""
    tree = merkle.Tree(map(merkle.leaf, archive.lines))
    proof = tree.consistency(old, archive.heads[-1].size) if old else []
    lines = [f"old {old}".encode(), *map(b64encode, proof), b"", archive.notes[-1]]
    return posting.post(url.rstrip("/") + ADD, b"\n".join(lines), until - monotonic(), MAX_COSIGNATURES)


def _size(answer: Answer) -> int | None:
    """Return the size of the last head that a witness says it has cosigned, None if it does not say."""
    if answer.status != HTTPStatus.CONFLICT or answer.kind != SIZE_TYPE:
        return None
    found = _SIZE.fullmatch(answer.body)
    return int(found[1]) if found else None


def _refusal(answer: Answer, archive: Archive, old: int, url: str) -> PolError:
    head = archive.heads[-1]
    if other := _other(answer, head, old):
        return AnotherLog(url, other)
    if answer.status in _STRANGER:
        advice = f"its operator must add {head.origin}, signed by {archive.header.key}"
        return NotCosigned(f"{url}: {answer}: the witness does not know this log, or is not there; {advice}")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unreachable(f"{url}: {answer}")
    return NotCosigned(f"{url}: the witness refuses: {answer}")


def _other(answer: Answer, head: Head, old: int) -> str | None:
    """Return in what the log that a witness has seen is another, None if it says no such thing."""
    size = _size(answer)
    if size is not None and size > head.size:
        return f"one of {size} entries; this has {head.size}, and may be an older copy"
    if answer.status == HTTPStatus.CONFLICT and old == head.size:
        return f"one with other entries at this size, {head.size}"
    if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY and old:
        return f"its first {old} entries are not those of this one"
    return None


def _lines(body: bytes, head: Head, key: WitnessKey, url: str) -> bytes:
    if not cosignature.read(body, head.text, [key], f"answer of {url}"):
        raise NotCosigned(f"{url}: an answer without a cosignature by {key}")
    return b"".join(f"{line}\n".encode() for line in cosignature.lines(body) if line.is_by(key))
