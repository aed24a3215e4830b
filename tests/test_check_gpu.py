"""Test the one call that checks and measures judging on a GPU, by its dry run."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tools.check_gpu import main
from tools.gpu_checks import honest, tried
from tools.gpu_scene import QUICK, Scene


@pytest.mark.slow
def test_the_dry_run_checks_and_measures_all(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--device", "cpu", "--quick", "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0 and result.output.startswith("# Dry run on cpu"), result.output
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert len(found["checks"]) == 8 and all(check["passed"] for check in found["checks"])
    assert [(row["way"], row["workers"]) for row in found["speed"]] == [
        ("plain training", 0),
        ("eager", 0),
        ("eager", 2),
        ("graphs", 0),
        ("graphs", 2),
    ]
    assert all(row["factor"] > 0 for row in found["speed"]) and found["date"] and found["stack"]["torch"]


def test_a_check_that_fails_is_told_in_one_line() -> None:
    def broken(scene: Scene) -> str:
        """It holds."""
        raise ValueError("it\ndoes not")

    row = tried(broken, Scene(QUICK, "cpu", Path(), {}))
    assert row == {"check": "broken", "what": "It holds.", "passed": False, "found": "ValueError: it does not"}


def test_a_run_that_is_not_honest_does_not_pass_for_it(tmp_path: Path) -> None:
    scene = Scene(QUICK, "cpu", tmp_path, {})
    scene.record("honest", forged=1)
    row = tried(honest, scene)
    assert not row["passed"] and row["found"].startswith("AssertionError: ")


def test_a_gpu_that_is_not_there_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(main, ["--out", str(tmp_path)])
    assert result.exit_code == 1 and not list(tmp_path.iterdir())
    assert result.output == "Error: there is no cuda here: --device cpu --quick is a dry run\n"
