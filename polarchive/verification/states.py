"""Get the states that a replay begins from and ends in: stored, shown by the prover, or computed again."""

from typing import Final

from torch import Tensor

from polarchive.errors import OpeningError, TrainerError
from polarchive.format.tensors import root_of
from polarchive.training.arrays import to_array, to_tensors
from polarchive.verification.case import Case
from polarchive.verification.feeding import steps

State = dict[str, Tensor]
SHOWN: Final = "shown by the prover"
REGENERATED: Final = "computed again, bit for bit"
MISSING: Final = "not shown, and computed otherwise here"
_KEPT: Final = 2  # the states around one segment


class Missing(OpeningError):
    """Report a state that is not stored, that nobody showed, and that this machine does not reproduce."""


def state(case: Case, index: int) -> State:
    """Return state `index`, which has the committed root; OpeningError if it is shown otherwise, or not at all.

    Missing if the judge has nobody to ask and this machine rounds otherwise than the one that recorded.
    """
    if case.archive.is_stored(index):
        found = to_tensors(case.archive.state(index))
    elif case.states is not None:
        found = _shown(case, index)
        case.obtained[index] = SHOWN
    else:
        found = regenerated(case, index)
        case.obtained[index] = REGENERATED
    return {name: tensor.to(case.device) for name, tensor in found.items()}


def regenerated(case: Case, index: int) -> State:
    """Return a state that is not stored by training on from the last one before it; Missing if its root differs.

    A trainer of its own does so: the one that replays the next segment would carry on what states do not declare.
    """
    if index in case.recent:
        return case.recent[index]
    before = index - 1
    known = to_tensors(case.archive.state(before)) if case.archive.is_stored(before) else regenerated(case, before)
    apart = case.anew()
    apart.trainer.load({name: tensor.to(case.device) for name, tensor in known.items()})
    for _ in steps(apart, before):
        pass
    found = apart.trainer.save()
    if not _is_committed(case, index, found):
        case.obtained[index] = MISSING
        raise Missing(f"state {index} is committed by its root only: {MISSING}")
    case.recent[index] = found
    for old in sorted(case.recent)[:-_KEPT]:
        del case.recent[old]
    return found


def _shown(case: Case, index: int) -> State:
    assert case.states is not None
    found = case.states(index)
    if found is None:
        raise OpeningError(f"state {index} was asked for and not shown")
    if not _is_committed(case, index, dict(found)):
        raise OpeningError(f"state {index} as it was shown is not the one committed")
    return dict(found)


def _is_committed(case: Case, index: int, found: State) -> bool:
    try:
        return root_of({name: to_array(tensor, name) for name, tensor in found.items()}) == case.archive.root(index)
    except TypeError as error:
        raise TrainerError(str(error)) from error
