"""Hand bytes around: no piece is written over while it may still be read."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polarchive.recording import ring
from polarchive.recording.ring import Ring, Window


class Full(Exception):
    """Stand for the wait that nothing would end."""


def give_up() -> None:
    raise Full


@given(st.lists(st.one_of(st.integers(1, 5000), st.none()), max_size=200))
def test_what_is_read_is_what_was_written(script: list[int | None]) -> None:
    """Sizes reserve a piece and fill it; None gives back the oldest, which must still hold what was written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring, "_LEAST", 1 << 13)
        memory, held, number = Ring(), deque[tuple[int, int, int]](), 0
        window = Window(memory.descriptor)
        for size in script:
            if size is None:
                if held:
                    check(window, *held.popleft())
                    memory.release()
                continue
            try:
                start, piece = memory.reserve(size, give_up)
            except Full:
                continue
            number += 1
            piece[:] = bytes([number % 256]) * size
            held.append((start, size, number % 256))
            del piece
        for each in held:
            check(window, *each)
        memory.close()


def check(window: Window, start: int, size: int, number: int) -> None:
    assert bytes(window.piece(start, size)) == bytes([number]) * size


def test_a_piece_larger_than_all_before_makes_it_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "_LEAST", 1 << 12)
    memory = Ring()
    window = Window(memory.descriptor)
    memory.reserve(100, give_up)[1][:] = bytes(100)
    with pytest.raises(Full):
        memory.reserve(1 << 13, give_up)
    memory.release()
    start, piece = memory.reserve(1 << 13, give_up)
    piece[:] = b"x" * (1 << 13)
    assert memory.capacity == 1 << 14 and bytes(window.piece(start, 1 << 13)) == b"x" * (1 << 13)
    del piece
    memory.close()


def test_what_is_seen_cannot_be_written() -> None:
    memory = Ring()
    memory.reserve(10, give_up)
    with pytest.raises(TypeError):
        Window(memory.descriptor).piece(0, 10)[0] = 1
    memory.close()
