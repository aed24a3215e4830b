"""Note in a run directory which stamps did not come (SPEC.md, "Run directory"): for people, never packed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from polarchive.errors import FormatError
from polarchive.format import attach
from polarchive.format import fields as f
from polarchive.format.canonical import decode, encode
from polarchive.format.disk import Raw

NAME: Final = "failed.jsonl"
_LONGEST: Final = 1 << 13
_MOST: Final = 1 << 20  # bytes that are read, from the end
_YEAR_10000: Final = 253402300800


@dataclass(frozen=True, slots=True)
class Mark:
    """Say that the authority at `url` was asked to stamp the head of tree size `size`, did not, and was given up.

    `time` is in seconds since 1970, by the clock of the machine that asked.
    """

    size: int
    url: str
    reason: str
    message: str
    time: int


def _printable(said: str) -> str:
    """Return what the other side said without what a terminal takes for a command."""
    told = said.encode("ascii", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else "?" for letter in told)[:500]


_said: Final = f.Codec(_printable, f.text.read)
_mark: Final = f.fields(Mark, size=f.u64, url=_said, reason=_said, message=_said, time=f.u64)


def append(run: Path, mark: Mark) -> None:
    """Add a mark to those of a run directory."""
    with Raw(attach.ensured(run / attach.FOLDER) / NAME, "ab") as file:
        file.append(encode(_mark.write(mark)) + b"\n")


def read(run: Path) -> tuple[Mark, ...]:
    """Return the marks of a run directory, in order of time; a line that is torn is left out."""
    path = run / attach.FOLDER / NAME
    if not path.exists():
        return ()
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _MOST))
        lines = file.read(_MOST).splitlines()
    return tuple(mark for line in lines if (mark := _read(line)))


def _read(line: bytes) -> Mark | None:
    try:
        mark = f.read(_mark, decode(line, _LONGEST, NAME), NAME)
    except FormatError:
        return None
    return mark if mark.time < _YEAR_10000 else None
