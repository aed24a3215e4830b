"""Hold readers to little memory and few bytes: hostile files are opened, inspected and sealed under a resource limit.

    python -m tests.test_bounds FILE …

prints what each step said of each file, as lines of JSON, in a process that may grow by 512 MiB and never loads torch.
"""

import json
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from polarchive.errors import FormatError, Reason
from polarchive.format import attach, container, frames, merkle, note
from polarchive.format import zip as layout
from polarchive.format.archive import open_archive
from polarchive.format.canonical import encode
from polarchive.format.delta import MAGIC
from polarchive.format.entry import Commitment
from polarchive.format.inspect import inspect
from polarchive.format.limits import (
    MAX_ATTACHED,
    MAX_BRACKETS,
    MAX_DATASET,
    MAX_ENTRIES,
    MAX_ENTRIES_SIZE,
    MAX_HEADER,
    MAX_INDEX,
    MAX_MEMBERS,
    MAX_STAMP,
    MAX_TENSORS,
    MAX_TENSORS_HEADER,
    MAX_VALUES,
)
from polarchive.format.zip import Listed
from tests.authority import Authority
from tests.simulator import Member, at, changed
from tools.catalogue import OK, Vector
from tools.catalogue.forge import (
    NONE,
    ONE,
    Part,
    data_of,
    forged,
    members_of,
    parts_of,
    plus,
    put,
    with_members,
    zipped,
)
from tools.catalogue.large import layout as layout_of
from tools.catalogue.stamps import der
from tools.catalogue.tensor_files import sized

GROWTH = 512 << 20
READ = 512 << 20
SECONDS = 60
TERABYTE = 1 << 40
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "vectors"
TSA = Authority("tsa")
HEAD = note.imprint(NONE.run().notes[0])
Files = list[tuple[str, bytes | int]]

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")


