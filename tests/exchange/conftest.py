"""Share a run that can be served."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.exchange.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    with scene.archive:
        yield scene
