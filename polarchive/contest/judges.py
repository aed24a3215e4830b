"""Have policies judge with what a contest knows: the reference distance of its training, and how long an epoch is."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from polarchive.contest.arena import Arena
from polarchive.verification import policies, policyfile
from polarchive.verification.policy import Policy

NAMES: Final = ("jia2021_topq", "jia2021_full", "relative", "sampled", "strict", "exact")


def judges(arena: Arena, names: Iterable[str] = NAMES) -> dict[str, Policy]:
    """Return the policies of these names, or in TOML files of these names; PolError if there is no such policy."""
    return {name: _MADE[name](arena) if name in _MADE else policyfile.named(name) for name in names}


def _topq(arena: Arena) -> Policy:
    epoch = arena.workload.epoch * arena.workload.batch
    return policies.jia2021_topq(arena.top, epoch, arena.fraction, arena.reference.mean)


_MADE: Final[Mapping[str, Callable[[Arena], Policy]]] = {
    "jia2021_full": lambda arena: policies.jia2021_full(arena.fraction, arena.reference.mean),
    "jia2021_topq": _topq,
    "sampled": lambda arena: policies.sampled(arena.drawn),
}
