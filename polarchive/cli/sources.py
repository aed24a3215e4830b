"""Find the judge's own code: FILE.py, and what it imports from its folder."""

import ast
import importlib
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Final, TypeAlias

Sources: TypeAlias = tuple[tuple[str, str], ...]  # a file's path within the folder of FILE.py, and its SHA-256 in hex
_OTHERS: Final = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")))
_INSTALLED: Final = {"site-packages", "dist-packages"}
_PROGRAM: Final = {"__main__", "__mp_main__"}


def sources(file: Path) -> Sources:
    """Return the files of the judge's own code behind FILE.py, which is loaded, and their digests, in order.

    These are FILE.py, what is loaded from its folder or below it, and what any of these imports from there by name, be
    it in a function that has not run yet. Left out are installed packages and polarchive itself. Not seen are modules
    from elsewhere, data files, and what is imported later under a name that is only made then.
    """
    folder = file.parent
    waiting = [file, *(place for _, place in _loaded(folder) if place.is_file())]
    found: set[Path] = set()
    while waiting:
        if (next_one := waiting.pop()) not in found:
            found.add(next_one)
            waiting += [each for each in _imported(next_one, folder) if _within(each, folder)]
    return tuple((str(each.relative_to(folder)), digest(each)) for each in sorted(found))


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    return sha256(file.read_bytes()).hexdigest()


def forget(folder: Path) -> None:
    """Unload what this process has from a folder, so that importing reads the files anew."""
    for name, _ in list(_loaded(folder)):
        del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry != str(folder)]
    importlib.invalidate_caches()


def _loaded(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and place of each module of the folder; of a package without a file of its own, one of its folders."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and name not in _PROGRAM:
            about = vars(module)
            place = about.get("__file__") or next(iter(about.get("__path__") or ()), "")
            if _within(Path(place), folder):
                yield name, Path(place)


def _within(place: Path, folder: Path) -> bool:
    if not place.is_relative_to(folder) or _INSTALLED & {*place.relative_to(folder).parts}:
        return False
    return not any(place.is_relative_to(other) and other.is_relative_to(folder) for other in _OTHERS)


def _imported(file: Path, folder: Path) -> Iterator[Path]:
    """Yield the files that lie where a file's import statements look, in the folder or in the file's own package."""
    with suppress(SyntaxError, ValueError):  # what is not Python imports nothing
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                for each in node.names:
                    yield from _named(folder, each.name)
            elif isinstance(node, ast.ImportFrom):
                root = file.parents[node.level - 1] if node.level else folder
                for each in node.names:
                    yield from _named(root, f"{node.module}.{each.name}" if node.module else each.name)


def _named(root: Path, name: str) -> Iterator[Path]:
    """Yield what holds a module of this dotted name, and the packages around it."""
    parts = name.split(".")
    for place in (root.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)):
        yield from filter(Path.is_file, (place.with_name(f"{place.name}.py"), place / "__init__.py"))
