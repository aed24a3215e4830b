"""Keep the batches of a run in a folder, a file for each step, where nothing else could show them again."""

from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from polarchive.errors import OpeningError

_MOST: Final = 1 << 32


def keep(folder: Path, step: int, batch: tuple[Tensor, ...]) -> None:
    """Write the batch of a step where `kept` finds it: a safetensors file whose tensors are numbered."""
    save_file({str(place): part for place, part in enumerate(batch)}, file_of(folder, step))


def kept(folder: Path, step: int) -> tuple[Tensor, ...]:
    """Return the batch of a step that was kept; OpeningError if it is not there, or not as `keep` writes it."""
    path = file_of(folder, step)
    if not path.exists():
        raise OpeningError("the batch is withheld")
    if path.stat().st_size > _MOST:
        raise OpeningError(f"{path}: more than {_MOST} bytes")
    try:
        found = load_file(path)
        return tuple(found[str(place)] for place in range(len(found)))
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise OpeningError(f"{path}: not a batch that was kept: {error}") from error


def file_of(folder: Path, step: int) -> Path:
    """Return where the batch of a step is kept."""
    return folder / f"{step:08}.safetensors"
