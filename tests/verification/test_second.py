"""A second implementation of the trees is asked where there is one, and its disagreement is never passed over."""

from pathlib import Path

import pytest

import polarchive as pol
from polarchive.errors import DigestError
from polarchive.verification.checks import second
from tests.simulator import Simulation


@pytest.fixture
def archive(tmp_path: Path) -> pol.Archive:
    pytest.importorskip("pymerkle")
    return pol.open(Simulation(segments=3).seal(tmp_path / "run.pol"), trusted=None)


def test_two_implementations_agree(archive: pol.Archive) -> None:
    (finding,) = second.trees(archive)
    assert finding.message == "pymerkle agrees on 5 roots and 5 inclusion proofs"


def test_disagreement_is_an_error(archive: pol.Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(archive), "lines", property(lambda self: self._log.raw[::-1]))
    with pytest.raises(DigestError, match="pymerkle computes other trees"):
        list(second.trees(archive))


def test_without_it_nothing_is_said(archive: pol.Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second, "find_spec", lambda name: None)
    assert list(second.trees(archive)) == []
