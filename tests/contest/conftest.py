"""Compute on one thread: models are small."""

from collections.abc import Iterator

import pytest

from tests.workloads import threads


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threads(1):
        yield
