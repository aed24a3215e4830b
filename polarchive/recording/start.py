"""Begin a run, or go on with one, and say where it stands."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polarchive.errors import RecordingError
from polarchive.format import attach, disk, journal, log, merkle
from polarchive.format.archive import Archive
from polarchive.format.attached import Attached
from polarchive.format.entry import Commitment, Hyper
from polarchive.format.journal import Journal, Run
from polarchive.format.log import Log
from polarchive.format.merkle import Digest
from polarchive.format.note import Signer, VerifierKey
from polarchive.format.schema import Schema
from polarchive.format.sources import Recorded
from polarchive.format.tensors import Array, size_of
from polarchive.recording.background import Background
from polarchive.recording.dataset import Dataset
from polarchive.recording.recorder import Position, Recorder, Recording, Task
from polarchive.recording.stamping import Stamping
from polarchive.trust.keys import SECRET_SIZE, read_secret, write_private


@dataclass(frozen=True, slots=True)
class Wanted:
    """Say what run a writer wants to record; without `run` a fresh one gets an id of its own."""

    folder: Path
    key: VerifierKey
    every: int
    micro: int
    salted: bool
    store: int
    dataset: Dataset | None = None
    run: bytes | None = None
    stamps: Stamping | None = None

    @property
    def commitment(self) -> Commitment:
        """Return how its batches are committed."""
        if self.dataset is None:
            return Commitment("fed", self.salted)
        return Commitment("indexed", self.dataset.secret is not None, self.dataset.root, len(self.dataset))


@dataclass(frozen=True, slots=True)
class Begun:
    """Hold a run directory that is open for recording; of one that goes on, also what was recorded last.

    `dropped` bytes followed its last signed head: what was not acknowledged when it was broken off, or is damaged.
    """

    journal: Journal
    task: Task
    schema: Schema | None
    state: Mapping[str, Array] | None = None
    hyper: Hyper | None = None
    dropped: int = 0

    def recording(self, signer: Signer, background: bool) -> Recording:
        """Return what records it: a process of its own, or the calls themselves."""
        return (Background if background else Recorder)(self.journal, self.task, signer)


def begin(wanted: Wanted, resume: bool) -> Begun:
    """Begin a run in its directory, or with `resume` go on with the one that is there.

    RecordingError if the directory is in use, or holds a run that is not to be resumed, is finished or is another.
    """
    goes_on = resume and (wanted.folder / journal.JOURNAL).exists()
    kept, run = Journal.reopen(wanted.folder) if goes_on else (Journal.create(wanted.folder), None)
    try:
        return _resumed(wanted, kept, run) if run else _fresh(wanted, kept)
    except BaseException:
        kept.close()
        raise


def _fresh(wanted: Wanted, kept: Journal) -> Begun:
    kept.keep_only([])
    attach.keep_only(wanted.folder, 0)
    return Begun(kept, _task(wanted, wanted.run or secrets.token_bytes(16), Position()), _schema(wanted))


def _resumed(wanted: Wanted, kept: Journal, run: Run) -> Begun:
    checked = log.check(run.header, run.lines, run.notes)
    _require_same(wanted, checked)
    if wanted.commitment.salted and not (wanted.folder / journal.SECRET).exists():
        raise RecordingError(f"{wanted.folder}: its secret is gone, without which no batch of it can be shown")
    attach.keep_only(wanted.folder, len(checked.raw))
    with Archive(wanted.folder, checked, Recorded(run), None) as archive:
        last = archive.segments[-1] if archive.segments else None
        state = archive.state(-1)
        hyper = archive.steps(last.index)[-1].hyper if last else None
        stamp = _newest(archive.attached)
    stored = {checked.header.root, *(segment.root for segment in checked.segments if segment.stored)}
    root = last.root if last else checked.header.root
    kept.keep_only({*stored, root})
    at = Position(
        segments=len(checked.segments),
        steps=sum(segment.steps for segment in checked.segments),
        records=sum(segment.records for segment in checked.segments),
        root=root,
        stored=last is None or last.stored,
        passing=root not in stored,
        leaves=tuple(map(merkle.leaf, checked.raw)),
        first=size_of(checked.header.layout),
        epoch=kept.next_epoch(1 + (last.epoch if last else 0)),
        stamp=stamp,
    )
    return Begun(kept, _task(wanted, checked.header.run, at), checked.header.schema, state, hyper, run.dropped)


def _newest(attached: Attached) -> Digest | None:
    """Return the digest of the stamp with the latest time, by its own account."""
    newest = max(attached.stamps, key=lambda each: (each.stamp.time, each.size, each.number), default=None)
    return newest.stamp.digest if newest else None


def _task(wanted: Wanted, run: bytes, at: Position) -> Task:
    secret = _secret(wanted)
    leaves = None
    if wanted.dataset is not None:
        leaves = wanted.folder / journal.DATASET
        with disk.replacing(leaves) as file:
            file.write(wanted.dataset.leaves)
    return Task(wanted.folder, wanted.key, run, secret, wanted.micro, wanted.store, leaves, at, wanted.stamps)


def _schema(wanted: Wanted) -> Schema | None:
    return wanted.dataset.schema if wanted.dataset else None


def _secret(wanted: Wanted) -> bytes | None:
    """Return the run's secret, which is made once and on disk before anything is committed under it."""
    if not wanted.commitment.salted:
        return None
    path = wanted.folder / journal.SECRET
    if path.exists():
        return read_secret(path)
    secret = wanted.dataset.secret if wanted.dataset else secrets.token_bytes(SECRET_SIZE)
    assert secret is not None
    write_private(path, secret.hex().encode() + b"\n")
    return secret


def _require_same(wanted: Wanted, found: Log) -> None:
    header = found.header
    if found.end is not None:
        raise RecordingError(f"{wanted.folder}: the run is finished; nothing can follow its end")
    pairs = {
        "signer": (header.key, wanted.key),
        "every": (header.every, wanted.every),
        "accumulate": (header.micro, wanted.micro),
        "dataset or salted": (header.commitment, wanted.commitment),
        "run": (header.run, wanted.run or header.run),
    }
    for name, (recorded, asked) in pairs.items():
        if recorded != asked:
            raise RecordingError(f"{wanted.folder}: recorded with another {name} ({recorded}, not {asked})")
