"""Import published proofs from the command line, and have them judged there: what is said, and what is refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from polarchive.cli.exits import Exit
from tests.cli.test_cli import Ended, is_one_line, polarc
from tests.importers import published
from tests.workloads import threads

CODE: Final = Path(published.__file__)
SHOWN: Final = """
from polarchive.importers.layouts import opened
batches = opened({folder!r}).batch
"""
NOISY: Final = """
def build_noisy(header, device):
    print("building")
    return build_tiny(header, device)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a key, an honest proof in the layout of Jia et al., and a spoof of it in the two others."""
    place = tmp_path_factory.mktemp("import")
    assert polarc("keygen", "importer.example", "-o", place / "importer").code == Exit.OK
    with threads(1):
        stolen = published.publish_jia(place / "jia")
    published.publish_zhang(place / "zhang", stolen)
    published.publish_fang(place / "fang", stolen)
    for layout in ("zhang", "fang"):
        (place / f"{layout}.py").write_text(SHOWN.format(folder=str(place / layout)))
    return place


def imported(place: Path, proof: Path, run: Path, build: str, *more: object) -> Ended:
    return polarc("import", proof, run, "--trainer", f"{CODE}:{build}", "--as", place / "importer.key", *more)


def verified(place: Path, run: Path, build: str, batches: str, policy: str) -> Ended:
    polarc("pack", run, "-o", run.with_suffix(".pol"))
    own = ("--key", place / "importer.pub", "--trainer", f"{CODE}:{build}", "--batches", batches)
    return polarc("verify", run.with_suffix(".pol"), *own, "--policy", policy, "--json")


@pytest.mark.parametrize(
    ("layout", "build", "more", "strict"),
    [
        ("jia", "build", ("--data", f"{CODE}:data"), Exit.INCONCLUSIVE),
        ("zhang", "build_zhang", (), Exit.REJECTED),
        ("fang", "build_tiny", (), Exit.REJECTED),
    ],
)
def test_proofs_are_imported_and_judged(
    layout: str, build: str, more: tuple[object, ...], strict: Exit, place: Path, tmp_path: Path
) -> None:
    done = imported(place, place / layout, tmp_path / "run", build, *more)
    assert (done.code, done.err) == (Exit.OK, ""), done
    assert layout.title() in done.out.splitlines()[0] and "no explanation of state 0" in done.out
    about = polarc("inspect", tmp_path / "run", "--json").json["stack"]
    assert about["imported"] in done.out and about["lacks"].startswith("explanation of state 0, times, seeds")
    batches = f"{CODE}:rows" if layout == "jia" else f"{place / layout}.py:batches"
    assert verified(place, tmp_path / "run", build, batches, "jia2021_full").code == Exit.OK
    assert verified(place, tmp_path / "run", build, batches, "strict").code == strict


def test_what_the_trainer_prints_is_no_output(place: Path, tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(CODE.read_text() + NOISY)
    own = ("--trainer", f"{tmp_path / 'noisy.py'}:build_noisy", "--as", place / "importer.key")
    done = polarc("import", place / "fang", tmp_path / "run", *own, "--json")
    assert (done.code, done.err) == (Exit.OK, "building\n") and done.json["states"] == 11


def test_json_is_one_object(place: Path, tmp_path: Path) -> None:
    done = imported(place, place / "fang", tmp_path / "run", "build_tiny", "--json")
    facts: Any = done.json
    assert (facts["layout"], facts["states"], facts["steps"]) == ("Fang et al. (2023)", 11, 40)
    assert len(facts["lacks"]) == 5


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch owned",)


def test_a_hostile_pickle_is_one_line_and_leaves_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"net": Evil()}, tmp_path / "model_0.pt")
    torch.save({"net": Evil()}, tmp_path / "model_4.pt")
    done = imported(place, tmp_path, tmp_path / "run", "build_tiny")
    assert done.code == Exit.USAGE and is_one_line(done.err)
    assert "model_0.pt" in done.err and "posix.system" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model_0.pt", "model_4.pt"]


def test_what_cannot_be_imported_is_one_line(place: Path, tmp_path: Path) -> None:
    for proof, more, reason in (
        (tmp_path, (), "published proof is known"),
        (place / "jia", (), "--data"),
        (place / "fang", ("--data", f"{CODE}:data"), "--data"),
    ):
        done = imported(place, proof, tmp_path / "run", "build_tiny", *more)
        assert done.code == Exit.USAGE and reason in done.err and is_one_line(done.err), done
    assert imported(place, place / "fang", tmp_path, "build_tiny").code == Exit.USAGE


def without_a_tensor(state: dict[str, Any]) -> None:
    del state["net"]["bn.running_mean"]


def with_a_huge_number(state: dict[str, Any]) -> None:
    state["optimizer"]["state"][0]["step"] = 1 << 1500


@pytest.mark.parametrize("fault", [without_a_tensor, with_a_huge_number])
def test_a_later_state_that_does_not_fit_is_one_line(fault: Callable[..., None], place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "jia", tmp_path / "proof")
    state = torch.load(tmp_path / "proof" / "model_step_5", weights_only=True)
    fault(state)
    torch.save(state, tmp_path / "proof" / "model_step_5")
    done = imported(place, tmp_path / "proof", tmp_path / "run", "build", "--data", f"{CODE}:data")
    assert done.code == Exit.USAGE and is_one_line(done.err) and "model_step_5: " in done.err, done
    assert [path.name for path in tmp_path.iterdir()] == ["proof"]


def test_help_lists_the_command() -> None:
    assert "import " in polarc("--help").out and "--data" in polarc("import", "--help").out
