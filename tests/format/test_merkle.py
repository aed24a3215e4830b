"""Test trees against the definition in RFC 9162, its published vectors, and an independent library."""

import importlib.util
from collections.abc import Callable, Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given

from polarchive.errors import DigestError, Reason
from polarchive.format.merkle import EMPTY, Digest, Proof, Tree, check_consistency, check_inclusion, leaf, node, root
from tests.format.strategies import digests

SIZE = 70
DATA = [f"leaf {number}".encode() for number in range(SIZE)]
LEAVES = [leaf(data) for data in DATA]
TREE = Tree(LEAVES)
PAIRS = [(first, second) for second in range(1, SIZE + 1) for first in range(1, second + 1)]
MUTATED = [1, 2, 3, 5, 8, 13]  # sizes of which every proof is mutated in every bit

# The leaves and roots of the reference implementation of Certificate Transparency.
PUBLISHED_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
PUBLISHED_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def largest_power_below(count: int) -> int:
    power = 1
    while 2 * power < count:
        power *= 2
    return power


def naive_root(leaves: list[Digest]) -> Digest:
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY
    middle = largest_power_below(len(leaves))
    return node(naive_root(leaves[:middle]), naive_root(leaves[middle:]))


def naive_path(index: int, leaves: list[Digest]) -> Proof:
    if len(leaves) == 1:
        return []
    middle = largest_power_below(len(leaves))
    if index < middle:
        return [*naive_path(index, leaves[:middle]), naive_root(leaves[middle:])]
    return [*naive_path(index - middle, leaves[middle:]), naive_root(leaves[:middle])]


def naive_subproof(size: int, leaves: list[Digest], whole: bool) -> Proof:
    if size == len(leaves):
        return [] if whole else [naive_root(leaves)]
    middle = largest_power_below(len(leaves))
    if size <= middle:
        return [*naive_subproof(size, leaves[:middle], whole), naive_root(leaves[middle:])]
    return [*naive_subproof(size - middle, leaves[middle:], False), naive_root(leaves[:middle])]


def mutations(proof: Proof) -> Iterator[Proof]:
    """Yield the proof with every single bit flipped, and with digests dropped, added, cut, lengthened or swapped."""
    for place, digest in enumerate(proof):
        others = [
            bytes(byte ^ (1 << bit) * (at == n) for at, byte in enumerate(digest))
            for n in range(32)
            for bit in range(8)
        ]
        for other in [*others, digest[:-1], digest + b"\0", b""]:
            yield [*proof[:place], other, *proof[place + 1 :]]
        yield [*proof[:place], *proof[place + 1 :]]
    for place in range(len(proof) + 1):
        yield [*proof[:place], bytes(32), *proof[place:]]
        yield [*proof[:place], *proof[max(0, place - 1) : place], *proof[place:]] if place else [*proof, EMPTY]
    for place in range(1, len(proof)):
        yield [*proof[: place - 1], proof[place], proof[place - 1], *proof[place + 1 :]]


def is_refused(check: Callable[..., None], *arguments: object) -> bool:
    try:
        check(*arguments)
    except DigestError as error:
        return error.reason == Reason.PROOF
    return False


def test_published_roots() -> None:
    leaves = [leaf(bytes.fromhex(data)) for data in PUBLISHED_LEAVES]
    assert [root(leaves[:size]).hex() for size in range(1, 9)] == PUBLISHED_ROOTS


def test_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert root([]) == Tree().root() == EMPTY
    assert EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_leaf_hashes_the_concatenation_of_its_parts() -> None:
    assert leaf(b"ab", memoryview(b"c")) == leaf(b"abc") != leaf(b"acb")


def test_an_interior_node_is_no_leaf() -> None:
    assert leaf(LEAVES[0] + LEAVES[1]) != node(LEAVES[0], LEAVES[1])


@pytest.mark.parametrize("size", range(SIZE + 1))
def test_roots_are_as_defined(size: int) -> None:
    expected = naive_root(LEAVES[:size])
    assert root(LEAVES[:size]) == TREE.root(size) == Tree(LEAVES[:size]).root() == expected


@pytest.mark.parametrize("size", range(1, SIZE + 1))
def test_inclusion_proofs_are_as_defined_and_accepted(size: int) -> None:
    for index in range(size):
        proof = TREE.inclusion(index, size)
        assert proof == naive_path(index, LEAVES[:size])
        check_inclusion(LEAVES[index], index, size, proof, TREE.root(size))


@pytest.mark.parametrize("second", range(1, SIZE + 1))
def test_consistency_proofs_are_as_defined_and_accepted(second: int) -> None:
    for first in range(1, second + 1):
        proof = TREE.consistency(first, second)
        assert proof == naive_subproof(first, LEAVES[:second], True)
        check_consistency(first, second, proof, TREE.root(first), TREE.root(second))


@pytest.mark.parametrize("size", MUTATED)
def test_mutated_inclusion_proofs_are_refused(size: int) -> None:
    expected = TREE.root(size)
    for index in range(size):
        for proof in mutations(TREE.inclusion(index, size)):
            assert is_refused(check_inclusion, LEAVES[index], index, size, proof, expected)


@pytest.mark.parametrize("second", MUTATED)
def test_mutated_consistency_proofs_are_refused(second: int) -> None:
    for first in range(1, second + 1):
        old, new = TREE.root(first), TREE.root(second)
        for proof in mutations(TREE.consistency(first, second)):
            assert is_refused(check_consistency, first, second, proof, old, new)


