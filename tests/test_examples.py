"""Run each example as a reader would: type the commands of its docstring, and look at what they say."""

import ast
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import torch

from tests.workloads import ROOT

EXAMPLES: Final = sorted((ROOT / "examples").glob("*.py"))
REJECTED: Final = 1


def blocks(example: str) -> list[str]:
    """Return the commands in the docstring of an example, in one text for each indented paragraph."""
    text = ast.get_docstring(ast.parse((ROOT / "examples" / example).read_text())) or ""
    paragraphs = [part for part in text.split("\n\n") if part.startswith("    ")]
    return [re.sub("(?m)^    ", "", part) for part in paragraphs]


@dataclass(frozen=True)
class Desk:
    """Hold the folder of somebody who has the examples at hand."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> "Desk":
        folder.mkdir(exist_ok=True)
        (folder / "examples").symlink_to(ROOT / "examples")
        return cls(folder)

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def command(self, text: str) -> dict[str, object]:
        """Return how a process is begun that types a text."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(self / "state"), "CIFAR10": "images"}
        typed = ["bash", "-euo", "pipefail", "-c", text]
        return {"args": typed, "cwd": self.folder, "env": {**os.environ, **own}, "text": True}

    def types(self, text: str, code: int = 0) -> str:
        """Type commands, of which the last ends with `code`, and return what they print."""
        ended = subprocess.run(**self.command(text), capture_output=True, check=False)  # type: ignore[call-overload]
        assert ended.returncode == code, ended.stdout + ended.stderr
        return str(ended.stdout)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.at(tmp_path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_stands_alone_and_says_what_to_type(path: Path) -> None:
    tree = ast.parse(path.read_text())
    named = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in named} & {"examples", *(other.stem for other in EXAMPLES)}
    assert f"python examples/{path.name} " in "\n".join(blocks(path.name))


@pytest.mark.slow
def test_cifar10_is_accepted_and_a_line_to_its_model_is_not(desk: Desk) -> None:
    """On 256 images for four steps, which is what differs from the docstrings."""
    (desk / "images").mkdir()
    with np.load(ROOT / "tests/data/cifar10_256.npz") as arrays:
        for name in ("images", "labels"):
            np.save(desk / "images" / f"train_{name}.npy", arrays[name])
    record, judge = blocks("cifar10.py")
    record = record.replace("python tools/cifar10.py\n", "").replace("--steps 60 --every 10", "--steps 4 --every 2")
    assert "recorded 4 steps" in desk.types(record)
    assert "\nACCEPTED: 2 of 2" in desk.types(judge)

    (forge,) = blocks("forge_interpolation.py")
    desk.types("polarc keygen thief.example -o thief")
    assert "forged 4 steps" in desk.types(forge.replace("VICTIM", "run").replace("FORGED", "forged"))
    stolen = judge.replace("run.pol", "forged.pol").replace("pack run", "pack forged")
    rejected = desk.types(stolen.replace("run/secret", "forged/secret").replace("alice", "thief"), REJECTED)
    assert "\nREJECTED: 2 of 2" in rejected and "FAIL segment 0" in rejected


@pytest.mark.slow
def test_gpt_is_held_to_its_schedule(desk: Desk) -> None:
    record, judge, hasty = blocks("gpt.py")
    loss = float(desk.types(record).split("last loss ")[1].split()[0])
    assert loss < 1.5, "it has learned: guessing costs 3.5"
    accepted = desk.types(judge)
    assert accepted.startswith("ACCEPTED: 12 of 12") and "and as the judge's schedule has them" in accepted
    rejected = desk.types(hasty, REJECTED)
    assert "\nREJECTED: 12 of 12 segments replayed, 2 findings against it" in rejected
    assert rejected.count("FAIL schedule: step 0: optimizer/") == 2 and rejected.count("every error 0") >= 12


@pytest.mark.slow
def test_a_judge_of_private_data_sees_what_she_drew(tmp_path: Path) -> None:
    hospital, judge = Desk.at(tmp_path / "hospital"), Desk.at(tmp_path / "judge")
    port = free_port()
    train, introduce, serve, verify, shown = (part.replace("8443", port) for part in blocks("private_data.py"))
    hospital.types(train)
    judge.types(introduce)
    for name, giver, taker in (
        ("judge.pub", judge, hospital),
        ("hospital.pub", hospital, judge),
        ("run.pol", hospital, judge),
    ):
        shutil.copy(giver / name, taker / name)
    with serving(hospital, serve):
        accepted = judge.types(verify)
    assert accepted.startswith("ACCEPTED: 4 of 24") and "segment 0, steps 0 to 4: every error 0" in accepted
    assert hospital.types(shown) == "320 of 2000 patients were shown, in 20 of 120 steps\n"

    held = b"".join(path.read_bytes() for path in judge.folder.rglob("*") if path.is_file())
    measured, _ = torch.load(hospital / "patients.pt", weights_only=True)
    assert sum(patient.numpy().tobytes() in held for patient in measured) == 320


@pytest.mark.slow
def test_a_new_attack_passes_whom_it_says(desk: Desk) -> None:
    (hold,) = blocks("new_attack.py")
    lines = desk.types(hold).splitlines()
    names, honest, tow = ([cell.strip() for cell in line.strip("| ").split("|")] for line in (lines[2], *lines[4:6]))
    assert honest == ["honest", *["**accepted**"] * 6]
    found = dict(zip(names, tow, strict=True))
    assert found["attack"] == "tow"
    assert {name for name, cell in found.items() if cell == "**accepted**"} == {"jia2021_topq", "jia2021_full"}
    assert found["relative"] == "rejected (replay)" and found["strict"].startswith("rejected (joint, replay")
    assert lines[-2].startswith("| tow | 0 |"), "it ends in the victim's weights"


@pytest.mark.slow
def test_a_new_check_catches_what_a_hasty_judge_does_not(desk: Desk) -> None:
    (judge,) = blocks("new_check.py")
    *others, caught = desk.types(judge).splitlines()
    assert others == [
        "honest, judged by hasty: accepted",
        "honest, judged by hasty, steady: accepted",
        "forged, judged by hasty: accepted",
    ]
    assert caught.startswith("forged, judged by hasty, steady: rejected (steady: segment 9: the weights went")


@contextmanager
def serving(desk: Desk, text: str) -> Iterator[None]:
    """Type a command that serves, and interrupt it at the end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(**desk.command(f"exec {text}"), **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline().startswith("serving run")
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
