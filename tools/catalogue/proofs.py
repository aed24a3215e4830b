"""Make inclusion and consistency proofs, challenges, salts and record leaves; proofs are one digest in hex a line."""

from collections.abc import Iterable
from hashlib import sha256

from polarchive.errors import Reason
from polarchive.format import challenge, commitment, merkle
from polarchive.format.commitment import Salts
from polarchive.format.tensors import describe, lp
from tests.simulator import batch_of, noise
from tools.catalogue import OK, Made, vector

LEAVES = [merkle.leaf(bytes([number])) for number in range(7)]
TREE = merkle.Tree(LEAVES)
SPEC = "Trees"


def inclusion(
    index: int = 2,
    size: int = 7,
    *,
    proof: Iterable[bytes] | None = None,
    leaf: bytes | None = None,
    root: bytes | None = None,
) -> Made:
    """Return the proof that leaf 2 is in the tree of 7, or parts of it with others."""
    steps = TREE.inclusion(2, 7) if proof is None else proof
    leaf = LEAVES[2] if leaf is None else leaf
    root = TREE.root(7) if root is None else root
    return spelled(steps), {"leaf": leaf.hex(), "index": index, "size": size, "root": root.hex()}


def consistency(
    first: int = 3,
    second: int = 7,
    *,
    proof: Iterable[bytes] | None = None,
    old: bytes | None = None,
    new: bytes | None = None,
) -> Made:
    """Return the proof that the tree of 3 is a prefix of the tree of 7, or parts of it with others."""
    steps = TREE.consistency(3, 7) if proof is None else proof
    old = TREE.root(3) if old is None else old
    new = TREE.root(7) if new is None else new
    return spelled(steps), {"first": first, "second": second, "old": old.hex(), "new": new.hex()}


def spelled(proof: Iterable[bytes]) -> bytes:
    """Return a proof as lines of hex digits."""
    return "".join(digest.hex() + "\n" for digest in proof).encode()


PATH, PREFIX = TREE.inclusion(2, 7), TREE.consistency(3, 7)


@vector("inclusion", OK, SPEC)
def honest_path() -> Made:
    """Leaf 2 in the tree of 7."""
    return inclusion()


@vector("inclusion", OK, SPEC)
def last_leaf() -> Made:
    """Leaf 6 in the tree of 7, whose path skips a level."""
    return inclusion(6, leaf=LEAVES[6], proof=TREE.inclusion(6, 7))


@vector("inclusion", OK, SPEC)
def only_leaf() -> Made:
    """The leaf of a tree of 1, whose path is empty."""
    return inclusion(0, 1, leaf=LEAVES[0], proof=[], root=LEAVES[0])


@vector("inclusion", Reason.PROOF, SPEC)
def another_leaf() -> Made:
    """The path of another leaf."""
    return inclusion(leaf=LEAVES[3])


@vector("inclusion", Reason.PROOF, SPEC)
def another_index() -> Made:
    """The index of its neighbour."""
    return inclusion(3)


@vector("inclusion", Reason.PROOF, SPEC)
def another_root() -> Made:
    """The root of the tree of 6."""
    return inclusion(root=TREE.root(6))


@vector("inclusion", Reason.PROOF, SPEC)
def another_size() -> Made:
    """The size 4, for which the path is too long."""
    return inclusion(size=4)


@vector("inclusion", Reason.PROOF, SPEC)
def index_not_below_size() -> Made:
    """An index equal to the size."""
    return inclusion(7)


@vector("inclusion", Reason.PROOF, SPEC)
def empty_tree() -> Made:
    """A leaf in the tree of size 0, whose root is root()."""
    return inclusion(0, 0, proof=[], root=merkle.EMPTY)


@vector("inclusion", Reason.PROOF, SPEC)
def path_too_long() -> Made:
    """A digest follows the path."""
    return inclusion(proof=[*PATH, LEAVES[0]])


