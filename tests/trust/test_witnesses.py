"""Test which heads a judge finds cosigned: by the witnesses it knows, and refusing what is in their name and false."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from polarchive.errors import FormatError, Reason, SignatureError
from polarchive.format import attach, container, cosignature
from polarchive.format.archive import open_archive
from polarchive.format.cosignature import Cosigned, WitnessKey
from polarchive.format.note import Head
from polarchive.trust import witnesses
from polarchive.trust.trust import Trust
from tests.simulator import PROVER, STRANGER, FakeSigner, Simulation
from tests.witness import FIRST, NOON, SECOND, key_of

HEADS = {head.size: head for head in Simulation().run().heads}
LAST = max(HEADS)
KNOWN = Trust((PROVER.key,), witnesses=(key_of(FIRST), key_of(SECOND)))
Make = Callable[[Simulation, Path], Path]


def lines(size: int, *signers: FakeSigner) -> bytes:
    return b"".join(cosignature.cosign(HEADS[size].text, signer, NOON) for signer in signers)


def found(path: Path, members: Mapping[int, bytes], trust: Trust = KNOWN) -> Mapping[int, tuple[Cosigned, ...]]:
    """Return what a judge finds when these lines lie beside the heads."""
    for size, data in members.items():
        attach.replace(path, container.cosignatures_name(size), data)
    with open_archive(path, trusted=trust.keys) as archive:
        return witnesses.cosigned(archive, trust)


@pytest.fixture(params=[Simulation.record, Simulation.pack], ids=["run_directory", "archive"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make: Make = request.param
    return make(Simulation(), tmp_path / "run")


def test_nothing_is_cosigned_by_nobody(path: Path) -> None:
    assert found(path, {}) == {}


def test_cosigned_heads_are_found_in_order_of_size(path: Path) -> None:
    both, one = lines(LAST, FIRST, SECOND), lines(2, SECOND)
    assert found(path, {LAST: both, 2: one}) == {
        2: (Cosigned(key_of(SECOND), NOON),),
        LAST: (Cosigned(key_of(FIRST), NOON), Cosigned(key_of(SECOND), NOON)),
    }
    assert list(found(path, {})) == [2, LAST]


def test_a_judge_knows_whom_it_knows(path: Path) -> None:
    members = {LAST: lines(LAST, STRANGER, FIRST, SECOND), 1: lines(1, STRANGER)}
    assert found(path, members, Trust((PROVER.key,))) == {}
    only = Trust((PROVER.key,), witnesses=(key_of(SECOND),))
    assert found(path, members, only) == {LAST: (Cosigned(key_of(SECOND), NOON),)}


def test_the_provers_own_key_is_no_witness(path: Path) -> None:
    """A judge who named the prover's key a witness would be told what it was told already; the ids differ."""
    note_line = Simulation().run().notes[-1].split(b"\n\n")[1]
    own = Trust((PROVER.key,), witnesses=(key_of(PROVER),))
    assert found(path, {LAST: note_line}, own) == {}


FALSE = {
    "over_another_head": lines(1, FIRST),
    "over_another_run": cosignature.cosign(Simulation(seed=1).run().heads[-1].text, FIRST, NOON),
    "over_another_root": cosignature.cosign(Head(HEADS[LAST].origin, LAST, bytes(32)).text, FIRST, NOON),
    "beside_a_good_one": lines(LAST, SECOND) + lines(1, FIRST),
    "before_a_good_one_of_its_own": lines(1, FIRST) + lines(LAST, FIRST),
}


@pytest.mark.parametrize("data", FALSE.values(), ids=FALSE)
def test_a_false_line_of_a_known_witness_breaks_the_archive(data: bytes, path: Path) -> None:
    with pytest.raises(SignatureError) as refusal:
        found(path, {LAST: data})
    assert refusal.value.reason == Reason.SIGNATURE and refusal.value.place == container.cosignatures_name(LAST)


@pytest.mark.parametrize("data", FALSE.values(), ids=FALSE)
def test_whether_it_is_false_only_matters_to_who_knows_the_witness(data: bytes, path: Path) -> None:
    assert found(path, {LAST: data}, Trust((PROVER.key,), witnesses=(key_of(STRANGER),))) == {}


def test_what_is_no_line_is_refused_whoever_is_known(path: Path) -> None:
    for trust in (KNOWN, Trust((PROVER.key,))):
        with pytest.raises(FormatError) as refusal:
            found(path, {LAST: lines(LAST, FIRST) + b"what is this\n"}, trust)
        assert refusal.value.reason == Reason.COSIGNATURE


def test_a_witness_is_loaded_from_its_line(tmp_path: Path) -> None:
    (tmp_path / "w1.pub").write_text(f"{key_of(FIRST)}\n")
    assert witnesses.load_witness(tmp_path / "w1.pub") == key_of(FIRST)


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"none", f"{PROVER.key}\n".encode()], ids=["0", "bytes", "text", "prover"]
)
def test_a_file_without_a_witness_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "w1.pub").write_bytes(data)
    with pytest.raises(FormatError) as refusal:
        witnesses.load_witness(tmp_path / "w1.pub")
    assert refusal.value.reason == Reason.KEY and isinstance(key_of(FIRST), WitnessKey)
