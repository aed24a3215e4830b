"""Forge archives: build each ZIP, JSON and log part honestly except where a vector says otherwise."""

import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from polarchive.format import container
from polarchive.format.canonical import Json, encode
from polarchive.format.commitment import SALT_SIZE, Batch, Opening
from polarchive.format.entry import Entry, Header, Segment
from polarchive.format.schema import Schema
from tests.simulator import PROVER, FakeSigner, Hook, Member, Simulation, State, at, batch_of, changed, floats

FULL = 0xFFFFFFFF
SIGNER = FakeSigner("p", PROVER.seed)
Lies = Mapping[str, Any]


def varied(simulation: Simulation, **changes: Any) -> Simulation:
    """Return a simulated run with other numbers and more hooks, which come after those it has."""
    return replace(simulation, **{name: _after(getattr(simulation, name), value) for name, value in changes.items()})


def _after(old: Any, new: Any) -> Any:
    return (lambda parts: new(old(parts))) if callable(new) else new


def of_batches(change: Callable[[Batch], Batch]) -> Hook[list[Opening]]:
    """Return the hook that gives a run other batches under the salts that it has."""
    return lambda steps: [[shown(change(opening.batch), opening.salts) for opening in step] for step in steps]


def shown(batch: Batch, salts: bytes) -> Opening:
    """Return the opening of a batch under the first of these salts."""
    return Opening(batch, salts[: SALT_SIZE * (1 + batch.count)])


def schema_of(change: Callable[[Batch], Batch]) -> Callable[[Header], Header]:
    """Return the hook that gives the header the schema of changed batches."""
    return lambda header: replace(header, schema=Schema.of(change(batch_of(0, 0, 0, 1))))


def _small(batch: Batch) -> Batch:
    return Batch(batch.count, {"x": batch.columns["label"]}, {})


def _small_states(states: list[State]) -> list[State]:
    return [{"w": floats(0, str(index), 2, 2)} for index in range(len(states))]


def _small_header(header: Header) -> Header:
    return replace(header, stack={}, probe={}, source=None)


def _small_entries(entries: list[Entry]) -> list[Entry]:
    return [
        replace(entry, hyper={"sgd/0/lr": entry.hyper["sgd/0/lr"]}) if isinstance(entry, Segment) else entry
        for entry in entries
    ]


def small(simulation: Simulation) -> Simulation:
    """Return a run that takes little room: its header, states and entries say no more than they must."""
    hooks = {"states": _small_states, "header": _small_header, "entries": _small_entries}
    return varied(simulation, signer=SIGNER, **hooks)


# Runs of no segment; of one and of two segments of one step, and an end; of two segments of two steps.
NONE = varied(small(Simulation(segments=0, every=1, records=1, finished=False)), header=changed(schema=Schema(())))
ONE = varied(small(Simulation(segments=1, every=1, records=1)), openings=of_batches(_small), header=schema_of(_small))
TWO = replace(ONE, segments=2)
LONG = replace(TWO, every=2)


@dataclass(frozen=True, slots=True)
class Part:
    """Stand for one member in a ZIP; `local` and `central` say where its two records differ from honest ones."""

    name: bytes
    data: bytes
    local: Lies = field(default_factory=dict)
    central: Lies = field(default_factory=dict)
    before: bytes = b""
    after: bytes = b""


def zipped(
    parts: Sequence[Part],
    *,
    prefix: bytes = b"",
    gap: bytes = b"",
    records: Callable[[list[bytes]], list[bytes]] = list,
    end64: Lies | None = None,
    locator: Lies | None = None,
    end: Lies | None = None,
    more64: bytes = b"",
    suffix: bytes = b"",
) -> bytes:
    """Return a ZIP of `parts` laid out as SPEC.md says, with `gap` before its directory, but for the lies told."""
    out, central = bytearray(prefix), []
    for part in parts:
        out += part.before
        central.append(_central(part, len(out)))
        out += _local(part, len(out)) + part.data + part.after
    out += gap
    directory = b"".join(records(central))
    closing = _closing(len(parts), len(directory), len(out), more64, end64 or {}, locator or {}, end or {})
    return bytes(out) + directory + closing + suffix


def parts_of(members: Sequence[Member], index: bytes | None = None) -> list[Part]:
    """Return the parts of a container of `members` under any index; the honest one, if none is given."""
    data = encode(index_of(members)) if index is None else index
    return [Part(name.encode(), data) for name, data in [*members, (container.INDEX, data)]]


def index_of(members: Sequence[Member]) -> dict[str, Any]:
    """Return the honest index."""
    return {"members": [row_of(name, data) for name, data in members]}


def row_of(name: str, data: bytes) -> dict[str, Json]:
    """Return the row of the index for one member."""
    crc, digest = zlib.crc32(data), sha256(data).hexdigest()
    return {"name": name, "size": str(len(data)), "crc32": str(crc), "sha256": digest}


def members_of(simulation: Simulation) -> list[Member]:
    """Return the members of a simulated run."""
    return simulation.members(simulation.run().members())


def pack(simulation: Simulation) -> bytes:
    """Return the archive of a simulated run, sealed without looking at it."""
    return zipped(parts_of(members_of(simulation)))