@vector("inclusion", Reason.PROOF, SPEC)
def path_too_short() -> Made:
    """The last digest of the path is missing."""
    return inclusion(proof=PATH[:-1])


@vector("inclusion", Reason.PROOF, SPEC)
def path_empty() -> Made:
    """The path is empty, and the leaf is the root."""
    return inclusion(proof=[], leaf=TREE.root(7))


@vector("inclusion", Reason.PROOF, SPEC)
def path_swapped() -> Made:
    """Two digests of the path have changed places."""
    return inclusion(proof=[PATH[1], PATH[0], *PATH[2:]])


@vector("inclusion", Reason.PROOF, SPEC)
def path_of_a_node() -> Made:
    """An inner node passes for a leaf, in the tree of the nodes above it."""
    return inclusion(1, 7, leaf=merkle.node(LEAVES[2], LEAVES[3]), proof=PATH[1:])


@vector("inclusion", Reason.PROOF, SPEC)
def path_with_a_short_digest() -> Made:
    """A digest of the path has 31 bytes."""
    return inclusion(proof=[PATH[0][:-1], *PATH[1:]])


@vector("inclusion", Reason.PROOF, SPEC)
def short_leaf_as_a_root() -> Made:
    """Leaf and root of a tree of 1 are the same 31 bytes, which a literal reading of the RFC accepts."""
    return inclusion(0, 1, leaf=bytes(31), proof=[], root=bytes(31))


@vector("consistency", OK, SPEC)
def honest_prefix() -> Made:
    """The tree of 3 is a prefix of the tree of 7."""
    return consistency()


@vector("consistency", OK, SPEC)
def prefix_of_a_power_of_two() -> Made:
    """The tree of 4, a full one, is a prefix of the tree of 7: its root is not in the proof."""
    return consistency(4, proof=TREE.consistency(4, 7), old=TREE.root(4))


@vector("consistency", OK, SPEC)
def prefix_of_itself() -> Made:
    """The tree of 7 is a prefix of itself; the proof is empty."""
    return consistency(7, proof=[], old=TREE.root(7))


@vector("consistency", Reason.PROOF, SPEC)
def size_0_with_an_empty_proof() -> Made:
    """From size 0, with an empty proof, which a literal reading of the RFC accepts."""
    return consistency(0, proof=[], old=merkle.EMPTY)


@vector("consistency", Reason.PROOF, SPEC)
def size_0_twice() -> Made:
    """From size 0 to size 0."""
    return consistency(0, 0, proof=[], old=merkle.EMPTY, new=merkle.EMPTY)


@vector("consistency", Reason.PROOF, SPEC)
def backwards() -> Made:
    """From size 7 to size 3."""
    return consistency(7, 3, old=TREE.root(7), new=TREE.root(3))


@vector("consistency", Reason.PROOF, SPEC)
def sizes_swapped() -> Made:
    """From size 3 to size 7, with the roots swapped."""
    return consistency(old=TREE.root(7), new=TREE.root(3))


@vector("consistency", Reason.PROOF, SPEC)
def equal_sizes_of_different_roots() -> Made:
    """From size 7 to size 7, with different roots: a rewritten log."""
    return consistency(7, proof=[], old=LEAVES[0])


@vector("consistency", Reason.PROOF, SPEC)
def equal_sizes_with_a_proof() -> Made:
    """From size 7 to size 7, with a digest where none is due."""
    return consistency(7, proof=[LEAVES[0]], old=TREE.root(7))


@vector("consistency", Reason.PROOF, SPEC)
def empty_proof() -> Made:
    """From size 3 to size 7, with an empty proof."""
    return consistency(proof=[])


@vector("consistency", Reason.PROOF, SPEC)
def empty_proof_from_a_power_of_two() -> Made:
    """From size 4 to size 7, with an empty proof and equal roots."""
    return consistency(4, proof=[], old=TREE.root(7))


@vector("consistency", Reason.PROOF, SPEC)
def proof_too_long() -> Made:
    """A digest follows the proof."""
    return consistency(proof=[*PREFIX, LEAVES[0]])


