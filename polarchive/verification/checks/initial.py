"""Ask where state 0 comes from: a run that starts at a stolen model proves nothing."""

from collections.abc import Iterator
from typing import Final

from polarchive.format.tensors import Array, root_of
from polarchive.training.arrays import to_array
from polarchive.training.trainer import State
from polarchive.verification.case import Case
from polarchive.verification.finding import Finding, Outcome, passed

CHECK: Final = "initial"


def initial(case: Case) -> Iterator[Finding]:
    """Compare all state of the fresh trainer, built from the header's seed, with state 0, bit for bit.

    Unknown is where a parent comes from that the judge has not named (`Parent` names it), and what nothing explains.
    """
    stated = case.archive.header.initial
    if stated.kind != "seeded":
        yield Finding(CHECK, Outcome.UNKNOWN, f"state 0 is {stated.kind}: nothing here shows where it comes from")
        return
    where = f"what the trainer builds from seed {stated.seed}"
    yield from repeated(case, case.trainer.save(), where)


def repeated(case: Case, own: State, where: str) -> Iterator[Finding]:
    """Say whether the judge's own state is state 0; if not, name the first tensor that differs."""
    built = {name: to_array(tensor, name) for name, tensor in own.items()}
    if root_of(built) == case.archive.root(0):
        yield passed(CHECK, f"state 0 is {where}")
        return
    recorded = case.archive.state(0)
    odd = next(
        name
        for name in sorted(built.keys() | recorded.keys())
        if name not in built or name not in recorded or not _same(built[name], recorded[name])
    )
    outcome = Outcome.FAILED if case.same_randomness else Outcome.UNKNOWN
    yield Finding(CHECK, outcome, f"state 0 is not {where}", tensor=odd)


def _same(left: Array, right: Array) -> bool:
    return (left.dtype, left.shape, bytes(left.data)) == (right.dtype, right.shape, bytes(right.data))
