"""Fuzz all that reads a stranger's bytes; needs the extra `fuzz`.

    python tools/fuzz.py [--seconds 60] [--target NAME]

Each target runs in a process of its own for so many seconds and starts from the test vectors. An input that raises
anything but PolError, hangs, or takes too much memory is saved in build/fuzz, and the exit status is 1. To add a
target, write a function that reads bytes, and enter it with `target`; a mutator that keeps the outer layers whole lets
the fuzzer see the inner ones.
"""

import gc
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import FunctionType
from typing import Any

import click
import zstandard
from asn1crypto import parser as asn1
from asn1crypto.tsp import TimeStampResp
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import Certificate

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from polarchive.errors import PolError  # noqa: E402
from polarchive.format import (  # noqa: E402
    canonical,
    challenge,
    container,
    cosignature,
    journal,
    merkle,
    note,
    spelling,
    stamp,
    storage,
    tensors,
)
from polarchive.format.archive import open_archive  # noqa: E402
from polarchive.format.blob import Blob  # noqa: E402
from polarchive.format.certificate import signer_of  # noqa: E402
from polarchive.format.cosignature import WitnessKey  # noqa: E402
from polarchive.format.inspect import inspect  # noqa: E402
from polarchive.format.limits import MAX_ENTRY  # noqa: E402
from polarchive.format.note import Head, VerifierKey  # noqa: E402
from polarchive.recording.coder import Coder  # noqa: E402
from polarchive.trust.keys import load_verifier  # noqa: E402
from tests.authority import EPOCH  # noqa: E402
from tests.simulator import PROVER, FakeSigner, Member, spell_state  # noqa: E402
from tools.catalogue import OK, Vector, coded, rules, stamps  # noqa: E402
from tools.catalogue.forge import TWO, parts_of, zipped  # noqa: E402
from tools.catalogue.journals import frames_of  # noqa: E402
from tools.catalogue.tensor_files import spelled  # noqa: E402

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
KEPT: list[tempfile.TemporaryDirectory[str]] = []
SAVED = ROOT / "build" / "fuzz"
BASE = {**coded.BASE, **rules.BASE}
TEXT = TWO.run().heads[0].text
WITNESSES = [FakeSigner(f"witness.example/w{number}", bytes([number]) * 32) for number in (1, 2)]
LIMITS = ("-timeout=20", "-rss_limit_mb=1024", "-max_len=16384", "-print_final_stats=1")
Mutate = Callable[[bytes], bytes]
Mutator = Callable[[bytes, Mutate, random.Random], bytes]
Seeds = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """Hold what reads the bytes of one format, inputs to begin with, and what changes an input and keeps its layers."""

    read: Callable[[bytes], None]
    seeds: Seeds
    mutate: Mutator | None = None

    def accepts(self, data: bytes) -> bool:
        """Tell whether the input is accepted; whatever else than a refusal it causes escapes."""
        with suppress(PolError):
            self.read(data)
            return True
        return False

    def changed(self, data: bytes, mutate: Mutate, seed: int) -> bytes:
        """Return another input: changed at an inner layer half of the time, where it has one."""
        roll = random.Random(seed)
        if self.mutate and roll.random() < 0.5:
            with suppress(Exception):  # an input without layers that could be kept
                return self.mutate(data, mutate, roll)
        return mutate(data)


TARGETS: dict[str, Target] = {}


def target(seeds: Seeds, mutate: Mutator | None = None) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    """Enter the decorated function as the target of its name."""

    def enter(read: Callable[[bytes], None]) -> Callable[[bytes], None]:
        TARGETS[read.__name__] = Target(read, seeds, mutate)
        return read

    return enter


@cache
def vectors() -> list[Vector]:
    """Return all committed vectors."""
    return [Vector.decode(path.read_bytes()) for path in sorted((ROOT / "tests" / "vectors").glob("*.vec"))]


def of_kind(*kinds: str) -> Seeds:
    """Return the seeds that are the bytes of these vectors."""
    return lambda: (vector.body for vector in vectors() if vector.kind in kinds)


