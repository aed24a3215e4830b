"""Name what a run's log consists of (SPEC.md, "Entries"); `spelling` turns it into bytes and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from polarchive.format.commitment import BatchRow
from polarchive.format.merkle import Digest
from polarchive.format.note import VerifierKey
from polarchive.format.schema import Schema
from polarchive.format.tensors import Layout

VERSION: Final = "polarchive/v1"
Hyper: TypeAlias = Mapping[str, float | bool | None]


@dataclass(frozen=True, slots=True)
class Commitment:
    """Say how batches are committed: `fed`, record by record, or `indexed` into a dataset committed once."""

    mode: str
    salted: bool
    root: Digest | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Initial:
    """Explain state 0: `seeded` with an integer, taken from a `parent` archive's state, or `unexplained`."""

    kind: str
    seed: int | None = None
    archive: Digest | None = None
    state: Digest | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """Open the log: what is fixed before the first step."""

    run: bytes
    key: VerifierKey
    every: int
    world: int
    micro: int
    schema: Schema
    commitment: Commitment
    layout: Layout
    root: Digest
    initial: Initial
    source: Digest | None
    stack: Mapping[str, str]
    probe: Mapping[str, Digest]


@dataclass(frozen=True, slots=True)
class Rows:
    """Commit to the step rows of a segment: their bytes with line ends, and the root over their lines."""

    size: int
    root: Digest


@dataclass(frozen=True, slots=True)
class Segment:
    """Commit to the steps between two recorded states; its opening state is its predecessor's closing one."""

    index: int
    first: int
    steps: int
    records: int
    rows: Rows
    hyper: Hyper
    root: Digest
    stored: bool
    epoch: int
    not_before: Digest | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Close the log: final state, steps and records in all. Nothing follows it."""

    root: Digest
    steps: int
    records: int


@dataclass(frozen=True, slots=True)
class StepRow:
    """Commit to one step: its batches and, where they differ from the step before, its hyper-parameters."""

    step: int
    batches: tuple[BatchRow, ...]
    hyper: Hyper | None = None


Entry: TypeAlias = Segment | End
