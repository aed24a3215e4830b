"""Run every vector through the functions that read its kind of bytes: each is accepted, or refused for its reason."""

import re
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.x509 import load_der_x509_certificate

from polarchive.errors import FormatError, Reason
from polarchive.format import canonical, challenge, container, journal, merkle, note, spelling, stamp, storage, tensors
from polarchive.format.archive import open_archive
from polarchive.format.blob import Blob
from polarchive.format.commitment import RECORD, Salts
from polarchive.format.inspect import inspect
from polarchive.format.limits import MAX_ENTRY
from polarchive.format.note import VerifierKey
from polarchive.format.tensors import Array
from tests.simulator import STRANGER
from tools import vectors
from tools.catalogue import OK, Plan, Vector
from tools.catalogue.forge import LONG, NONE, ONE, pack
from tools.catalogue.good import FULL

FOLDER = vectors.FOLDER
FILES = sorted(FOLDER.glob("*.vec"))
PLANS = vectors.plans()
SLOW = {
    "archive-more-than-65535-members",
    "header-layout-of-131072-tensors",
    "header-layout-of-131073-tensors",
    "safetensors-of-131072-tensors",
    "safetensors-of-131073-tensors",
}
ROOT = Path(__file__).parent.parent


def refusal(read: Callable[[], object]) -> str:
    """Return `ok`, or the reason code with which bytes are refused; no other exception passes."""
    try:
        read()
    except FormatError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return error.reason
    return OK


def check_archive(vector: Vector, folder: Path) -> None:
    """Open, inspect and seal an archive; only the step that is named may refuse it, and `inspect` for that reason."""
    path = folder / "run.pol"
    path.write_bytes(vector.body)
    opened = refusal(lambda: open_archive(path, trusted=None).close())
    assert opened == (vector.expect if vector.parameters.get("by") == "open" else OK)
    assert refusal(lambda: inspect(path)) in (OK, vector.expect)
    if opened == OK:
        with open_archive(path, trusted=None) as archive:
            assert refusal(archive.seal) == vector.expect
    if vector.expect == OK:
        check_round_trip(path, folder / "again.pol")


def check_round_trip(path: Path, again: Path) -> None:
    """Write the members of an archive anew, byte for byte; and what the log asks for, with the same content."""
    parts = container.read(path)
    with parts.file:
        names = [name for name in parts.blobs if name != container.INDEX]
        container.write(again, ((name, parts.blobs[name].chunks()) for name in names))
    assert again.read_bytes() == path.read_bytes()
    with open_archive(path, trusted=None) as archive:
        container.write(again, archive.members())
        with open_archive(again, trusted=[archive.header.key]) as other:
            other.seal()
            assert other.notes == archive.notes and other.segments == archive.segments
            for index in filter(archive.is_stored, range(len(archive.segments) + 1)):
                assert other.state(index) == archive.state(index)


def check_journal(vector: Vector, folder: Path) -> None:
    """Open a run directory of a journal alone, and read its rows and states where the vector says so."""
    (folder / journal.STATES).mkdir()
    (folder / journal.JOURNAL).write_bytes(vector.body)
    by = vector.parameters.get("by", "open")
    opened = refusal(lambda: open_archive(folder, trusted=None))
    assert opened == (vector.expect if by == "open" else OK)
    if opened != OK:
        return
    archive = open_archive(folder, trusted=None)
    assert archive.dropped == int(vector.parameters["dropped"])
    assert inspect(folder).segments == len(archive.segments)
    rows = refusal(lambda: [archive.steps(segment.index) for segment in archive.segments])
    assert rows == (vector.expect if by == "rows" else OK)
    assert by != "state" or refusal(lambda: archive.state(0)) == vector.expect


def check_safetensors(vector: Vector, folder: Path) -> None:
    """Read a state, and compare it with its root where the vector has one."""
    path = folder / "state.safetensors"
    path.write_bytes(vector.body)
    blob, root = Blob.of(path), vector.parameters.get("root")
    with blob.file:
        assert refusal(lambda: _read_state(blob, root)) == vector.expect


def _read_state(blob: Blob, root: str | None) -> None:
    if root is None:
        list(tensors.read(blob))
    else:
        tensors.read_state(blob, bytes.fromhex(root))


def check_coded(vector: Vector, folder: Path) -> None:
    """Read a coded state 1 against the state 0 before it, and compare it with its root where the vector has one."""
    cut, path = int(vector.parameters["base"]), folder / "state.coded"
    path.write_bytes(vector.body)
    file = Blob.of(path)
    with file.file:
        base = {spec.name: Array(spec.dtype, spec.shape, data) for spec, data in tensors.read(file.slice(0, cut, "0"))}
        coded = file.slice(cut, file.size - cut, path.name)
        assert refusal(lambda: _read_coded(coded, base, vector.parameters.get("root"))) == vector.expect


def _read_coded(blob: Blob, base: dict[str, Array], root: str | None) -> None:
    size = sum(spec.nbytes for spec in tensors.layout_of(base))
    state = storage.read(1, blob, lambda index, depth: base, 0, size)
    assert root is None or tensors.root_of(state).hex() == root


def check_inclusion(vector: Vector, folder: Path) -> None:
    """Check the path of a leaf."""
    leaf, root = (bytes.fromhex(vector.parameters[name]) for name in ("leaf", "root"))
    index, size = (int(vector.parameters[name]) for name in ("index", "size"))
    proof = [bytes.fromhex(line) for line in vector.body.decode().split()]
    assert refusal(lambda: merkle.check_inclusion(leaf, index, size, proof, root)) == vector.expect