@vector("consistency", Reason.PROOF, SPEC)
def proof_too_short() -> Made:
    """The last digest of the proof is missing."""
    return consistency(proof=PREFIX[:-1])


@vector("consistency", Reason.PROOF, SPEC)
def proof_swapped() -> Made:
    """The first two digests of the proof have changed places."""
    return consistency(proof=[PREFIX[1], PREFIX[0], *PREFIX[2:]])


@vector("consistency", Reason.PROOF, SPEC)
def proof_with_a_long_digest() -> Made:
    """A digest of the proof has 33 bytes."""
    return consistency(proof=[PREFIX[0] + b"\0", *PREFIX[1:]])


@vector("consistency", Reason.PROOF, SPEC)
def short_roots() -> Made:
    """From size 7 to size 7, with equal roots of 31 bytes."""
    return consistency(7, proof=[], old=bytes(31), new=bytes(31))


@vector("consistency", Reason.PROOF, SPEC)
def old_root_of_another_history() -> Made:
    """The old root is of a log whose last entry was another."""
    old = merkle.root([*LEAVES[:2], LEAVES[4]])
    return consistency(old=old)


@vector("consistency", Reason.PROOF, SPEC)
def new_root_of_another_history() -> Made:
    """The new root is of a log whose first entry was another."""
    return consistency(new=merkle.root([LEAVES[1], *LEAVES[1:]]))


def drawn(population: int, count: int) -> Made:
    """Return the text of a head, and what is drawn from it and a nonce."""
    text, nonce = b"prover.example/run\n12\nAAAA\n", bytes(range(32))
    found = challenge.derive(text, nonce)
    indices = " ".join(map(str, challenge.draw(found, population, count, "segments")))
    more = {
        "nonce": nonce.hex(),
        "challenge": found.hex(),
        "label": "segments",
        "population": population,
        "count": count,
    }
    return text, {**more, "indices": indices}


@vector("challenge", OK, "Challenges")
def three_of_1000() -> Made:
    """Three different indices below 1,000."""
    return drawn(1000, 3)


@vector("challenge", OK, "Challenges")
def all_of_5() -> Made:
    """All indices below 5, some words of which are drawn again."""
    return drawn(5, 5)


@vector("challenge", OK, "Challenges")
def one_of_most() -> Made:
    """One index below 2^63 + 1, for which almost every second word is skipped."""
    return drawn((1 << 63) + 1, 1)


@vector("challenge", OK, "Challenges")
def forty_of_64() -> Made:
    """Forty indices below 64, which take several blocks."""
    return drawn(64, 40)


@vector("salts", OK, "Records and batches")
def salts_of_a_step() -> Made:
    """Slots 1 to 3 of step 7 in epoch 2."""
    secret, run = noise(0, "secret", 32), noise(0, "run", 16)
    salts = Salts(secret, run).of(2, 7, 1, 3)
    return salts, {"secret": secret.hex(), "run": run.hex(), "epoch": 2, "step": 7, "start": 1, "count": 3}


@vector("record", OK, "Records and batches")
def record_leaf() -> Made:
    """The bytes of a record with an image, a label and a caption; and its leaf under a salt."""
    batch, salt = batch_of(0, 0, 0, 1), noise(0, "salt", 32)
    (leaf,) = commitment.leaves(batch, salt)
    body = _record(batch)
    assert leaf == sha256(b"\0" + commitment.RECORD + salt + body).digest()
    return body, {"salt": salt.hex(), "leaf": leaf.hex()}


def _record(batch: commitment.Batch) -> bytes:
    parts = []
    for name, column in sorted(batch.columns.items()):
        if isinstance(column, commitment.Texts):
            parts.append(lp(name.encode()) + describe("UTF8", ()) + lp(column.values[0]))
        else:
            parts.append(lp(name.encode()) + describe(column.dtype, column.shape[1:]) + lp(bytes(column.data)))
    return b"".join(parts)
