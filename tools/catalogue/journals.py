"""Make journals of run directories, whole, torn and wrong; the bytes are those of the file `journal`."""

import tempfile
from pathlib import Path

from polarchive.errors import Reason
from polarchive.format import journal
from tests.simulator import Simulation
from tools.catalogue import OK, Made, vector
from tools.catalogue.forge import TWO

SPEC = "Run directory"


def journal_of(simulation: Simulation) -> bytes:
    """Return the journal of a simulated run."""
    with tempfile.TemporaryDirectory() as folder:
        return (simulation.record(Path(folder) / "run") / journal.JOURNAL).read_bytes()


def frames_of(data: bytes) -> list[bytes]:
    """Cut a journal into its first line and its frames."""
    frames, start = [data[: len(journal.MAGIC)]], len(journal.MAGIC)
    while start < len(data):
        size = 4 + 1 + int.from_bytes(data[start : start + 4], "big") + 8
        frames.append(data[start : start + size])
        start += size
    return frames


RUN = journal_of(TWO)
FRAMES = frames_of(RUN)
MAGIC, HEADER, HEAD_1, ROWS_1, SEGMENT_1, HEAD_2, ROWS_2, SEGMENT_2, HEAD_3, END, HEAD_4 = FRAMES


def kept(*frames: bytes, tail: bytes = b"", **more: object) -> Made:
    """Return a journal of these frames, with how many bytes of it a reader drops."""
    return b"".join(frames) + tail, {"dropped": len(tail), **more}


@vector("journal", OK, SPEC)
def whole() -> Made:
    """The journal of a finished run."""
    return kept(RUN)


@vector("journal", OK, SPEC)
def only_a_header() -> Made:
    """A run that was signed before its first step."""
    return kept(MAGIC, HEADER, HEAD_1)


@vector("journal", OK, SPEC)
def torn_in_a_frame() -> Made:
    """The last head was cut off by a crash: it is dropped, and the end that it would have covered."""
    return kept(*FRAMES[:9], tail=END + HEAD_4[:-1])


@vector("journal", OK, SPEC)
def torn_in_a_length() -> Made:
    """The length of a frame was cut off by a crash."""
    return kept(*FRAMES[:9], tail=END[:3])


@vector("journal", OK, SPEC)
def torn_after_rows() -> Made:
    """Rows without the segment that would commit to them are dropped."""
    return kept(*FRAMES[:6], tail=ROWS_2)


@vector("journal", OK, SPEC)
def torn_after_a_segment() -> Made:
    """A segment that no head covers is dropped, and its rows with it."""
    return kept(*FRAMES[:6], tail=ROWS_2 + SEGMENT_2)


@vector("journal", OK, SPEC)
def zeros_after() -> Made:
    """Zeros that a file system left after a crash are dropped."""
    return kept(RUN, tail=bytes(64))


@vector("journal", OK, SPEC)
def frame_of_a_huge_length_after() -> Made:
    """A frame that says it has 4 GiB is dropped."""
    return kept(RUN, tail=b"\xff\xff\xff\xffE")


@vector("journal", OK, SPEC)
def frame_of_a_wrong_check() -> Made:
    """What follows a frame whose check differs is dropped, however whole it looks."""
    return kept(*FRAMES[:9], tail=END[:-1] + bytes([END[-1] ^ 1]) + HEAD_4)


@vector("journal", Reason.JOURNAL, SPEC)
def empty() -> Made:
    """No bytes."""
    return kept(b"")


@vector("journal", Reason.JOURNAL, SPEC)
def of_another_kind() -> Made:
    """Another first line."""
    return kept(MAGIC.replace(b"v1", b"v2"), *FRAMES[1:])


@vector("journal", Reason.JOURNAL, SPEC)
def first_line_alone() -> Made:
    """A journal without frames."""
    return kept(MAGIC)


@vector("journal", Reason.JOURNAL, SPEC)
def nothing_signed() -> Made:
    """A header that no head covers."""
    return kept(MAGIC, HEADER)


@vector("journal", Reason.JOURNAL, SPEC)
def torn_before_the_first_head() -> Made:
    """The first head was cut off by a crash."""
    return kept(MAGIC, HEADER, HEAD_1[:-1])


@vector("journal", Reason.JOURNAL, SPEC)
def header_missing() -> Made:
    """The first frame is a head."""
    return kept(MAGIC, HEAD_1)


@vector("journal", Reason.JOURNAL, SPEC)
def header_twice() -> Made:
    """A second header follows the first."""
    return kept(MAGIC, HEADER, HEADER, *FRAMES[2:])


@vector("journal", Reason.JOURNAL, SPEC)
def frame_of_an_unknown_kind() -> Made:
    """A frame of the kind X stands among the others."""
    return kept(MAGIC, HEADER, journal.frame(b"X", b""), *FRAMES[2:])


@vector("journal", Reason.ENTRY, SPEC)
def segments_swapped() -> Made:
    """Two segments have changed places, and their heads stay."""
    return kept(MAGIC, HEADER, HEAD_1, ROWS_2, SEGMENT_2, HEAD_2, ROWS_1, SEGMENT_1, HEAD_3)


@vector("journal", Reason.HEAD, SPEC)
def head_twice() -> Made:
    """A head stands in the journal twice."""
    return kept(MAGIC, HEADER, HEAD_1, HEAD_1)


@vector("journal", Reason.HEAD, SPEC)
def head_before_its_entry() -> Made:
    """The head of size 2 comes before the entry it covers."""
    return kept(MAGIC, HEADER, HEAD_1, HEAD_2)


@vector("journal", Reason.SIGNATURE, SPEC)
def head_changed() -> Made:
    """A head in a whole frame was changed after it was signed."""
    signed = HEAD_1[5:-8].replace(b"\n1\n", b"\n2\n")
    return kept(MAGIC, HEADER, journal.frame(b"N", signed))


@vector("journal", Reason.ROWS, SPEC, by="rows")
def rows_missing() -> Made:
    """A segment without a frame of its rows."""
    return kept(MAGIC, HEADER, HEAD_1, SEGMENT_1, HEAD_2)


@vector("journal", Reason.ROWS, SPEC, by="rows")
def rows_changed() -> Made:
    """The rows in a whole frame are not those that the segment commits to."""
    changed = ROWS_1[5:-8].replace(b'"count":"1"', b'"count":"2"', 1)
    return kept(MAGIC, HEADER, HEAD_1, journal.frame(b"R", changed), SEGMENT_1, HEAD_2)


@vector("journal", Reason.STATE, SPEC, by="state")
def state_missing() -> Made:
    """The states of a run are not in its directory."""
    return kept(RUN)
