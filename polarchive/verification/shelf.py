"""Keep what replays showed, so that a verification that was broken off goes on where it was."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from polarchive.errors import PolError
from polarchive.format import disk
from polarchive.measures.distance import Distance
from polarchive.training import stack
from polarchive.trust.access import require_own
from polarchive.verification.case import Case
from polarchive.verification.evidence import Evidence
from polarchive.verification.residual import Residual
from polarchive.verification.tasks import Done, Run, Task

_SHOWED, _DIGEST = "showed", "sha256"


@dataclass(frozen=True, slots=True)
class Shelf:
    """Name a folder to keep replays in, and the `code` that makes them: a digest of all that `build` depends on.

    Whoever can write there can make the verdict, so it belongs to the judge alone. `taken` are the replays that were
    not made again.
    """

    folder: Path
    code: bytes
    taken: list[Task] = field(default_factory=list, compare=False)

    def beside(self, run: Run, case: Case) -> "Kept":
        """Return `run` with what is kept of this archive, code, software, device and number of threads.

        PolError if the folder is another's, or others can write there.
        """
        facts = [version("polarchive"), case.device, *sorted(stack.describe([torch.device(case.device)]).items())]
        known = json.dumps(facts).encode()
        name = sha256(b"".join(sha256(part).digest() for part in (case.archive.heads[-1].text, self.code, known)))
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self.folder, self.folder / name.hexdigest()[:32]):
            folder.mkdir(mode=0o700, exist_ok=True)
            require_own(folder)
        return Kept(run, folder, self.taken)


@dataclass(frozen=True, slots=True)
class Kept:
    """Do tasks, but for those that are kept, and keep what comes of them."""

    run: Run
    folder: Path
    taken: list[Task]

    def __call__(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """Yield what comes of all tasks; a replay that was refused is not kept, for it may succeed another time."""
        known = {task for task in tasks if self._path(task).exists()}
        found = iter(self.run([task for task in tasks if task not in known]))
        places = {task.place: task for task in tasks}
        for task in tasks:
            yield self._read(task) if task in known else self._written(next(found), places)

    def _read(self, task: Task) -> Done:
        self.taken.append(task)
        return _read(self._path(task))

    def _written(self, done: Done, tasks: Mapping[tuple[int, int], Task]) -> Done:
        if done.evidence.refused is None:
            path = self._path(tasks[done.place])
            with disk.replacing(path, shared=True) as file:
                file.write(_spelt(done, path))
        return done

    def _path(self, task: Task) -> Path:
        return self.folder / f"{task.index}-{task.in_a_row}-{task.own}.safetensors"


def _spelt(done: Done, path: Path) -> bytes:
    plain, residual = asdict(replace(done, residual=None)), done.residual
    if residual is not None:
        plain["residual"] = [residual.along, residual.square, residual.measured, residual.stretched]
    tensors, showed = {} if residual is None else residual.packed(), json.dumps(plain)
    return save(tensors, {_SHOWED: showed, _DIGEST: _digest(path, tensors, showed)})


def _digest(path: Path, tensors: dict[str, Tensor], showed: str) -> str:
    """Return the SHA-256 of what is kept and of where that is, in hex."""
    return sha256(f"{path.parent.name}/{path.name}\n".encode() + save(tensors, {_SHOWED: showed})).hexdigest()


def _read(path: Path) -> Done:
    """Return what was kept; PolError if the file is damaged, or was made of another replay."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = file.metadata()
        if _digest(path, tensors, about[_SHOWED]) != about[_DIGEST]:
            raise ValueError("another SHA-256 than its own")
        return _done(json.loads(about[_SHOWED]), {name: tensor.double() for name, tensor in tensors.items()})
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PolError(f"{path}: damaged, delete it and its replay is made again ({error})") from error


def _done(plain: dict[str, Any], tensors: dict[str, Tensor]) -> Done:
    numbers, obtained = plain["residual"], {int(index): how for index, how in plain["obtained"].items()}
    residual = None if numbers is None else Residual(tensors, *numbers)
    return Done(_evidence(plain["evidence"]), residual, obtained, plain["stack"])


def _evidence(plain: dict[str, Any]) -> Evidence:
    own = tuple(map(_distances, plain["own"]))
    found = {"distances": _distances(plain["distances"]), "misfits": tuple(plain["misfits"]), "own": own}
    return Evidence(**{**plain, **found})


def _distances(plain: Mapping[str, Any]) -> dict[str, Distance]:
    return {name: Distance(**fields) for name, fields in plain.items()}
