"""Claim a folder for one contest: nothing of others is emptied, and no other training's results pass for its own."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import torch

from polarchive.attacks.puppet import Puppet
from polarchive.attacks.workload import Workload
from polarchive.contest.records import digests
from polarchive.errors import PolError
from polarchive.format import disk
from polarchive.format.tensors import root_of
from polarchive.training.arrays import to_array

_MARK: Final = "contest.json"
_NAMES: Final = ("victim", "independent", "spoofs", "matches")  # which a contest empties


def claim(folder: Path, workload: Workload) -> None:
    """Mark a folder as that of a contest on a training; PolError if it is another's, or holds what no contest made."""
    mark, told = folder / _MARK, _told(workload)
    if mark.exists():
        if json.loads(mark.read_bytes()) != told:
            raise PolError(f"{folder}: holds a contest on another training; name another folder, or remove this one")
        return
    if taken := next((folder / name for name in _NAMES if (folder / name).exists()), None):
        raise PolError(f"{taken}: is there, and no contest says that it made it; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with disk.replacing(mark) as file:
        file.write(json.dumps(told, indent=1).encode())


def _told(workload: Workload) -> dict[str, Any]:
    """Return what makes a training this one: where it starts from under a seed, its settings and its data."""
    torch.manual_seed(0)
    trainer = Puppet(workload)
    return {
        "training": workload.told,
        "settings": dict(trainer.hyper()),
        "start": root_of({name: to_array(tensor, name) for name, tensor in trainer.save().items()}).hex(),
        "records": sha256(b"".join(digests(workload.records))).hexdigest(),
    }
