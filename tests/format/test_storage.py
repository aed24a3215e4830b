"""Test that packed archives store states as differences, and that any state can be read in any order."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from polarchive.errors import FormatError, Reason
from polarchive.format import container, delta, storage, tensors
from polarchive.format.archive import open_archive, pack
from polarchive.format.blob import Blob
from polarchive.format.inspect import inspect
from polarchive.format.limits import MAX_CHAIN
from polarchive.format.storage import CODED, PLAIN
from polarchive.format.tensors import Array
from polarchive.recording.coder import KEYFRAMES, Coder
from tests.format.test_delta import encode, noise, numbers, trained
from tests.simulator import Hook, Member, Simulation, State, at

Bases = Callable[[int], int | None]


@cache
def states(count: int) -> list[State]:
    """Return states of a run that trains: the first one has no momentum."""
    first, *others = trained(count)
    return [{"model/w": first["model/w"]}, *others]


def training(segments: int, store: set[int] | None = None) -> Simulation:
    return Simulation(segments=segments, every=1, records=1, store=store, states=lambda _: states(segments + 1))


def coded_on(bases: Mapping[int, int | None], found: list[State]) -> Hook[Member]:
    """Return the hook that stores these states as differences from those, and all others in full."""

    def member(name: str, data: bytes) -> Member:
        index = int(name[9:19]) if name.startswith("70-state-") else -1
        if index not in bases:
            return name, data
        base = bases[index]
        return container.coded_name(index), encode(found[index], {} if base is None else found[base], base)

    return lambda members: [member(*each) for each in members]


def forged(path: Path, bases: Mapping[int, int | None], segments: int) -> Path:
    return replace(training(segments), members=coded_on(bases, states(segments + 1))).seal(path)


def names_of(path: Path) -> list[str]:
    parts = container.read(path)
    with parts.file:
        return [name for name in parts.blobs if name.startswith("70-")]


def refusal(path: Path, *indices: int) -> Reason:
    with open_archive(path, trusted=None) as archive, pytest.raises(FormatError) as caught:
        for index in indices:
            archive.state(index)
    return caught.value.reason


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training(40).pack(tmp_path_factory.mktemp("packed") / "run.pol")


@pytest.mark.parametrize("seed", range(5))
def test_states_are_read_in_any_order(seed: int, packed: Path) -> None:
    order = [*random.Random(seed).choices(range(41), k=30), 40, 0]
    with open_archive(packed, trusted=None) as archive:
        for index in order:
            assert archive.state(index) == states(41)[index]


def test_what_is_read_may_be_changed_and_is_read_again_as_it_was(packed: Path) -> None:
    with open_archive(packed, trusted=None) as archive:
        for _ in range(2):
            found = archive.state(3)
            assert found == states(41)[3] and memoryview(found["model/w"].data).readonly
            found.clear()
        assert archive.state(4) == states(41)[4]


def test_a_packed_archive_is_whole_and_smaller(packed: Path) -> None:
    with open_archive(packed, trusted=None) as archive:
        archive.seal()
        raw = sum(len(bytes(a.data)) for index in range(41) for a in archive.state(index).values())
    summary = inspect(packed)
    assert (summary.raw_bytes, summary.stored_states) == (raw, 41) and summary.sizes["state"] < 0.9 * raw


def test_every_so_many_states_one_is_stored_in_full(packed: Path) -> None:
    full = [name for name in names_of(packed) if name.endswith(".safetensors")]
    assert full == [container.state_name(0), container.state_name(KEYFRAMES)] and KEYFRAMES < MAX_CHAIN


def test_packing_says_the_same_each_time(packed: Path, tmp_path: Path) -> None:
    again = training(40).pack(tmp_path / "again.pol")
    assert again.read_bytes() == packed.read_bytes()
    with open_archive(packed, trusted=None) as archive:
        assert container.write(tmp_path / "members.pol", archive.members()) == archive.digest
    assert (tmp_path / "members.pol").read_bytes() == packed.read_bytes()


def test_coding_changes_no_signature(tmp_path: Path) -> None:
    packed, sealed = training(3).pack(tmp_path / "a.pol"), training(3).seal(tmp_path / "b.pol")
    with open_archive(packed, trusted=None) as coded, open_archive(sealed, trusted=None) as full:
        assert coded.notes == full.notes and coded.digest != full.digest
        assert [coded.root(index) for index in range(4)] == [full.root(index) for index in range(4)]
        for archive, digest in ((coded, coded.digest), (full, full.digest)):
            assert container.write(tmp_path / "c.pol", archive.members()) == digest


def test_a_state_builds_on_the_last_one_that_is_stored(tmp_path: Path) -> None:
    path = training(4, store={2, 3, 4}).pack(tmp_path / "run.pol")
    parts = container.read(path)
    with parts.file:
        bases = [delta.base_of(blob) for name, blob in parts.blobs.items() if name.endswith(".coded")]
    assert bases == [0, 2, 3]
    with open_archive(path, trusted=None) as archive:
        assert archive.state(4) == states(5)[4] and archive.state(2) == states(5)[2]


@pytest.mark.parametrize(
    ("state", "before", "form"),
    [
        (trained(2)[1], trained(2)[0], CODED),
        (trained(2)[1], None, PLAIN),
        ({"x": noise("F32", 1000)}, {"x": noise("F32", 1000, seed=1)}, PLAIN),
        ({}, {}, PLAIN),
    ],
    ids=["after_another", "alone", "noise_after_noise", "nothing"],
)
def test_a_state_is_coded_where_that_is_smaller(state: State, before: State | None, form: str, tmp_path: Path) -> None:
    coder = Coder()
    if before is not None:
        coder.store(0, before, {})
    found, chunks = coder.store(1, state, {})
    data = b"".join(bytes(chunk) for chunk in chunks)
    assert (found, data.startswith(delta.MAGIC)) == (form, form == CODED)
    (tmp_path / f"state{form}").write_bytes(data)
    blob = Blob.of(tmp_path / f"state{form}")
    raw = sum(spec.nbytes for spec in tensors.layout_of(state))
    with blob.file:
        assert storage.read(1, blob, lambda index, depth: before or {}, 0, raw) == state
        assert sum(each for each, _ in storage.by_kind(blob).values()) == raw


def test_what_was_stored_elsewhere_is_not_built_upon() -> None:
    coder, (first, second, *_) = Coder(), trained(3)
    coder.store(0, first, {})
    coder.forget()
    assert coder.store(1, second, {})[0] == PLAIN


def test_states_may_build_on_any_earlier_one(tmp_path: Path) -> None:
    path = forged(tmp_path / "run.pol", {1: 0, 2: 0, 3: None, 4: 2, 5: 3, 6: 1}, segments=6)
    for order in ([6, 5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5, 6], [4, 6, 2, 5]):
        with open_archive(path, trusted=None) as archive:
            assert [archive.state(index) for index in order] == [states(7)[index] for index in order]
            archive.seal()


@pytest.mark.parametrize("base", [2, 3, 4, 2**64 - 2])
def test_a_base_that_is_not_earlier_is_refused(base: int, tmp_path: Path) -> None:
    coded = container.coded_name(2), encode(states(5)[2], states(5)[2], base)
    members: Hook[Member] = at(6, lambda _: coded)
    path = replace(training(4), members=members).seal(tmp_path / "run.pol")
    assert refusal(path, 2) == Reason.CODING and refusal(path, 0, 1, 2) == Reason.CODING


def test_a_base_that_is_not_stored_is_refused(tmp_path: Path) -> None:
    members = coded_on({2: 1, 3: 2}, states(4))
    path = replace(training(3, store={2, 3}), members=members).seal(tmp_path / "run.pol")
    assert refusal(path, 2) == refusal(path, 3) == Reason.CODING
    with open_archive(path, trusted=None) as archive, pytest.raises(FormatError):
        archive.seal()


def test_a_base_that_is_not_the_committed_one_is_refused(tmp_path: Path) -> None:
    members = at(4, lambda member: (member[0], member[1][:-1] + bytes([member[1][-1] ^ 1])))
    coded = coded_on({1: 0}, states(2))
    path = replace(training(1), members=lambda found: members(coded(found))).seal(tmp_path / "run.pol")
    assert refusal(path, 1) == refusal(path, 0) == Reason.STATE


def test_state_0_lies_in_full(tmp_path: Path) -> None:
    assert refusal(forged(tmp_path / "run.pol", {0: None}, segments=1), 0) == Reason.CODING


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_chain_may_not_be_too_long(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_CHAIN", limit)
    path = forged(tmp_path / "run.pol", {index: index - 1 for index in range(1, 8)}, segments=7)
    for index in range(8):
        if index <= limit:
            with open_archive(path, trusted=None) as archive:
                assert archive.state(index) == states(8)[index]
        else:
            assert refusal(path, index) == Reason.CODING


def test_a_chain_may_not_be_too_long_in_order_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_CHAIN", 2)
    path = forged(tmp_path / "run.pol", {1: 0, 2: 1, 3: 2}, segments=3)
    with open_archive(path, trusted=None) as archive, pytest.raises(FormatError):
        archive.seal()


def test_the_longest_chain_is_read(tmp_path: Path) -> None:
    small = [{"x": numbers(0, 60 + index)} for index in range(MAX_CHAIN + 2)]
    chain = coded_on({index: index - 1 for index in range(1, MAX_CHAIN + 2)}, small)
    run = Simulation(segments=MAX_CHAIN + 1, every=1, records=1, states=lambda _: small, members=chain)
    path = run.seal(tmp_path / "run.pol")
    with open_archive(path, trusted=None) as archive:
        assert archive.state(MAX_CHAIN) == small[MAX_CHAIN]
    assert refusal(path, MAX_CHAIN + 1) == Reason.CODING


@pytest.mark.parametrize(("count", "fits"), [(2 * 50 + 25, True), (2 * 50 + 26, False)])
def test_a_state_may_not_grow_too_much(count: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_SMALL_STATE", 100)
    monkeypatch.setattr(storage, "MAX_GROWTH", 2)
    found: list[State] = [{"x": numbers(0, 50)}, {"x": numbers(1, count)}]
    run = Simulation(segments=1, every=1, records=1, states=lambda _: found, members=coded_on({1: None}, found))
    path = run.seal(tmp_path / "run.pol")
    if fits:
        with open_archive(path, trusted=None) as archive:
            assert archive.state(1) == found[1]
    else:
        assert refusal(path, 1) == Reason.LIMIT


def test_both_forms_of_a_state_are_one_too_many(tmp_path: Path) -> None:
    coded = (container.coded_name(1), encode(states(2)[1], {}, None))
    path = replace(training(1), members=lambda found: sorted([*found, coded])).seal(tmp_path / "run.pol")
    with pytest.raises(FormatError) as caught:
        open_archive(path, trusted=None)
    assert caught.value.reason == Reason.MEMBER


def test_an_array_of_each_group_shares_no_memory_with_the_file(packed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run.pol"
    copy.write_bytes(packed.read_bytes())
    with open_archive(copy, trusted=None) as archive:
        found = archive.state(5)
        with copy.open("r+b") as file:
            file.write(bytes(copy.stat().st_size))
        assert found == states(41)[5]
    assert all(isinstance(array, Array) for array in found.values())


def test_no_segment_stored_leaves_state_0(tmp_path: Path) -> None:
    run = replace(training(3, store=set()), finished=False)
    pack(run.record(tmp_path / "run"), tmp_path / "run.pol")
    assert names_of(tmp_path / "run.pol") == [container.state_name(0)]
