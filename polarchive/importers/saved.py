"""Read the files of a foreign proof: each is bounded, and what is wrong with it is one line that names it."""

from collections import Counter
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import numpy.typing as npt

from polarchive.errors import PolError
from polarchive.importers.pickled import Machine

MAX_FILE: Final = 1 << 34
MAX_PICKLE: Final = 4 << 20
MAX_TEXT: Final = 64 << 20
_NUMBERS: Final = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")  # torch computes in
_PROGRAM: Final = "/data.pkl"
_TIMES: Final = 3  # a storage, and two tensors of it: tied weights are one storage under two names


def tensors(path: Path) -> dict[str, Any]:
    """Return the dict that torch.save wrote (1.6 or later): tensors, numbers and texts in plain containers.

    PolError names the file, and the class that is neither.
    """
    size = require_file(path, MAX_FILE)
    try:
        with ZipFile(path) as members:
            found = _run(members, size)
    except Exception as error:  # a foreign file fails in as many ways as it likes
        raise PolError(f"{path}: not what torch.save writes of a state: {told(error)}") from None
    if not isinstance(found, dict):
        raise PolError(f"{path}: holds a {type(found).__name__}, where a dict with net is due")
    return found


def numbers(path: Path) -> npt.NDArray[Any]:
    """Return the array of numbers in a .npy file, mapped and not read; PolError if it holds anything else."""
    require_file(path, MAX_FILE)
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy's reader, too
        raise PolError(f"{path}: not an array of numbers: {told(error)}") from None
    if found.dtype.name not in _NUMBERS:
        raise PolError(f"{path}: an array of {found.dtype}, not of {', '.join(_NUMBERS)}")
    return found


def lines(path: Path) -> list[str]:
    """Return the lines of a text in ASCII; PolError if it is none."""
    require_file(path, MAX_TEXT)
    try:
        return path.read_text(encoding="ascii").splitlines()
    except UnicodeDecodeError:
        raise PolError(f"{path}: not a text in ASCII") from None


def require_file(path: Path, limit: int) -> int:
    """Return the size of a file; PolError unless it is a regular one of at most `limit` bytes, and no link."""
    refuse_link(path)
    if not path.is_file():
        raise PolError(f"{path}: there is no such file")
    size = path.stat().st_size
    if size > limit:
        raise PolError(f"{path}: {size} bytes; at most {limit} are read")
    return size


def refuse_link(path: Path) -> None:
    """Raise PolError if a path is a symbolic link: one could lead to files that are no part of the proof."""
    if path.is_symlink():
        raise PolError(f"{path}: is a symbolic link; a proof's files lie in its own folder, so copy it there")


def told(error: Exception) -> str:
    """Return what an error says, in printable characters: a foreign file may have chosen some of them."""
    return "".join(filter(str.isprintable, str(error) or type(error).__name__))[:200]


def _run(members: ZipFile, size: int) -> Any:
    names = _names(members)
    program = [name for name in names if name.endswith(_PROGRAM)]
    if len(program) != 1:
        raise ValueError(f"{len(program)} pickles in it, not one")
    folder = program[0].removesuffix(_PROGRAM)
    order = f"{folder}/byteorder"
    if order in names and _stored(members, order, len("little")) != b"little":
        raise ValueError("its bytes are not in little-endian order")
    machine = Machine(lambda key: _stored(members, f"{folder}/data/{key}", size), _TIMES * size)
    return machine.run(_stored(members, program[0], MAX_PICKLE))


def _names(members: ZipFile) -> list[str]:
    """Return the members' names; ValueError if torch could find others by them, since it reads zip files otherwise.

    It takes names as they are in the file, the first of those that are equal up to case, and a directory of members
    where the file says, which Python takes from the file's end.
    """
    names = [about.filename for about in members.infolist()]
    if twice := [name for name, times in Counter(map(str.lower, names)).items() if times > 1]:
        raise ValueError(f"it has two members of the name {twice[0]}, but for case")
    if names != [about.orig_filename for about in members.infolist()]:
        raise ValueError("its members have second names")
    if members.comment or min((about.header_offset for about in members.infolist()), default=0):
        raise ValueError("it holds something before its members or after them")
    return names


def _stored(members: ZipFile, name: str, limit: int) -> bytes:
    """Return a member's bytes; ValueError if it is compressed, as torch.save writes none, or too long."""
    about = members.getinfo(name)
    if about.compress_type != ZIP_STORED or about.file_size > limit:
        raise ValueError(f"its member {name} is compressed, or has more than {limit} bytes")
    return members.read(about)
