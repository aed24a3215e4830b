"""Write files whole or not at all, and say of which one something is wrong."""

from pathlib import Path

import pytest

from polarchive.format.disk import replacing


@pytest.mark.parametrize("place", ["missing/file", "file/file", "folder"])
def test_what_is_wrong_is_told_of_the_file_itself(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="Errno") as told, replacing(tmp_path / place) as file:
        file.write(b"new")
    assert told.value.filename == str(tmp_path / place) and "tmp'" not in str(told.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_what_the_caller_meets_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as told, replacing(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert told.value.filename == tmp_path / "other" or told.value.filename == str(tmp_path / "other")
    assert list(tmp_path.iterdir()) == []
