"""Test that the measurement of the coding works, in its small version."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("zipnn")
pytest.importorskip("pcodec")

from tools.bench_coding import main


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_small_version_measures_all(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--quick", "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0 and result.output.startswith("# How small states become")
    rows = json.loads((tmp_path / "coding.json").read_text())["states"]
    assert len(rows) == 6 and all(row["ratios"]["polarchive"] > 1.2 for row in rows)