def check_consistency(vector: Vector, folder: Path) -> None:
    """Check that one tree is a prefix of another."""
    first, second = (int(vector.parameters[name]) for name in ("first", "second"))
    old, new = (bytes.fromhex(vector.parameters[name]) for name in ("old", "new"))
    proof = [bytes.fromhex(line) for line in vector.body.decode().split()]
    assert refusal(lambda: merkle.check_consistency(first, second, proof, old, new)) == vector.expect


def check_challenge(vector: Vector, folder: Path) -> None:
    """Derive a challenge from a head's text and draw from it."""
    found = challenge.derive(vector.body, bytes.fromhex(vector.parameters["nonce"]))
    assert found.hex() == vector.parameters["challenge"]
    population, count = (int(vector.parameters[name]) for name in ("population", "count"))
    drawn = challenge.draw(found, population, count, vector.parameters["label"])
    assert drawn == [int(word) for word in vector.parameters["indices"].split()]


def check_salts(vector: Vector, folder: Path) -> None:
    """Derive salts from a secret."""
    secret, run = (bytes.fromhex(vector.parameters[name]) for name in ("secret", "run"))
    numbers = [int(vector.parameters[name]) for name in ("epoch", "step", "start", "count")]
    assert Salts(secret, run).of(*numbers) == vector.body


def check_record(vector: Vector, folder: Path) -> None:
    """Hash the bytes of a record."""
    leaf = merkle.leaf(RECORD, bytes.fromhex(vector.parameters["salt"]), vector.body)
    assert leaf.hex() == vector.parameters["leaf"]


def check_stamp(vector: Vector, folder: Path) -> None:
    """Read a stamp and check it as a judge does, and compare what it says where the vector tells."""
    assert refusal(lambda: _check_stamp(vector)) == vector.expect


def _check_stamp(vector: Vector) -> None:
    found, told = stamp.read(vector.body), vector.parameters
    roots = [load_der_x509_certificate(b64decode(root)) for root in told["roots"].split()]
    nonce = int(told["nonce"]) if "nonce" in told else None
    policies = told.get("policies", "").split()
    stamp.check(found, bytes.fromhex(told["over"]), roots, policies=policies, nonce=nonce)
    assert told.get("time") in (None, found.time.isoformat())
    assert found.accuracy is None or told.get("accuracy") in (None, str(found.accuracy.total_seconds()))


def check_text(read: Callable[[Vector], object]) -> Callable[[Vector, Path], None]:
    """Return the check of a kind that one function reads from memory."""

    def check(vector: Vector, folder: Path) -> None:
        assert refusal(lambda: read(vector)) == vector.expect

    return check


def _same(data: bytes, spelled: bytes) -> None:
    assert spelled == data


CHECKS: dict[str, Callable[[Vector, Path], None]] = {
    "archive": check_archive,
    "challenge": check_challenge,
    "coded": check_coded,
    "consistency": check_consistency,
    "entry": check_text(lambda v: _same(v.body, spelling.encode_entry(spelling.decode_entry(v.body, "entry")))),
    "header": check_text(lambda v: _same(v.body, spelling.encode_header(spelling.decode_header(v.body)))),
    "inclusion": check_inclusion,
    "journal": check_journal,
    "json": check_text(lambda v: _same(v.body, canonical.encode(canonical.decode(v.body, MAX_ENTRY, "json")))),
    "note": check_text(lambda v: note.open_note(v.body, VerifierKey.parse(v.parameters["key"]))),
    "record": check_record,
    "row": check_text(lambda v: _same(v.body, spelling.encode_row(spelling.decode_row(v.body, "row")))),
    "safetensors": check_safetensors,
    "salts": check_salts,
    "stamp": check_stamp,
    "verifier-key": check_text(lambda v: _same(v.body, str(VerifierKey.parse(v.body.decode())).encode())),
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_vector(file: Path, tmp_path: Path) -> None:
    vector = Vector.decode(file.read_bytes())
    CHECKS[vector.kind](vector, tmp_path)


@pytest.mark.parametrize(
    "plan",
    [pytest.param(p, id=p.name, marks=[pytest.mark.slow] * (p.name in SLOW)) for p in PLANS if p.large],
)
def test_large_vector(plan: Plan, tmp_path: Path) -> None:
    CHECKS[plan.kind](plan.vector(), tmp_path)


def test_a_whole_archive_by_a_key_that_is_not_trusted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.pol"
    path.write_bytes(pack(ONE))
    assert refusal(lambda: open_archive(path, trusted=[STRANGER.key])) == Reason.KEY
    assert refusal(lambda: open_archive(path, trusted=[])) == Reason.KEY


def test_the_committed_files_are_those_of_the_catalogue() -> None:
    assert vectors.differences(FOLDER) == []


def test_there_are_many_and_they_are_small() -> None:
    sizes = [file.stat().st_size for file in FILES]
    assert len(sizes) >= 150 and max(sizes) < 1 << 18 and sum(sizes) < 1_750_000


def test_a_file_gives_back_its_vector() -> None:
    for plan in PLANS[:50]:
        if not plan.large:
            vector = plan.vector()
            assert Vector.decode(vector.encode()) == vector


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_vector(reason: Reason) -> None:
    assert any(plan.expect == reason for plan in PLANS)


def test_vectors_name_headings_of_the_specification() -> None:
    headings = re.findall(r"^#+ (.+)$", (ROOT / "SPEC.md").read_text(), re.MULTILINE)
    assert {plan.spec for plan in PLANS} <= set(headings)


def test_reason_codes_are_those_of_the_specification() -> None:
    table = (ROOT / "SPEC.md").read_text().partition("## Reason codes")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == {str(reason) for reason in Reason}


def test_the_catalogue_lays_archives_out_as_the_writer_does(tmp_path: Path) -> None:
    for run in (FULL, NONE, ONE, LONG):
        assert run.seal(tmp_path / "run.pol").read_bytes() == pack(run)
