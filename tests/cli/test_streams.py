"""Read what commands print, or do not read it, while the judge's own code prints too."""

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from polarchive.cli.exits import Exit
from tests.cli.test_cli import EXECUTABLE, JUDGE, Place, place, polarc, run
from tests.cli.test_exchange import Two, two

__all__ = ["place", "two"]  # the fixtures

NOISY: Final = """
print("loading")

def build_noisy(header, device):
    print("building")
    def weight():
        print("stepping")
        return 1.0
    return with_weight(weight)

def batches_noisy(step):
    print("showing")
    return batches(step)
"""


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """Write a judge that prints whatever it does."""
    (tmp_path / "judge.py").write_text(JUDGE.read_text() + NOISY)
    return tmp_path / "judge.py"


def verify(place: Place, *more: object, code: Path = JUDGE, kind: str = "", batches: str = "batches") -> list[object]:
    given = ["--trainer", f"{code}:build{kind}", "--batches", f"{code}:{batches}{kind}", "--secret", "run/secret"]
    return ["verify", "run.pol", "--key", "alice.pub", *given, *more]


COMMANDS: Final = {
    "accepted": (Exit.OK, {}),
    "rejected": (Exit.REJECTED, {"batches": "other_batches"}),
    "raising": (Exit.INTERNAL, {"batches": "batches_raising"}),
}


@pytest.mark.parametrize("both", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["stdout", "stderr too"])
@pytest.mark.parametrize(("code", "functions"), COMMANDS.values(), ids=COMMANDS)
def test_verdict_that_nobody_reads_is_the_same(code: Exit, functions: dict[str, str], both: bool, place: Place) -> None:
    assert unread([EXECUTABLE, *verify(place, **functions)], place, both) == code


@pytest.mark.parametrize(("command", "code"), [("inspect", Exit.OK), ("no-such-command", Exit.USAGE)])
def test_command_that_nobody_reads_ends_as_ever(command: str, code: Exit, place: Place) -> None:
    assert unread([EXECUTABLE, command, "run.pol"], place, both=True) == code


def unread(command: list[object], place: Place, both: bool) -> int:
    """Run a command whose reader has left, and return its exit code; nothing is said of that."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": writer, "stderr": writer if both else subprocess.PIPE}
    done = subprocess.run([str(part) for part in command], cwd=place.folder, check=False, **streams)
    os.close(writer)
    assert b"Broken pipe" not in (done.stderr or b"") and b"BrokenPipe" not in (done.stderr or b"")
    return done.returncode


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("--workers", "1"), marks=pytest.mark.slow)], ids=["here", "in a worker"]
)
def test_what_the_judges_code_prints_is_no_output(workers: tuple[str, ...], place: Place, noisy: Path) -> None:
    command = [str(part) for part in verify(place, "--json", *workers, code=noisy, kind="_noisy")]
    done = subprocess.run([EXECUTABLE, *command], cwd=place.folder, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.OK and done.stdout.startswith("{") and done.stdout.count("\n") == 1
    assert {*done.stderr.split()} == {"loading", "building", "stepping", "showing"}


def test_what_the_provers_code_prints_is_no_output(two: Two, noisy: Path) -> None:
    assert two.challenge().code == Exit.OK
    shown = ("--batches", f"{noisy}:batches_noisy", "--trainer", f"{noisy}:build_noisy")
    ours = ("--as", two / "alice.key", "--judge", two / "bob.pub", "-o", two / "answer.polr")
    done = polarc("respond", two / "challenge.json", two / "run", *ours, *shown)
    assert done.code == Exit.OK and done.out.startswith(f"{two / 'answer.polr'}: 4 segments")
    assert done.out.count("\n") == 1 and {*done.err.split()} == {"loading", "building", "stepping", "showing"}


def test_what_a_servers_own_code_prints_is_no_output(two: Two, noisy: Path) -> None:
    with two.serving(batches="batches_noisy", code=noisy) as url:  # which looks at what the server printed
        assert two.verify(url, "--select", "sample:0").code == Exit.OK


def test_output_that_nobody_could_read_from_the_start(place: Place) -> None:
    closed = run("sh", "-c", f"cd '{place.folder}' && '{EXECUTABLE}' inspect run.pol >&-")
    assert (closed.code, closed.err) == (Exit.OK, "")
