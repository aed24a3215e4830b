"""Test that neither side loses or repeats anything when processes are killed, and that a server's memory stays flat."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polarchive.exchange import releases
from polarchive.exchange.releases import Admitted, Released
from polarchive.exchange.tls import Tls
from polarchive.exchange.wire import Wire
from polarchive.format import request
from polarchive.format.part import MAX_PART, BatchPart
from tests.exchange.child import document, scene_in
from tests.exchange.scene import JUDGE
from tests.simulator import PROVER

ROOT = Path(__file__).parents[2]
STEPS = 50


@contextmanager
def process(role: str, folder: Path, place: object) -> Iterator[subprocess.Popen[str]]:
    """Begin a child, and kill it at the end if it still lives."""
    command = [sys.executable, "-m", "tests.exchange.child", role, str(folder), str(place)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout
        child.stdout.close()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout
    return child.stdout.readline().strip()


def folder_of(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    return tmp_path / name


def released(folder: Path) -> list[Released]:
    return [fact for fact in releases.read(folder / "releases.jsonl") if isinstance(fact, Released)]


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_a_judge_who_is_killed_asks_for_nothing_twice(tmp_path: Path, seed: int) -> None:
    """Only a part that was on its way to a killed judge leaves again, and the record says that it does."""
    chance, kills = random.Random(seed), 0
    theirs, mine = folder_of(tmp_path, "prover"), folder_of(tmp_path, "judge")
    with process("serve", theirs, 0) as server:
        url, last = line(server), -1
        while last < STEPS - 1:
            with process("ask", mine, url) as judge:
                seen = [line(judge) for _ in range(min(STEPS, last + chance.randrange(4, 20)))]
                assert seen == [str(step) for step in range(len(seen))]
                last = len(seen) - 1
                if last < STEPS - 1:
                    kills += 1
                judge.send_signal(signal.SIGKILL)
    parts = released(theirs)
    assert {fact.part for fact in parts} == {BatchPart(step, 0).name for step in range(STEPS)}
    first = [fact.part for fact in parts if not fact.again]
    assert len(first) == len(set(first)) == STEPS
    assert sum(fact.again for fact in parts) <= kills  # one connection, so one part at a time is on its way


def test_a_server_that_is_killed_and_started_again_is_not_missed(tmp_path: Path) -> None:
    theirs, mine = folder_of(tmp_path, "prover"), folder_of(tmp_path, "judge")
    with process("serve", theirs, 0) as server:
        url = line(server)
        with process("ask", mine, url) as judge:
            seen = [line(judge) for _ in range(10)]
            server.send_signal(signal.SIGKILL)
            server.wait()
            with process("serve", theirs, url.rpartition(":")[2]) as again:
                assert line(again) == url
                seen += [line(judge) for _ in range(STEPS - 10)]
                assert judge.wait() == 0
    assert seen == [str(step) for step in range(STEPS)]
    assert len([fact for fact in releases.read(theirs / "releases.jsonl") if isinstance(fact, Admitted)]) == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
def test_a_thousand_requests_in_flat_memory(tmp_path: Path) -> None:
    theirs = folder_of(tmp_path, "prover")
    scene = scene_in(folder_of(tmp_path, "judge"))
    asked, sizes = document(scene), []
    with process("serve", theirs, 0) as server:
        url = line(server)
        for number in range(200):
            wire = Wire(url, Tls(JUDGE, [PROVER.key], server=False))
            wire.open(asked)
            for step in range(5 * (number % 10), 5 * (number % 10) + 5):
                with wire.get(request.digest(asked), BatchPart(step, 0).name, MAX_PART) as (_, chunks):
                    assert sum(map(len, chunks)) > 0
            wire.close()
            sizes.append(resident(server.pid))
    assert len(released(theirs)) == 1_000
    assert max(sizes[100:]) - sizes[99] < 4 << 20  # bytes, over 500 requests on 100 connections


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
