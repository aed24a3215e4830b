"""Write the report of tools/bench_coding.py."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from polarchive.recording.coder import KEYFRAMES

COUNTS = (8, 16, 32, 64)
HEAD = """
Made by `python tools/bench_coding.py`. Whole states (parameters, buffers, optimizer state), each coded against the one
k steps before; the mean of two that follow one another; every one came back bit for bit. `ZipNN delta` is ZipNN given
the earlier state, `pcodec` codes differences of integers. The entropy bound is the empirical zero-order entropy, block
by block of 2^17 words, of the length and leading seven bits of our distances, all other bits in full, with the
correction of Miller and Madow: it bounds coders that use our predictions, and no others.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """Hold what was measured of one workload and k: raw bytes by stored ones, and MB/s by who codes."""

    name: str
    k: int
    raw_mb: float
    ratios: dict[str, float]
    encode: dict[str, float]
    decode: float


def markdown(found: dict[str, Any], rows: list[Row]) -> str:
    """Return the report."""
    parts = [
        "# How small states become",
        f"{found['date']}; {found['machine']}; torch {found['torch']}, one thread.{HEAD}".rstrip(),
        "Raw bytes by stored bytes:",
        sizes(rows),
        "MB of raw state per second and core:",
        speeds(rows),
        f"With a keyframe every so many states ({KEYFRAMES} by default), which lies in full: raw by stored bytes, and\n"
        "in how many milliseconds the last state before the next keyframe is decoded:",
        keyframes(rows),
    ]
    return "\n\n".join(parts) + "\n"


def sizes(rows: list[Row]) -> str:
    who = list(rows[0].ratios)
    return table(
        ["state", "k", "MB", *who], [[*named(r), r.raw_mb, *(f"{r.ratios[w]:.3f}" for w in who)] for r in rows]
    )


def speeds(rows: list[Row]) -> str:
    """Return how fast all encode, how fast we decode, and how our encoding compares with that of ZipNN."""
    who = list(rows[0].encode)
    peers = [each for each in who if each.startswith("ZipNN")]
    head = ["state", "k", *(f"{each} encode" for each in who), "decode", *(f"encode by {each}'s" for each in peers)]
    return table(
        head,
        [
            [*named(r), *r.encode.values(), r.decode, *(f"{r.encode['polarchive'] / r.encode[p]:.2f}" for p in peers)]
            for r in rows
        ],
    )


def keyframes(rows: list[Row]) -> str:
    """Return what other numbers of states to a keyframe would give."""

    def cell(row: Row, count: int) -> str:
        ratio = count / (1 + (count - 1) / row.ratios["polarchive"])
        return f"{ratio:.3f}, {1000 * (count - 1) * row.raw_mb / row.decode:.0f} ms"

    return table(["state", "k", *map(str, COUNTS)], [[*named(r), *(cell(r, count) for count in COUNTS)] for r in rows])


def named(row: Row) -> list[Any]:
    return [row.name, str(row.k)]


def table(head: list[str], rows: Iterable[list[Any]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(each if isinstance(each, str) else f"{each:.3g}" for each in line) + " |" for line in lines
    )