def forged(simulation: Simulation = ONE, **hooks: Any) -> bytes:
    """Return the archive of a simulated run with other numbers and more hooks, which come after those it has."""
    return pack(varied(simulation, **hooks))


def reindexed(change: Callable[[dict[str, Any]], object], simulation: Simulation = NONE) -> bytes:
    """Return an archive whose index was changed and is canonical still."""
    members = members_of(simulation)
    index = index_of(members)
    change(index)
    return zipped(parts_of(members, encode(index)))


def relisted(number: int, simulation: Simulation = NONE, **changes: Json) -> bytes:
    """Return an archive with other values in one row of the index."""
    return reindexed(lambda index: index["members"][number].update(changes), simulation)


def with_part(number: int, **changes: Any) -> bytes:
    """Return an archive that differs from the honest one in the way one member lies in the ZIP."""
    return zipped(at(number, lambda part: replace(part, **changes))(parts_of(members_of(NONE))))


def with_members(change: Hook[Member], simulation: Simulation = NONE) -> bytes:
    """Return an archive with other members, all of them listed honestly."""
    return zipped(parts_of(change(members_of(simulation))))


def plus(name: str, data: bytes = b"") -> Hook[Member]:
    """Return the hook that adds one member in its place."""
    return lambda members: sorted([*members, (name, data)])


def data_of(name: str, change: Callable[[bytes], bytes]) -> Hook[Member]:
    """Return the hook that changes the bytes of one member."""
    return lambda members: [(found, change(data) if found == name else data) for found, data in members]


def put(*path: str | int, to: Json) -> Callable[[bytes], bytes]:
    """Return the function that changes one value in a line of JSON, which stays canonical."""

    def change(line: bytes) -> bytes:
        value: Any = json.loads(line)
        parent = value
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = to
        return encode(value)

    return change


def drop(*path: str | int) -> Callable[[bytes], bytes]:
    """Return the function that takes one value out of a line of JSON."""

    def change(line: bytes) -> bytes:
        value: Any = json.loads(line)
        parent = value
        for step in path[:-1]:
            parent = parent[step]
        del parent[path[-1]]
        return encode(value)

    return change


def swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Return the function that replaces the first `old` by `new`; it must be there."""

    def change(data: bytes) -> bytes:
        assert old in data, f"{old!r} is not there"
        return data.replace(old, new, 1)

    return change


def _local(part: Part, offset: int) -> bytes:
    lies, size = dict(part.local), len(part.data)
    name = lies.pop("name", part.name)
    sizes = lies.pop("sizes", struct.pack("<HHQQ", 1, 16, size, size))
    room = -(offset + 30 + len(name) + len(sizes) + 4) % 64
    extra = sizes + lies.pop("padding", struct.pack("<HH", 0x4150, room) + bytes(room))
    fields = {
        "signature": b"PK\x03\x04",
        "version": 45,
        "flags": 0,
        "method": 0,
        "time": 0,
        "date": 0x0021,
        "crc32": zlib.crc32(part.data),
        "packed": FULL,
        "size": FULL,
        "name_size": len(name),
        "extra_size": len(extra),
    }
    return _struct("<4s5H3I2H", fields, lies) + name + extra


def _central(part: Part, offset: int) -> bytes:
    lies, size = dict(part.central), len(part.data)
    name, comment = lies.pop("name", part.name), lies.pop("comment", b"")
    extra = lies.pop("sizes", struct.pack("<HHQQQ", 1, 24, size, size, lies.pop("at", offset))) + lies.pop("more", b"")
    fields = {
        "signature": b"PK\x01\x02",
        "made": 0x032D,
        "version": 45,
        "flags": 0,
        "method": 0,
        "time": 0,
        "date": 0x0021,
        "crc32": zlib.crc32(part.data),
        "packed": FULL,
        "size": FULL,
        "name_size": len(name),
        "extra_size": len(extra),
        "comment_size": len(comment),
        "disk": 0,
        "internal": 0,
        "external": 0x81240000,
        "offset": FULL,
    }
    return _struct("<4s6H3I5H2I", fields, lies) + name + extra + comment


def _closing(count: int, size: int, offset: int, more: bytes, end64: Lies, locator: Lies, end: Lies) -> bytes:
    fields64 = {
        "signature": b"PK\x06\x06",
        "rest": 44 + len(more),
        "made": 0x032D,
        "version": 45,
        "disk": 0,
        "start": 0,
        "here": count,
        "count": count,
        "size": size,
        "offset": offset,
    }
    fields = {"signature": b"PK\x06\x07", "disk": 0, "offset": offset + size, "disks": 1}
    comment = dict(end).pop("comment", b"")
    last = {
        "signature": b"PK\x05\x06",
        "disk": 0,
        "start": 0,
        "here": 0xFFFF,
        "count": 0xFFFF,
        "size": FULL,
        "offset": FULL,
        "comment_size": len(comment),
    }
    return (
        _struct("<4sQ2H2I4Q", fields64, end64)
        + more
        + _struct("<4sIQI", fields, locator)
        + _struct("<4s4H2IH", last, {key: value for key, value in end.items() if key != "comment"})
        + comment
    )


def _struct(form: str, fields: dict[str, Any], lies: Lies) -> bytes:
    assert lies.keys() <= fields.keys(), f"no field {lies.keys() - fields.keys()}"
    return struct.pack(form, *{**fields, **lies}.values())