@pytest.mark.parametrize("size", range(2, SIZE + 1))
def test_a_leaf_is_refused_at_every_other_index(size: int) -> None:
    expected, index = TREE.root(size), size // 3
    proof = TREE.inclusion(index, size)
    assert all(
        is_refused(check_inclusion, LEAVES[index], other, size, proof, expected)
        for other in range(-1, size + 2)
        if other != index
    )


@pytest.mark.parametrize("index", range(1, SIZE))
def test_another_leaf_is_refused(index: int) -> None:
    assert is_refused(check_inclusion, LEAVES[index - 1], index, SIZE, TREE.inclusion(index), TREE.root())


def test_a_root_is_refused_as_prefix_of_another_history() -> None:
    for first, second in PAIRS:
        other = leaf(TREE.root(first))
        assert is_refused(check_consistency, first, second, TREE.consistency(first, second), other, TREE.root(second))
        assert is_refused(check_consistency, first, second, TREE.consistency(first, second), TREE.root(first), other)


@pytest.mark.parametrize(
    ("first", "second", "proof"),
    [(0, 5, []), (0, 0, []), (-1, 5, []), (6, 5, []), (5, 5, [EMPTY]), (4, 5, []), (1, 1, [LEAVES[0]])],
)
def test_consistency_that_the_rfc_forgets_is_refused(first: int, second: int, proof: Proof) -> None:
    old, new = TREE.root(max(first, 0)), TREE.root(second)
    assert is_refused(check_consistency, first, second, proof, old, new)


A, B, C, D = LEAVES[:4]
STRETCHED: dict[str, Callable[[], None]] = {  # proofs of the wrong length, with roots made to fit them
    "inclusion_before_the_first": lambda: check_inclusion(A, -1, 1, [], A),
    "inclusion_without_a_step": lambda: check_inclusion(A, 0, 2, [], A),
    "inclusion_a_step_short": lambda: check_inclusion(A, 0, 4, [B], node(A, B)),
    "inclusion_a_step_long": lambda: check_inclusion(A, 0, 1, [B], node(B, A)),
    "consistency_a_step_short": lambda: check_consistency(1, 4, [B], A, node(A, B)),
    "consistency_a_step_long": lambda: check_consistency(
        3, 4, [C, D, node(A, B), A], node(A, node(node(A, B), C)), node(A, node(node(A, B), node(C, D)))
    ),
}


@pytest.mark.parametrize("check", STRETCHED.values(), ids=STRETCHED)
def test_proofs_of_another_length_are_refused_though_they_lead_to_the_root(check: Callable[[], None]) -> None:
    assert is_refused(check)


def test_equal_sizes_need_equal_roots() -> None:
    check_consistency(5, 5, [], TREE.root(5), TREE.root(5))
    assert is_refused(check_consistency, 5, 5, [], TREE.root(4), TREE.root(5))


@pytest.mark.parametrize("wrong", [b"", EMPTY[:31], EMPTY + b"\0"])
def test_digests_of_another_length_are_refused(wrong: bytes) -> None:
    assert is_refused(check_inclusion, wrong, 0, 1, [], wrong)
    assert is_refused(check_inclusion, EMPTY, 0, 1, [], wrong)
    assert is_refused(check_consistency, 1, 1, [], wrong, wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda: TREE.root(SIZE + 1),
        lambda: TREE.root(-1),
        lambda: TREE.inclusion(SIZE),
        lambda: TREE.inclusion(-1),
        lambda: TREE.inclusion(3, 3),
        lambda: TREE.consistency(0),
        lambda: TREE.consistency(4, 3),
        lambda: TREE.consistency(1, SIZE + 1),
    ],
)
def test_a_tree_answers_only_for_what_it_holds(call: Callable[[], object]) -> None:
    with pytest.raises(IndexError):
        call()


@given(st.lists(digests, min_size=1, max_size=40), st.data())
def test_every_prefix_of_a_growing_tree_is_provable(leaves: list[Digest], data: st.DataObject) -> None:
    tree = Tree()
    for digest in leaves:
        tree.append(digest)
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    assert tree.root(size) == naive_root(leaves[:size])
    check_inclusion(leaves[index], index, size, tree.inclusion(index, size), tree.root(size))
    check_consistency(size, len(leaves), tree.consistency(size), tree.root(size), tree.root())


@given(digests, st.integers(-2, 2**65), st.integers(-2, 2**65), st.lists(digests, max_size=70), digests)
def test_random_proofs_are_refused(digest: Digest, index: int, size: int, proof: Proof, expected: Digest) -> None:
    if (index, size, proof, expected) != (0, 1, [], digest):
        assert is_refused(check_inclusion, digest, index, size, proof, expected)


@pytest.mark.skipif(importlib.util.find_spec("pymerkle") is None, reason="pymerkle is an extra")
def test_pymerkle_agrees_on_roots_and_paths() -> None:
    from pymerkle import InmemoryTree

    other = InmemoryTree(algorithm="sha256")
    for size, data in enumerate(DATA, 1):
        other.append_entry(data)
        assert other.get_root(size) == TREE.root(size)
        for index in range(size):
            assert other.prove_inclusion(index + 1, size).path[1:] == TREE.inclusion(index, size)