def in_archives(*names: str) -> Seeds:
    """Return the seeds that are these members of accepted archives."""
    archives = (vector for vector in vectors() if (vector.kind, vector.expect) == ("archive", OK))
    return lambda: (data for vector in archives for name, data in members_of(vector.body) if name.startswith(names))


def lines_in(*names: str) -> Seeds:
    """Return the seeds that are the lines of these members of accepted archives."""
    return lambda: (line for data in in_archives(*names)() for line in data.split(b"\n") if line)


def both(*seeds: Seeds) -> Seeds:
    """Return the seeds of all of these, each once."""
    return lambda: iter(dict.fromkeys(data for each in seeds for data in each()))


@cache
def folder() -> Path:
    """Return a directory for the files of this process, in memory where there is such a place."""
    path = temporary()
    for each in TWO.run().states:
        state = path / "run" / journal.STATES / f"{tensors.root_of(each).hex()}.safetensors"
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_bytes(spell_state(each))
    return path


def temporary() -> Path:
    """Return a new directory that is gone when this process ends well."""
    KEPT.append(tempfile.TemporaryDirectory(prefix="polarchive-fuzz-", dir=os.environ.get("TMPDIR", MEMORY)))
    return Path(KEPT[-1].name)


def blob_of(data: bytes, name: str) -> Blob:
    """Return a file of these bytes."""
    (folder() / name).write_bytes(data)
    return Blob.of(folder() / name)


def members_of(data: bytes) -> list[Member]:
    """Return the members of a container, without the index."""
    with blob_of(data, "members.pol").file as file:
        parts = container.read(Path(file.name))
    with parts.file:
        return [(name, bytes(blob.read())) for name, blob in parts.blobs.items() if name != container.INDEX]


def one_changed(parts: Sequence[bytes], mutate: Mutate, roll: random.Random) -> list[bytes]:
    """Return parts of which one is changed, or left out, or doubled, or has changed places with another."""
    found, index, other = list(parts), roll.randrange(len(parts)), roll.randrange(len(parts))
    match roll.randrange(8):
        case 0:
            del found[index]
        case 1:
            found.insert(other, found[index])
        case 2:
            found[index], found[other] = found[other], found[index]
        case _:
            found[index] = mutate(found[index])
    return found


def change_json(data: bytes, mutate: Mutate, roll: random.Random) -> bytes:
    """Change a string or take out an item somewhere in a value that stays canonical."""

    def change(value: Any) -> Any:
        if isinstance(value, dict) and value:
            key = roll.choice(sorted(value))
            rest = {name: item for name, item in value.items() if name != key}
            return {**rest, change(key) if roll.random() < 0.1 else key: change(value[key])}
        if isinstance(value, list) and value:
            index = roll.randrange(len(value))
            return [*value[:index], *[change(value[index])] * roll.choice([0, 1, 1, 1, 2]), *value[index + 1 :]]
        if isinstance(value, str) and roll.random() < 0.7:
            return mutate(value.encode()).decode("ascii", "ignore")
        return roll.choice([None, True, False, "", "0", "18446744073709551616", "-1", "i-1", "00" * 32, [], {}])

    return canonical.encode(change(json.loads(data)))


def signed(lines: Sequence[bytes]) -> bytes:
    """Return the head over all these entries, signed by the key that the simulated runs have."""
    header = json.loads(lines[0])
    name = header["key"].split("+")[0]
    root = merkle.root(map(merkle.leaf, lines))
    return note.sign(Head(f"{name}/{header['run']}", len(lines), root), FakeSigner(name, PROVER.seed))


def change_container(data: bytes, mutate: Mutate, roll: random.Random) -> bytes:
    """Change one member, list all of them honestly, and sign what the entries have become."""
    members = dict(members_of(data))
    name = roll.choice(sorted(members))
    changed = dict(zip(members, one_changed(list(members.values()), mutate, roll), strict=False))
    members = {**members, name: mutate(members[name])} if roll.random() < 0.9 else changed
    if roll.random() < 0.1:
        members[container.stamp_name(roll.randrange(4), 0)] = members.pop(name)
    if roll.random() < 0.8:
        log = [members[container.HEADER], *members[container.ENTRIES].split(b"\n")[:-1]]
        with suppress(Exception):  # a header without key and run
            members[container.HEADS] = signed(log)
    return zipped(parts_of(sorted(members.items())))