def probe(paths: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Open, inspect and seal each file, and yield what came of it, how much was read, and how large the process was."""
    assert "torch" not in sys.modules
    before = _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (before + GROWTH, before + GROWTH))
    for path in paths:
        for step in (_open, inspect, _seal):
            start, read = time.monotonic(), _read_so_far()
            outcome = _outcome(step, path)
            yield {
                "step": step.__name__,
                "outcome": outcome,
                "read": _read_so_far() - read,
                "seconds": time.monotonic() - start,
                "growth": _status("VmPeak") - before,
            }


def _open(path: str) -> None:
    open_archive(path, trusted=None).close()


def _seal(path: str) -> None:
    with open_archive(path, trusted=None) as archive:
        archive.seal()


def _outcome(step: Callable[[str], object], path: str) -> str:
    try:
        step(path)
    except FormatError as error:
        return error.reason
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return OK


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key + ":"))


def _read_so_far() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def probed(*paths: Path) -> list[dict[str, Any]]:
    """Return what a process of its own found in these files."""
    command = [sys.executable, "-m", "tests.test_bounds", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def with_index(index: bytes) -> bytes:
    """Return a ZIP that holds an index alone."""
    return zipped([Part(container.INDEX.encode(), index)])


def filled(piece: bytes, size: int) -> bytes:
    """Return a JSON array of one value again and again, of at most so many bytes."""
    return b"[" + b",".join([piece] * ((size - 1) // (len(piece) + 1))) + b"]"


def pairs(count: int, size: int) -> bytes:
    """Return a JSON object of so many different keys and values, of about so many bytes."""
    width = size // count // 2 - 3
    return b"{" + b",".join(b'"%0*x":"%0*x"' % (width, n, width, n) for n in range(count)) + b"}"


def nested(opening: bytes, closing: bytes, depth: int, count: int) -> bytes:
    """Return a JSON array of so many values that are each so deep."""
    return b"[" + b",".join([opening * depth + b"[]" + closing * depth] * count) + b"]"


def listed(count: int) -> list[dict[str, str]]:
    """Return the rows of an index of so many empty states."""
    row = {"size": "0", "crc32": "0", "sha256": sha256(b"").hexdigest()}
    return [{"name": container.state_name(number), **row} for number in range(count)]


def replaced(name: str, data: bytes) -> bytes:
    """Return an archive one of whose members has other bytes."""
    return with_members(data_of(name, lambda _: data), ONE)


def entries_of(count: int, settings: int) -> bytes:
    """Return so many segments that have so many hyper-parameters each, all of different names and values."""
    line, found = json.loads(ONE.run().lines[1]), []
    for index in range(count):
        hyper = {f"{number:08}": f"i{number + 1}" for number in range(index * settings, (index + 1) * settings)}
        found.append(encode({**line, "index": str(index), "first": str(index), "hyper": hyper}) + b"\n")
    return b"".join(found)


def rows_of(count: int, settings: int = 0) -> bytes:
    """Return an archive of one segment of so many rows, all but the first of which add so many hyper-parameters."""
    row = json.loads(ONE.run().rows[0])

    def line(step: int) -> bytes:
        names = {f"{step * settings + number:08}": "i1" for number in range(settings)}
        return encode({**row, "step": str(step), "hyper": names if step and names else None})

    lines = [line(step) for step in range(count)]
    totals = changed(steps=count, records=count)
    return forged(
        ONE,
        header=changed(every=count),
        row_lines=lambda _: [lines],
        entries=lambda entries: [*map(totals, entries)],
    )


def coded(text: bytes) -> bytes:
    """Return an archive whose state 1 is coded, with a layout of this description."""
    frame = frames.compress(text)
    layout = len(text).to_bytes(4, "big") + len(frame).to_bytes(4, "big") + frame
    member = MAGIC + bytes(8) + layout

    def change(members: list[Member]) -> list[Member]:
        return sorted([*members[:-1], (container.coded_name(1), member)])

    return with_members(change, ONE)


def dataset_of(count: int) -> bytes:
    """Return an archive in indexed mode of a dataset of so many records that nobody uses."""
    data = bytes(merkle.SIZE * count)
    commitment = Commitment("indexed", True, merkle.Digests(data).root(), count)
    return forged(NONE, header=changed(commitment=commitment), members=plus(container.DATASET, data))


def stamped(stamp: bytes, count: int = 1) -> bytes:
    """Return an archive that has so many copies of a stamp over its only head."""
    names = [container.stamp_name(1, number) for number in range(count)]
    return with_members(lambda members: sorted([*members, *((name, stamp) for name in names)]))


def saying(said: str, size: int = MAX_STAMP) -> bytes:
    """Return an honest stamp in a response of this size, which says something again and again."""
    times = (size - 2048) // len(said)
    room = size - len(TSA.stamp(HEAD, None, said=said * times))
    return TSA.stamp(HEAD, None, said=said * times + " " * room)


def holding(certificate: bytes) -> bytes:
    """Return a stamp as large as may be that holds a certificate again and again, the last one first."""
    sent = [certificate] * ((MAX_STAMP - 2048) // len(certificate))
    return replace(TSA, certificates=lambda own: [b"\x31\0", *own, *sent]).stamp(HEAD, None)


def sparse(path: Path, files: Files) -> Path:
    """Write a ZIP of these members, of which those that are given by their size are holes in the file."""
    listed, offset = [], 0
    with path.open("wb") as file:
        for name, data in files:
            listed.append(_listed(name, data))
            head = layout.local_header(listed[-1], offset)
            file.seek(offset)
            file.write(head if isinstance(data, int) else head + data)
            offset += len(head) + listed[-1].size
        file.seek(offset)
        file.write(layout.directory(listed))
    return path


def hollow(name: str, size: int = TERABYTE) -> Files:
    """Return the members of an archive one of which is a hole of so many bytes, with an index that tells its size."""
    members = {**dict(members_of(ONE)), name: b""}
    files = [(found, size if found == name else data) for found, data in sorted(members.items())]
    rows = [_row(_listed(found, data)) for found, data in files]
    return [*files, (container.INDEX, encode({"members": rows}))]


def hollows(count: int) -> Files:
    """Return the members of an archive with so many stamps of the greatest size over its heads, all of them holes."""
    names = [container.stamp_name(size, number) for size in (1, 2, 3) for number in range(count // 3 + 1)]
    files = sorted([*members_of(ONE), *((name, MAX_STAMP) for name in names)])
    rows = [_row(_listed(found, data)) for found, data in files]
    return [*files, (container.INDEX, encode({"members": rows}))]


def _listed(name: str, data: bytes | int) -> Listed:
    if isinstance(data, int):
        return Listed(name, data, 0, bytes(32))
    return Listed(name, len(data), zlib.crc32(data), sha256(data).digest())


def _row(one: Listed) -> dict[str, str]:
    return {"name": one.name, "size": str(one.size), "crc32": str(one.crc32), "sha256": one.sha256.hex()}


STATE = container.state_name(1)
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "index_of_brackets": (lambda: with_index(b"[" * (64 << 20)), Reason.LIMIT),
    "index_of_the_greatest_size": (lambda: with_index(filled(b"[]", MAX_INDEX)), Reason.LIMIT),
    "index_of_pairs": (lambda: with_index(pairs(MAX_VALUES, MAX_INDEX - 8)), Reason.INDEX),
    "index_as_deep_as_python_goes": (lambda: with_index(nested(b"[", b"]", 450, MAX_BRACKETS // 460)), Reason.JSON),
    "index_of_deep_objects": (lambda: with_index(nested(b'{"":', b"}", 450, MAX_BRACKETS // 460)), Reason.JSON),
    "index_of_members_that_are_not_there": (
        lambda: with_index(encode({"members": listed(MAX_MEMBERS)})),
        Reason.MEMBER,
    ),
    "index_of_too_many_members": (lambda: with_index(encode({"members": listed(MAX_MEMBERS + 1)})), Reason.LIMIT),
    "most_members": (
        lambda: zipped(parts_of([*members_of(NONE)[:4], *((row["name"], b"") for row in listed(MAX_MEMBERS - 4))])),
        Reason.MEMBER,
    ),
    "header_of_pairs": (lambda: replaced(container.HEADER, pairs(MAX_HEADER // 24, MAX_HEADER - 8)), Reason.FIELD),
    "header_of_the_most_tensors": (
        lambda: forged(NONE, lines=at(0, put("layout", to=layout_of(MAX_TENSORS, 64)))),
        Reason.STATE,
    ),
    "entries_of_line_ends": (lambda: replaced(container.ENTRIES, b"\n" * MAX_ENTRIES_SIZE), Reason.LIMIT),
    "entries_of_objects": (lambda: replaced(container.ENTRIES, b"{}\n" * (MAX_ENTRIES - 1)), Reason.FIELD),
    "entries_too_large": (lambda: replaced(container.ENTRIES, b"x" * (MAX_ENTRIES_SIZE + 1)), Reason.LIMIT),
    "entries_of_the_most_settings": (
        lambda: replaced(container.ENTRIES, entries_of(2 * MAX_VALUES // 4020, 4000)),
        Reason.HEAD,
    ),
    "heads_of_line_ends": (lambda: replaced(container.HEADS, b"\n" * (1 << 20)), Reason.LIMIT),
    "rows_of_line_ends": (
        lambda: forged(
            ONE,
            header=changed(every=1 << 20),
            row_lines=lambda _: [[b""] * (1 << 20)],
            entries=lambda entries: [*map(changed(steps=1 << 20), entries)],
        ),
        Reason.JSON,
    ),
    "rows_that_add_settings": (lambda: rows_of(600, 4096), Reason.FIELD),
    "state_of_arrays": (lambda: replaced(STATE, sized(filled(b"[]", MAX_TENSORS_HEADER))), Reason.LIMIT),
    "state_of_deep_arrays": (lambda: replaced(STATE, sized(nested(b"[", b"]", 450, 1100))), Reason.TENSORS),
    "state_of_pairs": (lambda: replaced(STATE, sized(pairs(MAX_VALUES, MAX_TENSORS_HEADER - 8))), Reason.TENSORS),
    "state_of_integers": (lambda: replaced(STATE, sized(filled(b"1" * 40, MAX_TENSORS_HEADER))), Reason.TENSORS),
    "coded_description_of_brackets": (lambda: coded(b"[" * MAX_TENSORS_HEADER), Reason.LIMIT),
    "coded_description_of_pairs": (lambda: coded(pairs(MAX_VALUES, MAX_TENSORS_HEADER - 8)), Reason.FIELD),
    "coded_description_of_zeros": (lambda: coded(bytes(MAX_TENSORS_HEADER)), Reason.JSON),
    "dataset_of_the_most_records": (lambda: dataset_of(MAX_DATASET), OK),
    "stamp_of_the_greatest_size": (lambda: stamped(saying("x")), OK),
    "stamp_of_zeros": (lambda: stamped(bytes(MAX_STAMP)), Reason.STAMP),
    "stamp_of_sequences_in_sequences": (lambda: stamped(b"\x30\x80" * (MAX_STAMP // 2)), Reason.STAMP),
    "stamp_of_many_certificates": (lambda: stamped(holding(b"\x30\0")), Reason.STAMP),
    "stamp_of_its_certificate_many_times": (lambda: stamped(holding(der(TSA.root))), Reason.STAMP),
    "stamps_as_many_as_a_head_has": (lambda: stamped(saying("x"), attach.MOST), OK),
}
SLOW = {
    "index_of_pairs",
    "index_of_members_that_are_not_there",
    "most_members",
    "header_of_pairs",
    "header_of_the_most_tensors",
    "entries_of_the_most_settings",
    "rows_of_line_ends",
    "rows_that_add_settings",
    "coded_description_of_pairs",
    "index_of_the_greatest_size",
    "state_of_pairs",
    "dataset_of_the_most_records",
}
HOLLOW: dict[str, tuple[Callable[[], Files], str]] = {
    "header": (lambda: hollow(container.HEADER), Reason.LIMIT),
    "entries": (lambda: hollow(container.ENTRIES), Reason.LIMIT),
    "rows": (lambda: hollow(container.ROWS), Reason.ROWS),
    "heads": (lambda: hollow(container.HEADS), Reason.LIMIT),
    "stamp": (lambda: hollow(container.stamp_name(1, 0)), Reason.LIMIT),
    "cosignatures": (lambda: hollow(container.cosignatures_name(1)), Reason.LIMIT),
    "stamps": (lambda: hollows(MAX_ATTACHED // MAX_STAMP + 1), Reason.LIMIT),
    "state_0": (lambda: hollow(container.state_name(0)), Reason.TENSORS),
    "state_1": (lambda: hollow(STATE), Reason.TENSORS),
    "index": (lambda: [(container.INDEX, TERABYTE)], Reason.LIMIT),
}


def assert_bounded(found: list[dict[str, Any]], reason: str) -> None:
    """Hold what `probe` found of one file to what was expected, and to the bounds."""
    opened, inspected, sealed = (each["outcome"] for each in found)
    assert sealed == reason and opened in (OK, reason)
    assert inspected in {OK, *Reason}
    assert all(each["growth"] < GROWTH and each["read"] < READ and each["seconds"] < SECONDS for each in found)


@pytest.mark.parametrize(
    ("make", "reason"),
    [pytest.param(*case, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, case in HOSTILE.items()],
)
def test_hostile_files_cost_little(make: Callable[[], bytes], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pol"
    path.write_bytes(make())
    assert_bounded(probed(path), reason)


@pytest.mark.parametrize(("make", "reason"), HOLLOW.values(), ids=HOLLOW)
def test_terabytes_that_are_not_there_cost_nothing(make: Callable[[], Files], reason: str, tmp_path: Path) -> None:
    assert_bounded(probed(sparse(tmp_path / "run.pol", make())), reason)


def test_archive_vectors_cost_little(tmp_path: Path) -> None:
    vectors = [Vector.decode(file.read_bytes()) for file in sorted(FOLDER.glob("archive-*.vec"))]
    for vector in vectors:
        (tmp_path / vector.name).write_bytes(vector.body)
    found = probed(*(tmp_path / vector.name for vector in vectors))
    for number, vector in enumerate(vectors):
        assert_bounded(found[3 * number : 3 * number + 3], vector.expect)
    assert found[-1]["growth"] < 64 << 20


if __name__ == "__main__":
    for line in probe(sys.argv[1:]):
        print(json.dumps(line), flush=True)
