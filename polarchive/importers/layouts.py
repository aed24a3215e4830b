"""Tell in which layout a published proof is, and open it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from polarchive.errors import PolError
from polarchive.importers import fang, jia, zhang
from polarchive.importers.proof import Proof

LAYOUTS: Final[Mapping[str, Callable[[Path], Proof]]] = {
    jia.MARK: jia.Jia,
    zhang.MARK: zhang.Zhang,
    fang.MARK: fang.Fang,
}


def opened(folder: str | Path) -> Proof:
    """Return the proof in a folder, whose layout one file gives away; PolError if none does.

    Its `batch` is what a judge's `batches(step)` can be, where the layout brings its data.
    """
    folder = Path(folder)
    for mark, layout in LAYOUTS.items():
        if (folder / mark).is_file():
            return layout(folder)
    raise PolError(f"{folder}: none of {', '.join(LAYOUTS)} is in it, by which a published proof is known")