@target(of_kind("archive"), change_container)
def sealed_archive(data: bytes) -> None:
    """Open, inspect and seal an archive; what is accepted can be packed again and says the same."""
    path, again = folder() / "run.pol", folder() / "again.pol"
    path.write_bytes(data)
    with suppress(PolError):
        inspect(path)
    with open_archive(path, trusted=None) as archive:
        archive.seal()
        container.write(again, archive.members())
        with open_archive(again, trusted=[archive.header.key]) as other:
            assert (other.notes, other.segments) == (archive.notes, archive.segments)


@target(both(of_kind("header"), in_archives(container.HEADER)), change_json)
def header(data: bytes) -> None:
    """Read a header; what is accepted has one spelling."""
    assert spelling.encode_header(spelling.decode_header(data)) == data


@target(both(of_kind("entry"), lines_in(container.ENTRIES)), change_json)
def entry(data: bytes) -> None:
    """Read a segment or an end; what is accepted has one spelling."""
    assert spelling.encode_entry(spelling.decode_entry(data, "entry")) == data


@target(both(of_kind("row"), lines_in(container.ROWS)), change_json)
def row(data: bytes) -> None:
    """Read a step row; what is accepted has one spelling."""
    assert spelling.encode_row(spelling.decode_row(data, "row")) == data


@target(of_kind("json", "entry", "header", "row"), change_json)
def json_value(data: bytes) -> None:
    """Read canonical JSON; what is accepted has one spelling."""
    assert canonical.encode(canonical.decode(data, MAX_ENTRY, "json")) == data


def change_note(data: bytes, mutate: Mutate, roll: random.Random) -> bytes:
    """Change the text of a head and sign it."""
    text = mutate(data.partition(b"\n\n")[0] + b"\n")
    line = note.sign(Head("", 0, b""), Signing(PROVER, text)).split(b"\n")[4]
    return text + b"\n" + line + b"\n"


@dataclass(frozen=True, slots=True)
class Signing:
    """Sign another text than the one that is asked for."""

    signer: FakeSigner
    text: bytes

    @property
    def key(self) -> VerifierKey:
        return self.signer.key

    def sign(self, message: bytes) -> bytes:
        return self.signer.sign(self.text)


@target(both(of_kind("note"), in_archives(container.HEADS)), change_note)
def heads(data: bytes) -> None:
    """Cut heads apart and open each; what is accepted has one spelling."""
    for signed_head in note.split(data):
        head = note.open_note(signed_head, PROVER.key)
        assert note.sign(head, PROVER) == signed_head


@target(of_kind("verifier-key"))
def verifier_key(data: bytes) -> None:
    """Read a verifier line out of a file; what is accepted has one spelling but for line ends."""
    path = folder() / "key.pub"
    path.write_bytes(data)
    assert str(load_verifier(path)).encode() == data.replace(b"\r", b"\n").strip(b"\n")


def change_der(data: bytes, mutate: Mutate, roll: random.Random) -> bytes:
    """Change a value somewhere within others, whose lengths are made right."""
    content = asn1.parse(data)[4]
    parts = list(values_of(content)) if data[0] & 0x20 else []
    if not parts or roll.random() < 0.1:
        return value_of(data[:1], mutate(content))
    index = roll.randrange(len(parts))
    parts[index] = change_der(parts[index], mutate, roll)
    return value_of(data[:1], b"".join(one_changed(parts, bytes, roll)))


def values_of(content: bytes) -> Iterator[bytes]:
    """Yield the DER values that follow one another."""
    while content:
        size = sum(map(len, asn1.parse(content)[3:]))
        yield content[:size]
        content = content[size:]


def value_of(tag: bytes, content: bytes) -> bytes:
    """Return the DER value of this content."""
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return tag + (bytes([size]) if size < 128 else bytes([0x80 | len(octets)]) + octets) + content


