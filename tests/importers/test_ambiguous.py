"""Refuse files in which torch would find other weights than this reader: both read zip files, each in its own way."""

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.importers.test_saved import ONE, SIX, refused, state, tensor, with_program, written


def renamed(path: Path, change: Callable[[str], str]) -> Path:
    """Add a copy of the first storage, in zeros, under the name that `change` makes of its own."""
    with zipfile.ZipFile(path, "a") as members:
        name = next(each for each in members.namelist() if each.endswith("/data/0"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the repeated name
            members.writestr(change(name), bytes(len(members.read(name))))
    return path


def replaced(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


def commented(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as members:
        members.comment = b"x"


AMBIGUOUS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "one name twice": (lambda path: renamed(path, str), "two members of the name model_step_0/data/0"),
    "one name in two cases": (lambda path: renamed(path, str.upper), "two members of the name model_step_0/data/0"),
    "pickle in two cases": (
        lambda path: renamed(path, lambda name: name.replace("data/0", "DATA.PKL")),
        "two members of the name model_step_0/data.pkl",
    ),
    "name cut off at a zero byte": (
        lambda path: replaced(renamed(path, lambda name: f"{name}0?"), lambda data: data.replace(b"0?", b"0\0")),
        "second names",
    ),
    "bytes before the members": (lambda path: replaced(path, lambda data: data[:4] + data), "before its members"),
    "bytes after the members": (commented, "after them"),
}


@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_files_in_which_torch_could_find_other_weights_are_refused(fault: str, tmp_path: Path) -> None:
    change, reason = AMBIGUOUS[fault]
    change(path := written(tmp_path, state()))
    refused(path, reason)


def test_a_pickle_that_changes_a_tensor_in_place_is_refused(tmp_path: Path) -> None:
    changing = tensor(SIX, ONE).removesuffix(b"s.") + b"}bs."
    refused(with_program(written(tmp_path, state()), changing), "changes something that is no dict")
