"""Ask a second implementation of RFC 9162, pymerkle, whether it computes the same trees."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from polarchive.errors import DigestError, Reason
from polarchive.format import merkle
from polarchive.format.archive import Archive
from polarchive.verification.finding import Finding, passed

CHECK: Final = "trees"


def trees(archive: Archive) -> Iterator[Finding]:
    """Recompute every head's root and every entry's inclusion in the last one with pymerkle, where it is installed.

    DigestError if the two implementations disagree: then one of them is wrong, and nothing may rest on it. Without
    pymerkle (the extra `polarchive[pymerkle]`) there is no finding, for nothing was checked.
    """
    if find_spec("pymerkle") is None:
        return
    other = import_module("pymerkle").InmemoryTree(algorithm="sha256")
    for line in archive.lines:
        other.append_entry(line)
    own = merkle.Tree(map(merkle.leaf, archive.lines))
    size = len(own)
    agreed = all(other.get_root(head.size) == head.root for head in archive.heads) and all(
        other.prove_inclusion(index + 1, size).path[1:] == own.inclusion(index, size) for index in range(size)
    )
    if not agreed:
        raise DigestError(Reason.PROOF, "trees", "pymerkle computes other trees than polarchive")
    yield passed(CHECK, f"pymerkle agrees on {len(archive.heads)} roots and {size} inclusion proofs")