def change_stamp(data: bytes, mutate: Mutate, roll: random.Random) -> bytes:
    """Change what a token says and sign it, or the certificate that signs it and certify it, or anything at all."""
    match roll.randrange(4):
        case 0:
            token = TimeStampResp.load(data)["time_stamp_token"]["content"]
            return stamps.TSA.around(change_der(bytes(token["encap_content_info"]["content"]), mutate, roll))
        case 1:
            told, by, _ = values_of(asn1.parse(stamps.der(stamps.TSA.certificate))[4])
            told = change_der(told, mutate, roll)
            signature = stamps.TSA.root_key.sign(told, ec.ECDSA(hashes.SHA256()))
            return stamps.under(value_of(b"\x30", told + by + value_of(b"\x03", b"\0" + signature)))
        case _:
            return change_der(data, mutate, roll)


@target(both(of_kind("stamp"), in_archives("50-")), change_stamp)
def timestamp(data: bytes) -> None:
    """Read a stamp, find who signed it, and check it; nobody is believed whom a root has not certified."""
    found = stamp.read(data)
    assert (found.time - (found.accuracy or timedelta())).year in stamp.YEARS
    with suppress(PolError):
        signer_of(data)
    roots = [stamps.TSA.root, stamps.TOP.root]
    stamp.check(found, found.imprint, roots)
    assert any(is_issued(signer_of(data), by) for by in (*roots, stamps.BELOW.root))


def is_issued(certificate: Certificate, by: Certificate) -> bool:
    """Tell whether one certificate is signed under the other."""
    with suppress(InvalidSignature, ValueError, TypeError):
        certificate.verify_directly_issued_by(by)
        return True
    return False


def cosigned_seeds() -> Iterator[bytes]:
    """Return lines of two witnesses over a head, in some ways that they may be put together."""
    one, two = (cosignature.cosign(TEXT, each, EPOCH) for each in WITNESSES)
    yield from (one, two, one + two, one * 2 + two, one[:-1], one.replace(b"/w1", b"/w3") + two, one[:40] + two)
    yield from in_archives("60-")()


def change_cosigned(data: bytes, mutate: Mutate, roll: random.Random) -> bytes:
    """Change a line or what is in its base64, or add one of another time."""
    lines = data.split(b"\n")[:-1]
    index = roll.randrange(len(lines))
    name, _, coded = lines[index].rpartition(b" ")
    lines[index] = name + b" " + b64encode(mutate(b64decode(coded))) if roll.random() < 0.5 else mutate(lines[index])
    if roll.random() < 0.3:
        lines.append(cosignature.cosign(TEXT, WITNESSES[0], EPOCH + timedelta(seconds=roll.randrange(1 << 36)))[:-1])
    return b"".join(line + b"\n" for line in one_changed(lines, bytes, roll))


@target(cosigned_seeds, change_cosigned)
def cosignatures(data: bytes) -> None:
    """Read the lines of witnesses; none of them counts twice."""
    known = [WitnessKey(each.name, each.key.public) for each in WITNESSES]
    found = cosignature.read(data, TEXT, known)
    assert len({each.witness for each in found}) == len(found) <= len(known)
    assert found == tuple(sorted(found, key=lambda each: each.time))


def change_safetensors(data: bytes, mutate: Mutate, roll: random.Random) -> bytes:
    """Change the header of a file, or its tensors, and keep the length right."""
    end = 8 + int.from_bytes(data[:8], "little")
    text, rest = data[8:end].rstrip(b" "), data[end:]
    return spelled(mutate(text), rest) if roll.random() < 0.7 else spelled(text, mutate(rest))


@target(both(of_kind("safetensors"), in_archives("70-")), change_safetensors)
def safetensors_file(data: bytes) -> None:
    """Read a state; what is accepted has one spelling."""
    with (blob := blob_of(data, "state.safetensors")).file:
        state = {spec.name: tensors.Array(spec.dtype, spec.shape, found) for spec, found in tensors.read(blob)}
    assert spell_state(state) == data


