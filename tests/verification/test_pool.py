"""Run calls in processes that may be killed."""

import os
import time
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from polarchive.verification.pool import Pool


def dying_once(mark: Path) -> str:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return "alive"
    os._exit(1)


def test_calls_that_ran_beside_one_that_died_are_tried_again_too(tmp_path: Path) -> None:
    with Pool(2) as pool:
        calls = [pool.submit(pow, 2, power) for power in range(8)]
        dying = [pool.submit(dying_once, tmp_path / name) for name in "ab"]
        assert [call.result(120) for call in calls] == [2**power for power in range(8)]
        assert [call.result(120) for call in dying] == ["alive", "alive"]


def test_call_that_kills_every_process_is_given_up() -> None:
    with Pool(1, tries=2) as pool, pytest.raises(BrokenProcessPool):
        pool.submit(os._exit, 1).result(120)


def test_error_of_a_call_is_its_outcome_at_once() -> None:
    with Pool(1) as pool, pytest.raises(ValueError, match="invalid literal"):
        pool.submit(int, "x").result(120)


def test_interrupt_stops_what_runs() -> None:
    with pytest.raises(KeyboardInterrupt), Pool(1) as pool:
        assert pool.submit(abs, -1).result(120) == 1  # it has started
        calls = [pool.submit(time.sleep, 600) for _ in range(4)]
        raise KeyboardInterrupt
    for call in calls:
        with pytest.raises((CancelledError, BrokenProcessPool)):
            call.result(120)


def test_nothing_begins_after_the_end() -> None:
    with Pool(1) as pool:
        pass
    with pytest.raises(RuntimeError):
        pool.submit(abs, -1).result(120)
