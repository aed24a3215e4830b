"""Hold what two claims have in common, measured before anything is decided."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from torch import Tensor

from polarchive.errors import TrainerError
from polarchive.format.archive import Archive
from polarchive.format.entry import Header
from polarchive.measures.kinship import Kinship, kinship
from polarchive.measures.symmetry import Group
from polarchive.training.arrays import to_tensors
from polarchive.verification.dispute import logs
from polarchive.verification.dispute.claim import Claim
from polarchive.verification.dispute.logs import Pair, Relation

Symmetries: TypeAlias = Callable[[Header], Sequence[Group]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Hold how two whole archives relate: as logs, in their last weights, in states and batches.

    `batches` is None where salts hide whether batches are the same. `from_a` is the later state of A that B starts
    from, `from_b` the other way round; `same_start` tells whether they have one state 0. `unfit` says why the judge's
    symmetries could not be used. `fork` is the first entry in which two logs of one signer and run differ.
    """

    relation: Relation
    fork: int | None
    kinship: Kinship
    states: tuple[Pair, ...]
    batches: int | None
    from_a: int | None
    from_b: int | None
    same_start: bool
    unfit: str | None

    @classmethod
    def of(cls, a: Claim, b: Claim, symmetries: Symmetries | None, d_ref: float | None) -> "Facts":
        """Compare two claims whose archives are whole."""
        assert a.archive is not None and b.archive is not None
        related = logs.relation(a.archive, b.archive)
        near, unfit = _kinship(a, b, symmetries, d_ref)
        return cls(
            relation=related,
            fork=logs.fork(a.archive, b.archive) if related is Relation.REWRITTEN else None,
            kinship=near,
            states=logs.shared_states(a, b),
            batches=logs.shared_batches(a.archive, b.archive),
            from_a=logs.starts_from(b.archive, a.archive),
            from_b=logs.starts_from(a.archive, b.archive),
            same_start=a.archive.root(0) == b.archive.root(0),
            unfit=unfit,
        )


def _kinship(a: Claim, b: Claim, symmetries: Symmetries | None, d_ref: float | None) -> tuple[Kinship, str | None]:
    """Return how near the last weights are, and why symmetries do not fit: nobody spoils a dispute by odd shapes."""
    assert a.archive is not None and b.archive is not None
    noises = [claim.report.noise for claim in (a, b) if claim.report and claim.report.noise]
    known = partial(kinship, _last(a.archive), _last(b.archive), d_ref=d_ref, noise=max(noises, default=None))
    try:
        return known(symmetries=list(symmetries(a.archive.header)) if symmetries else None), None
    except TrainerError as error:
        return known(), str(error)


def _last(archive: Archive) -> dict[str, Tensor]:
    return to_tensors(archive.state(-1))
