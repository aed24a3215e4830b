"""Count what attacks cost by Appendix B, for those that it knows."""

from collections.abc import Callable, Mapping
from typing import Final

from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.measures import costs
from polarchive.measures.costs import Setting

_WAYS: Final[Mapping[str, Callable[[Setting], float]]] = {
    "Honest": costs.honest,
    "Infinitesimal": costs.infinitesimal,
    "SyntheticStart": costs.adversarial,
    "JointBatch": costs.joint,
    "Blindfold": costs.blindfold,
}


def counted(attack: Attack, known: Known, segments: int) -> float | None:
    """Return the forward passes that Appendix B counts for an attack whose data are made for so many segments.

    None if it does not know the attack.
    """
    way = _WAYS.get(type(attack).__name__)
    if way is None:
        return None
    workload = known.workload
    setting = Setting(
        k=workload.every,
        steps=workload.steps,
        epoch=workload.epoch,
        spoofed=workload.steps,
        q=known.rules.top,
        n=getattr(attack, "iterations", 0),
    )
    return way(setting) * segments
