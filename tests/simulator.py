"""Simulate tiny recorded runs without torch: the same seed gives the same bytes, and each part is open to one fault.

`Simulation()` is an honest run. A hook changes one level of it, and all that lies above is then made honestly out of
what the hook returned, as a forger with the right key would do it: a false entry is signed by a head that covers it.

    Simulation(segments=3, entries=at(1, changed(first=7))).seal(path)
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256, shake_256
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from polarchive.format import archive, container, journal, merkle, note, tensors
from polarchive.format.commitment import Batch, Column, Opening, Salts, Texts, commit, index_salt, leaves, record
from polarchive.format.entry import Commitment, End, Entry, Header, Hyper, Initial, Rows, Segment, StepRow
from polarchive.format.journal import Journal
from polarchive.format.note import Head, Signer, VerifierKey
from polarchive.format.schema import Schema
from polarchive.format.spelling import encode_entry, encode_header, encode_row
from polarchive.format.tensors import Array
from polarchive.recording.coder import Coder

T = TypeVar("T")
State: TypeAlias = dict[str, Array]
Member: TypeAlias = tuple[str, bytes]
Hook: TypeAlias = Callable[[list[T]], list[T]]


def keep(parts: list[T]) -> list[T]:
    """Return the parts of one level as they are."""
    return parts


def at(index: int, change: Callable[[T], T]) -> Hook[T]:
    """Return the hook that changes one part of a level; `index` may count from the end."""

    def hook(parts: list[T]) -> list[T]:
        parts = list(parts)
        parts[index] = change(parts[index])
        return parts

    return hook


def changed(**fields: Any) -> Callable[[Any], Any]:
    """Return the function that gives a dataclass other values in `fields`."""
    return lambda part: replace(part, **fields)


@dataclass(frozen=True, slots=True)
class FakeSigner:
    """Sign with the Ed25519 key that a 32-byte seed makes."""

    name: str
    seed: bytes

    @property
    def key(self) -> VerifierKey:
        return VerifierKey(self.name, self._private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


PROVER = FakeSigner("prover.example/key", bytes(31) + b"\x01")
STRANGER = FakeSigner("stranger.example/key", bytes(31) + b"\x02")


@dataclass(frozen=True, slots=True)
class Run:
    """Hold every part of a simulated run.

    `openings` are those of every step's batches, `rows` the bytes of each segment's rows, `dataset` the leaves of a
    dataset in indexed mode.
    """

    header: Header
    states: list[State]
    openings: list[list[Opening]]
    dataset: list[bytes]
    rows: list[bytes]
    entries: list[Entry]
    lines: list[bytes]
    heads: list[Head]
    notes: list[bytes]

    @property
    def segments(self) -> list[Segment]:
        return [entry for entry in self.entries if isinstance(entry, Segment)]

    def stored(self) -> Iterator[tuple[int, bytes, State]]:
        """Yield index, committed root and tensors of every state that is stored."""
        yield 0, self.header.root, self.states[0]
        for index, segment in enumerate(self.segments[: len(self.states) - 1], 1):
            if segment.stored:
                yield index, segment.root, self.states[index]

    def members(self) -> list[Member]:
        """Return the members of the container that holds this run."""
        return [
            (container.HEADER, self.lines[0]),
            (container.ENTRIES, b"".join(line + b"\n" for line in self.lines[1:])),
            (container.ROWS, b"".join(self.rows)),
            (container.HEADS, b"".join(self.notes)),
            *([(container.DATASET, b"".join(self.dataset))] if self.dataset else []),
            *((container.state_name(index), spell_state(state)) for index, _, state in self.stored()),
        ]


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Describe a run by a few numbers and make it; the hooks, from `states` to `members`, plant faults.

    `last` is the number of steps of the last segment (`every`, if not given), `store` which states are kept (all), and
    `dataset` the size of a dataset in indexed mode (fed mode, if not given). `rows` and `row_lines` are lists of one
    list per segment, `openings` of one list per step.
    """

    segments: int = 2
    every: int = 2
    records: int = 3
    micro: int = 1
    last: int | None = None
    salted: bool = True
    dataset: int = 0
    seed: int = 0
    finished: bool = True
    store: Collection[int] | None = None
    signer: Signer = field(default=PROVER)

    states: Hook[State] = keep
    openings: Hook[list[Opening]] = keep
    rows: Hook[list[StepRow]] = keep
    row_lines: Hook[list[bytes]] = keep
    header: Callable[[Header], Header] = lambda header: header
    entries: Hook[Entry] = keep
    lines: Hook[bytes] = keep
    heads: Hook[Head] = keep
    notes: Hook[bytes] = keep
    members: Hook[Member] = keep

    def run(self) -> Run:
        """Make every part of the run."""
        states = self.states([state_of(self.seed, index) for index in range(self.segments + 1)])
        openings = self.openings([self._openings(step) for step in range(sum(self._steps()))])
        rows = self.rows(self._rows(openings))
        row_lines = self.row_lines([[encode_row(row) for row in segment] for segment in rows])
        entries = self.entries(self._entries(states, rows, row_lines))
        header = self.header(self._header(states[0]))
        lines = self.lines([encode_header(header), *(encode_entry(entry) for entry in entries)])
        heads = self.heads(_heads(note.origin(header.key, header.run), lines))
        notes = self.notes([note.sign(head, self.signer) for head in heads])
        joined = [b"".join(line + b"\n" for line in segment) for segment in row_lines]
        return Run(header, states, openings, self._leaves(), joined, entries, lines, heads, notes)

    def record(self, folder: Path) -> Path:
        """Write the run into a run directory, in the order in which a writer comes to know its parts."""
        run, writer, coder = self.run(), Journal.create(folder), Coder()
        states = {index: (root, state) for index, root, state in run.stored()}
        if run.dataset:
            (folder / journal.DATASET).write_bytes(b"".join(run.dataset))
        for number, line in enumerate(run.lines):
            if number in states:
                root, state = states[number]
                writer.store(root, *coder.store(number, state, hyper_of(number)))
            if 0 < number <= len(run.rows):
                writer.append(journal.ROWS, run.rows[number - 1])
            writer.append(journal.ENTRY if number else journal.HEADER, line)
            writer.sync()
            for signed in _due(run, number):
                writer.append(journal.HEAD, signed)
                writer.sync()
        writer.close()
        return folder

    def pack(self, path: Path) -> Path:
        """Record the run next to `path` and seal it as a prover does; a broken run is refused here."""
        archive.pack(self.record(path.with_suffix(".run")), path)
        return path

    def seal(self, path: Path) -> Path:
        """Seal the run without looking at it, as a forger does."""
        container.write(path, ((name, [data]) for name, data in self.members(self.run().members())))
        return path

    def _steps(self) -> list[int]:
        steps = [self.every] * self.segments
        return [*steps[:-1], self.last] if self.last is not None else steps

    def _openings(self, step: int) -> list[Opening]:
        start, found = 0, []
        for micro in range(self.micro):
            batch = batch_of(self.seed, step, micro, self.records)
            slots = self._salts().of(0, step, start, 1 + batch.count)
            start += 1 + batch.count
            found.append(self._chosen(batch, step, micro, slots) if self.dataset else Opening(batch, slots))
        return found

    def _chosen(self, batch: Batch, step: int, micro: int, slots: bytes) -> Opening:
        """Return the opening of the records that a batch takes out of the dataset."""
        indices, secret = self._indices(step, micro), self._salts().secret
        columns = take(self._records(), indices).columns
        salts = slots[:32] + b"".join(index_salt(secret, index) for index in indices)
        return Opening(replace(batch, columns=columns), salts)

    def _indices(self, step: int, micro: int) -> list[int]:
        return [byte % self.dataset for byte in self._bytes(f"indices {step} {micro}", self.records)]

    def _records(self) -> Batch:
        return replace(batch_of(self.seed, -1, 0, self.dataset), whole={})

    def _leaves(self) -> list[bytes]:
        salts = (index_salt(self._salts().secret, index) for index in range(self.dataset))
        return list(leaves(self._records(), b"".join(salts)))

    def _rows(self, openings: list[list[Opening]]) -> list[list[StepRow]]:
        steps = [self._row(step, parts) for step, parts in enumerate(openings)]
        return [steps[start : start + self.every] for start in range(0, len(steps), self.every)]

    def _row(self, step: int, openings: list[Opening]) -> StepRow:
        rows = [commit(opening.batch, opening.salts) for opening in openings]
        if self.dataset:
            rows = [replace(row, indices=tuple(self._indices(step, micro))) for micro, row in enumerate(rows)]
        return StepRow(step, tuple(rows), {"sgd/0/lr": hyper_of(step)["sgd/0/lr"]} if step % self.every else None)

    def _header(self, state: State) -> Header:
        return Header(
            run=self._salts().run,
            key=self.signer.key,
            every=self.every,
            world=1,
            micro=self.micro,
            schema=Schema.of(batch_of(self.seed, 0, 0, 1), exact=True, bounds={"image": (0, 255)}),
            commitment=self._commitment(),
            layout=tensors.layout_of(state),
            root=tensors.root_of(state),
            initial=Initial("seeded", seed=self.seed),
            source=self._bytes("source", 32),
            stack={"device": "none", "polarchive": "simulated"},
            probe={"none": self._bytes("probe", 32)},
        )

    def _commitment(self) -> Commitment:
        if self.dataset:
            return Commitment("indexed", self.salted, merkle.root(self._leaves()), self.dataset)
        return Commitment("fed", self.salted)

    def _entries(self, states: list[State], rows: list[list[StepRow]], lines: list[list[bytes]]) -> list[Entry]:
        made = [
            self._segment(index, states[index + 1], *parts) for index, parts in enumerate(zip(rows, lines, strict=True))
        ]
        if not self.finished:
            return [*made]
        totals = sum(segment.steps for segment in made), sum(segment.records for segment in made)
        return [*made, End(tensors.root_of(states[-1]), *totals)]

    def _segment(self, index: int, state: State, rows: list[StepRow], lines: list[bytes]) -> Segment:
        return Segment(
            index=index,
            first=index * self.every,
            steps=len(rows),
            records=sum(batch.count for row in rows for batch in row.batches),
            rows=Rows(sum(len(line) + 1 for line in lines), merkle.root(map(merkle.leaf, lines))),
            hyper=hyper_of(index * self.every),
            root=tensors.root_of(state),
            stored=self.store is None or index + 1 in self.store,
            epoch=0,
        )

    def _salts(self) -> Salts:
        return Salts(self._bytes("secret", 32) if self.salted else None, self._bytes("run", 16))

    def _bytes(self, label: str, size: int) -> bytes:
        return noise(self.seed, label, size)


