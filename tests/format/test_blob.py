"""Test that a stretch of a file never reaches out of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polarchive.errors import FormatError, Reason
from polarchive.format.blob import Blob

DATA = bytes(range(100))


@pytest.fixture
def blob(tmp_path: Path) -> Iterator[Blob]:
    """Yield the middle of a file, 40 bytes from 30 on."""
    (tmp_path / "file").write_bytes(DATA)
    whole = Blob.of(tmp_path / "file")
    with whole.file:
        yield whole.slice(30, 40, "middle")


def test_a_slice_holds_its_bytes(blob: Blob) -> None:
    assert blob.read() == DATA[30:70]
    assert blob.read(5) == DATA[35:70]
    assert blob.read(5, 3) == DATA[35:38]
    assert blob.slice(10, 4, "inner").read() == DATA[40:44]
    assert blob.read(40) == blob.slice(40, 0, "end").read() == b""
    assert b"".join(blob.chunks(7)) == DATA[30:70]


@pytest.mark.parametrize("step", [1, 7, 39, 40, 41])
def test_chunks_are_the_bytes_in_order(blob: Blob, step: int) -> None:
    chunks = list(blob.chunks(step))
    assert b"".join(chunks) == DATA[30:70]
    assert all(len(chunk) == step for chunk in chunks[:-1]) and 0 < len(chunks[-1]) <= step


OUTSIDE: dict[str, Callable[[Blob], object]] = {
    "slice_too_long": lambda blob: blob.slice(0, 41, "outside"),
    "slice_from_beyond": lambda blob: blob.slice(41, 0, "outside"),
    "slice_from_before": lambda blob: blob.slice(-1, 5, "outside"),
    "slice_of_a_negative_size": lambda blob: blob.slice(5, -1, "outside"),
    "slice_of_an_absurd_size": lambda blob: blob.slice(1 << 63, 1 << 63, "outside"),
    "read_too_much": lambda blob: blob.read(0, 41),
    "read_from_beyond": lambda blob: blob.read(41),
    "read_from_before": lambda blob: blob.read(-1, 5),
}


@pytest.mark.parametrize("reach", OUTSIDE.values(), ids=OUTSIDE)
def test_reaching_outside_is_refused(blob: Blob, reach: Callable[[Blob], object]) -> None:
    with pytest.raises(FormatError) as refusal:
        reach(blob)
    assert refusal.value.reason == Reason.TRUNCATED


def test_a_file_that_shrinks_is_refused(blob: Blob, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA[:50])
    with pytest.raises(FormatError, match="ends early"):
        blob.read()


def test_more_than_the_limit_is_refused(blob: Blob) -> None:
    assert blob.bounded(40) == DATA[30:70]
    with pytest.raises(FormatError) as refusal:
        blob.bounded(39)
    assert refusal.value.reason == Reason.LIMIT
