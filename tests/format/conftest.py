"""Make property tests repeatable, and share one small honest run."""

from pathlib import Path

import pytest
from hypothesis import settings

from tests.simulator import Run, Simulation

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def honest_run() -> Run:
    return Simulation().run()


@pytest.fixture(scope="session")
def honest_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Simulation().seal(tmp_path_factory.mktemp("honest") / "run.pol")
