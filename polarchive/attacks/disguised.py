"""Copy a victim's proof with hidden units in another order, from the first state to the last."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from polarchive.attacks import leaked
from polarchive.attacks.attack import Attack
from polarchive.attacks.known import Known
from polarchive.attacks.log import Log
from polarchive.attacks.permutation import permuted
from polarchive.attacks.puppet import Puppet
from polarchive.measures.symmetry import Group
from polarchive.training.trainer import State


@dataclass(frozen=True, slots=True)
class Disguised(Attack):
    """Permute the units of every state of a leaked proof alike: training commutes with that, so each segment replays.

    Source: found here, from Fang et al., sections VIII-B and IX together. Assumes that the victim's proof and its data
    leaked, that steps draw no random numbers, and an optimizer that treats weights one by one; `groups` are the
    symmetries of the workload's model. Expected: no state, and not the last weights, are the victim's; policies that
    ask for weights only accept, strict ones come to no verdict, as no seed makes the first state. A dispute that is
    told the symmetries undoes the order. Costs no training.
    """

    seeded: ClassVar[bool] = False
    needs_leak: ClassVar[bool] = True
    function_space: ClassVar[bool] = True
    groups: tuple[Group, ...] = ()

    def forge(self, known: Known, trainer: Puppet, log: Log, challenge: Sequence[int] | None = None) -> None:
        """Permute weights, buffers and what the optimizer keeps of each weight."""

        def disguise() -> None:
            state = trainer.save()
            trainer.load(permuted(state, [_everywhere(group, state) for group in self.groups], known.seed))

        leaked.again(known, trainer, log, change=lambda step: None if step % known.every else disguise())
        disguise()


def _everywhere(group: Group, state: State) -> Group:
    """Return a group that has its units in all tensors that an optimizer keeps of the group's tensors, too."""
    kept = [replace(axis, tensor=name) for axis in group.axes for name in state if _is_of(name, axis.tensor, state)]
    return replace(group, axes=tuple(kept))


def _is_of(name: str, tensor: str, state: State) -> bool:
    return name == tensor or (f"/{tensor}/" in name and state[name].shape == state[tensor].shape)