def change_coded(data: bytes, mutate: Mutate, roll: random.Random) -> bytes:
    """Change a description, or a stream with its size, in whole frames."""
    layout, groups, rest = described(data)
    told = json.loads(groups)
    sizes = [int(size) for group in told for size in group["sizes"]]
    starts = [sum(sizes[:index]) for index in range(len(sizes) + 1)]
    streams = [rest[start:end] for start, end in pairwise(starts)]
    match roll.randrange(5):
        case 0:
            layout = change_json(layout, mutate, roll)
        case 1 | 2:
            groups = change_json(groups, mutate, roll)
        case _:
            index = roll.randrange(len(streams))
            with suppress(zstandard.ZstdError):  # a stream that is no frame
                streams[index] = coded.frame(mutate(zstandard.decompress(streams[index])))
            if streams[index] == rest[starts[index] : starts[index + 1]]:
                streams[index] = mutate(streams[index])
            lengths = iter(streams)
            told = [{**group, "sizes": [str(len(next(lengths))) for _ in group["sizes"]]} for group in told]
            groups = canonical.encode(told)
    return data[:28] + coded.framed(layout) + coded.framed(groups) + b"".join(streams)


def described(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the two descriptions of a coded state, and what follows them."""
    found, rest = [], data[28:]
    for _ in range(2):
        end = 8 + int.from_bytes(rest[4:8], "big")
        found.append(zstandard.decompress(rest[8:end]))
        rest = rest[end:]
    return found[0], found[1], rest


def coded_seeds() -> Iterator[bytes]:
    """Return the coded states behind their bases, and those of archives."""
    yield from (vector.body[int(vector.parameters["base"]) :] for vector in vectors() if vector.kind == "coded")
    yield from (data for data in in_archives("70-")() if data.startswith(b"polarchive/v1/coded"))


@target(coded_seeds, change_coded)
def coded_state(data: bytes) -> None:
    """Read a coded state 1 on one with the tensors of the vectors; what is accepted, coded again, is the same."""
    with (blob := blob_of(data, "state.coded")).file:
        with suppress(PolError):
            storage.by_kind(blob)
        state = storage.read(1, blob, lambda index, depth: BASE, 0, coded.RAW)
    coder = Coder()
    coder.store(0, BASE, {})
    form, chunks = coder.store(1, state, {})
    with (blob := blob_of(b"".join(bytes(chunk) for chunk in chunks), f"state{form}")).file:
        assert storage.read(1, blob, lambda index, depth: BASE, 0, 1 << 30) == state


def change_journal(data: bytes, mutate: Mutate, roll: random.Random) -> bytes:
    """Change a frame and make its check right, and sign what the entries have become."""
    magic, *frames = frames_of(data)
    frames = [
        frame if changed == frame else journal.frame(changed[4:5], changed[5:-8])
        for frame, changed in zip(frames, one_changed(frames, mutate, roll), strict=False)
    ]
    lines: list[bytes] = []
    for index, frame in enumerate(frames):
        if frame[4:5] in (journal.HEADER, journal.ENTRY):
            lines.append(frame[5:-8])
        elif frame[4:5] == journal.HEAD and roll.random() < 0.9:
            with suppress(Exception):  # a header without key and run
                frames[index] = journal.frame(journal.HEAD, signed(lines))
    return magic + b"".join(frames)


@target(of_kind("journal"), change_journal)
def run_directory(data: bytes) -> None:
    """Open and inspect a run directory, and read its rows and states."""
    path = folder() / "run"
    (path / journal.JOURNAL).write_bytes(data)
    with suppress(PolError):
        inspect(path)
    with open_archive(path, trusted=None) as archive:
        for segment in archive.segments:
            archive.steps(segment.index)
        archive.seal()


TREE = merkle.Tree(merkle.leaf(bytes([number])) for number in range(40))


def proof_of(first: int, second: int, *digests: bytes) -> bytes:
    """Return two numbers, two digests and a proof in one piece."""
    return b"".join([*(min(number, (1 << 64) - 1).to_bytes(8, "big") for number in (first, second)), *digests])


def proof_seeds() -> Iterator[bytes]:
    """Return the proofs of the vectors, and honest ones of a tree of 40 leaves."""
    kinds = {"inclusion": ("index", "size", "leaf", "root"), "consistency": ("first", "second", "old", "new")}
    for vector in vectors():
        if vector.kind in kinds:
            first, second, *ends = (vector.parameters[name] for name in kinds[vector.kind])
            yield proof_of(int(first), int(second), *map(bytes.fromhex, [*ends, *vector.body.decode().split()]))
    for size in (1, 2, 7, 32, 40):
        last = merkle.leaf(bytes([size - 1]))
        yield proof_of(size - 1, size, last, TREE.root(size), *TREE.inclusion(size - 1, size))
        yield proof_of(size, 40, TREE.root(size), TREE.root(40), *TREE.consistency(size, 40))


@target(proof_seeds)
def proofs_and_challenges(data: bytes) -> None:
    """Check a proof both ways and draw from a challenge; only honest proofs lead to the roots of an honest tree."""
    first, second = (int.from_bytes(data[start : start + 8], "big") for start in (0, 8))
    one, two, *proof = (data[start : start + 32] for start in range(16, max(len(data), 80), 32))
    found = challenge.derive(data, one.ljust(32, b"\0"))
    drawn = challenge.draw(found, second % 500 + 1, first % (second % 500 + 1), "segments")
    assert drawn == sorted(set(drawn)) and len(drawn) == first % (second % 500 + 1)
    with suppress(PolError):
        merkle.check_inclusion(one, first, second, proof, two)
        if second <= 40 and two == TREE.root(second):
            assert proof == TREE.inclusion(first, second) and one == merkle.leaf(bytes([first]))
    merkle.check_consistency(first, second, proof, one, two)
    if second <= 40 and two == TREE.root(second):
        assert proof == TREE.consistency(first, second) and one == TREE.root(first)


def fuzz(name: str, arguments: Sequence[str]) -> None:
    """Fuzz one target in this process until its time is over."""
    import atheris

    for function in gc.get_objects():
        if isinstance(function, FunctionType) and (function.__module__ or "").startswith("polarchive."):
            atheris.instrument_func(function)

    def change(data: bytes, size: int, seed: int) -> bytes:
        return TARGETS[name].changed(data, lambda part: bytes(atheris.Mutate(part, size)), seed)[:size]

    atheris.Setup([name, *arguments], TARGETS[name].accepts, custom_mutator=change)
    atheris.Fuzz()


def run(name: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own, print what came of it, and tell whether nothing was found."""
    SAVED.mkdir(parents=True, exist_ok=True)
    corpus = temporary()
    for number, data in enumerate(TARGETS[name].seeds()):
        (corpus / f"{number:05}").write_bytes(data)
    command = [sys.executable, __file__, "--target", name, "--within", str(corpus), "--seconds", str(seconds)]
    environment = {**os.environ, "TMPDIR": str(temporary())}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = done.stdout.decode("utf-8", "replace")
    executions = re.search(r"number_of_executed_units: ([0-9]+)", output)
    click.echo(f"{name:24} {int(executions[1]) if executions else 0:>9,} executions in {seconds} s")
    if done.returncode:
        click.echo(output[-4000:])
    return done.returncode == 0


@click.command()
@click.option("--seconds", default=60, show_default=True, help="For how long each target runs.")
@click.option("--target", "names", multiple=True, type=click.Choice(sorted(TARGETS)), help="Only this one.")
@click.option("--within", type=click.Path(exists=True), hidden=True, help="Fuzz in this process, from this folder on.")
def main(seconds: int, names: tuple[str, ...], within: str | None) -> None:
    """Fuzz all targets, or some."""
    if within:
        fuzz(names[0], [*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={SAVED}/{names[0]}-", within])
    found = [name for name in names or TARGETS if not run(name, seconds)]
    if found:
        raise click.ClickException(f"found something in {', '.join(found)}; the inputs are in {SAVED}")


if __name__ == "__main__":
    main()