def noise(seed: int, label: str, size: int) -> bytes:
    """Return `size` bytes that a seed and a label determine."""
    return shake_256(f"{seed}/{label}".encode()).digest(size)


def floats(seed: int, label: str, *shape: int) -> Array:
    """Return an F32 tensor of small numbers that a seed and a label determine."""
    numbers = np.frombuffer(noise(seed, label, int(np.prod(shape))), np.int8).astype("<f4") / 64
    return Array("F32", shape, numbers.tobytes())


def state_of(seed: int, index: int) -> State:
    """Return state `index` of an honest run; the optimizer has no momentum before the first step."""
    state = {
        "buffer/mask": Array("BOOL", (3,), bytes([1, 0, index % 2])),
        "model/bias": floats(seed, f"bias {index}", 2),
        "model/weight": floats(seed, f"weight {index}", 2, 2),
        "optimizer/steps": Array("I64", (), index.to_bytes(8, "little")),
    }
    return state | ({"optimizer/momentum": floats(seed, f"momentum {index}", 2)} if index else {})


def batch_of(seed: int, step: int, micro: int, records: int) -> Batch:
    """Return one batch of an honest run: images, labels and captions, and a temperature for all of them."""
    label = f"{step} {micro}"
    captions = tuple(f"caption {label} {index}".encode() for index in range(records))
    columns = {
        "image": Array("U8", (records, 2, 2), noise(seed, f"image {label}", 4 * records)),
        "label": Array("I64", (records,), np.arange(records, dtype="<i8").tobytes()),
        "caption": Texts(captions),
    }
    return Batch(records, columns, {"temperature": floats(seed, f"temperature {label}", 1)})


