"""Hold what two claims have in common, measured before anything is decided."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

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
    from, `from_b` the other way round. `fork` is the first entry in which two logs of one signer and run differ.
    """

    relation: Relation
    fork: int | None
    kinship: Kinship
    states: tuple[Pair, ...]
    batches: int | None
    from_a: int | None
    from_b: int | None

    @classmethod
    def of(cls, a: Claim, b: Claim, symmetries: Symmetries | None, d_ref: float | None) -> "Facts":
        """Compare two claims whose archives are whole."""
        assert a.archive is not None and b.archive is not None
        related = logs.relation(a.archive, b.archive)
        return cls(
            relation=related,
            fork=logs.fork(a.archive, b.archive) if related is Relation.REWRITTEN else None,
            kinship=_kinship(a, b, symmetries, d_ref),
            states=logs.shared_states(a, b),
            batches=logs.shared_batches(a.archive, b.archive),
            from_a=logs.starts_from(b.archive, a.archive),
            from_b=logs.starts_from(a.archive, b.archive),
        )


def _kinship(a: Claim, b: Claim, symmetries: Symmetries | None, d_ref: float | None) -> Kinship:
    assert a.archive is not None and b.archive is not None
    groups = list(symmetries(a.archive.header)) if symmetries else None
    noises = [claim.report.noise for claim in (a, b) if claim.report and claim.report.noise]
    noise = max(noises, default=None)
    return kinship(_last(a.archive), _last(b.archive), symmetries=groups, d_ref=d_ref, noise=noise)


def _last(archive: Archive) -> dict[str, Tensor]:
    return to_tensors(archive.state(-1))