def hyper_of(step: int) -> Hyper:
    """Return the hyper-parameters of a step: only the learning rate changes."""
    return {"sgd/0/lr": 0.1 / (1 + step), "sgd/0/momentum": 0.9, "sgd/0/nesterov": False, "sgd/0/seed": 7}


def take(batch: Batch, indices: list[int]) -> Batch:
    """Return the records at `indices` as a batch."""
    parts = [record(batch, index).columns for index in indices]
    return Batch(len(indices), {name: _joined([part[name] for part in parts]) for name in batch.columns}, {})


def spell_state(state: State) -> bytes:
    """Return a state as one safetensors file."""
    file = BytesIO()
    tensors.write(file, state)
    return file.getvalue()


def digest_of(path: Path) -> bytes:
    """Return the SHA-256 of a whole file."""
    return sha256(path.read_bytes()).digest()


def _joined(parts: list[Column]) -> Column:
    arrays = [part for part in parts if isinstance(part, Array)]
    if not arrays:
        return Texts(tuple(value for part in parts if isinstance(part, Texts) for value in part.values))
    data = b"".join(bytes(array.data) for array in arrays)
    return Array(arrays[0].dtype, (len(arrays), *arrays[0].shape[1:]), data)


def _heads(origin: str, lines: list[bytes]) -> list[Head]:
    tree = merkle.Tree(map(merkle.leaf, lines))
    return [Head(origin, size, tree.root(size)) for size in range(1, len(tree) + 1)]


def _due(run: Run, number: int) -> list[bytes]:
    pairs = zip(run.heads, run.notes, strict=True)
    return [signed for head, signed in pairs if min(max(head.size, 1), len(run.lines)) == number + 1]
