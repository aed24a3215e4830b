"""Hold what there is to lie with: states, settings and batches that training did not make, and what stands beside."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

import polarchive as pol
from polarchive.format.commitment import Batch as Columns
from polarchive.format.entry import Initial
from polarchive.format.schema import Field, Schema
from polarchive.verification.checks.parent import Parent, Part
from polarchive.verification.checks.released import Released
from polarchive.verification.checks.schema import Demanded
from tests.forging import ALONE, RECORDS, Change, Hyper, State
from tests.simulator import PROVER
from tests.workloads import CONVNET, Batch, build_convnet


def scaled(name: str, factor: float) -> Change:
    return lambda state: {**state, name: state[name] * factor}


def more(name: str, amount: float) -> Change:
    return lambda state: {**state, name: state[name] + amount}


def without(name: str) -> Change:
    return lambda state: {key: value for key, value in state.items() if key != name}


def with_nan(name: str) -> Change:
    def change(state: State) -> State:
        state[name].view(-1)[0] = torch.nan
        return state

    return change


def with_settings(**settings: Any) -> Change:
    return lambda hyper: {**hyper, **{f"optimizer/0/{name}": value for name, value in settings.items()}}


def only(place: int, **settings: Any) -> Callable[[int, Hyper], Hyper]:
    """Use and record other settings at one step, and the usual ones at all others."""
    usual = with_settings(lr=0.05, momentum=0.9, weight_decay=1e-4)
    return lambda step, hyper: with_settings(**settings)(usual(hyper)) if step == place else usual(hyper)


def with_pixel(batch: Batch) -> Batch:
    images = batch[0].clone()
    images[3, 16, 16, 0] ^= 1
    return images, batch[1]


def with_label(batch: Batch) -> Batch:
    labels = batch[1].clone()
    labels[5] = (labels[5] + 1) % 10
    return batch[0], labels


def swapped_records(batch: Batch) -> Batch:
    order = torch.tensor([1, 0, *range(2, len(batch[1]))])
    return batch[0][order], batch[1][order]


def swapped_batches(step: int, batch: Batch) -> Batch:
    return CONVNET.batches({13: 14, 14: 13}.get(step, step))


def of_step(step: int) -> Change:
    return lambda batch: CONVNET.batches(step)


def stolen() -> State:
    """Return the model that the attackers would like to have trained."""
    torch.manual_seed(99)
    return build_convnet(None, "cpu").save()


def toward_stolen(index: int, state: State) -> State:
    """Walk from the fresh model to the stolen one in a straight line, in three states; all else stays honest."""
    start, goal = CONVNET.trainer().save(), stolen()
    return weights_of(state, {name: torch.lerp(start[name], goal[name], index / 3) for name in goal if goal[name].ndim})


def far_and_back(step: int, hyper: Hyper) -> Hyper:
    """Use a rate that throws the weights far out, then the largest decay to bring them back, then stand still."""
    decay = {step: {"lr": 1e-6, "weight_decay": 0.99e5} for step in range(12, 24)}
    rates = {0: {"lr": 3e3}, **decay}
    return with_settings(**{"lr": 0.0, "momentum": 0.0, "weight_decay": 0.0, **rates.get(step, {})})(hyper)


def weights_of(state: State, other: State) -> State:
    """Return the state with the weights of another."""
    return {name: other[name] if name.endswith(("weight", "bias")) else state[name] for name in state}


@dataclass
class Steered:
    """Move what training makes of some tensors by a share of their update, in every state, and so as theft would."""

    share: float
    move: Callable[[State, State, float], State]
    before: State = field(default_factory=dict)

    def __call__(self, index: int, truth: State) -> State:
        claimed = self.move(self.before, truth, self.share) if index else truth
        self.before = claimed
        return claimed


def weights_toward_stolen(before: State, truth: State, share: float) -> State:
    """Move each weight toward the stolen model's."""
    goal, claimed = stolen(), dict(truth)
    for name in (name for name in truth if name in goal and name.endswith(("weight", "bias"))):
        claimed[name] = truth[name] + along(goal[name] - truth[name], share * (truth[name] - before[name]).norm())
    return claimed


def momentum_toward_stolen(before: State, truth: State, share: float) -> State:
    """Leave the weights as they are, and have momentum lead them toward the stolen model's from here on."""
    goal, claimed = stolen(), dict(truth)
    for name in (name for name in truth if f"optimizer/{name}/momentum_buffer" in truth):
        key = f"optimizer/{name}/momentum_buffer"
        update = truth[key] - before.get(key, torch.zeros_like(truth[key]))
        claimed[key] = truth[key] - along(goal[name] - truth[name], share * min(update.norm(), truth[key].norm()))
    return claimed


def along(way: Tensor, length: Tensor) -> Tensor:
    return way * (length / way.norm())


def small_second_moments_zeroed(state: State) -> State:
    """Zero what adds little to the length of a second moment, and much to the next update: its small elements."""
    claimed = dict(state)
    for name in (name for name in state if name.endswith("/exp_avg_sq")):
        flat = state[name].flatten()
        order = flat.argsort()
        few = flat[order].double().square().cumsum(0).sqrt() <= 0.02 * flat.double().norm()
        claimed[name] = flat.index_fill(0, order[few], 0.0).view_as(state[name])
    return claimed


# What stands beside a run.


class Lenient(Schema):
    """Passes for a schema before the writer, and lets everything through."""

    def check(self, batch: Columns) -> None:
        return


def dim(images: Tensor) -> Tensor:
    return images.clamp(max=200)


def dim_but_one(step: int) -> Batch:
    images, labels = CONVNET.batches(step)
    return (images if step == 13 else dim(images)), labels


def with_dim_schema(folder: Path, log: pol.Writer) -> None:
    """State a schema of dim images only."""
    log._schema_of = lambda batch: Lenient(Schema.of(batch, bounds={"0": (0, 200)}).fields)


def glaring(step: int) -> Batch:
    """Show images with numbers that no camera gives."""
    images, labels = CONVNET.batches(step)
    return images.float() * 40, labels


IMAGES_ONLY: Final = Demanded(
    Schema((Field("0", "U8", "record", (32, 32, 3), 0, 255), Field("1", "I64", "record", (), 0, 9)))
)


def epoch_by_epoch(step: int) -> list[int]:
    """Visit the records in their order, again and again."""
    return [row % RECORDS for row in range(8 * step, 8 * step + 8)]


def favourite_again(step: int) -> list[int]:
    return [0, *epoch_by_epoch(step)[1:]] if step == 13 else epoch_by_epoch(step)


@dataclass(frozen=True)
class Judged:
    """Hold what a judge came to on an archive."""

    archive: bytes | None
    result: str


def with_parent(folder: Path, log: pol.Writer) -> None:
    """Record an honest run, and claim that it is where state 0 comes from."""
    digest = pol.pack(CONVNET.record(folder / "parent"), folder / "parent.pol")
    with pol.open(folder / "parent.pol", trusted=[PROVER.key]) as parent:
        log._initial = Initial("parent", archive=digest, state=parent.root(3))


def knowing_parent(folder: Path) -> pol.Policy:
    """Return the policy of a judge who accepted the parent."""
    with pol.open(folder / "parent.pol", trusted=[PROVER.key]) as archive:
        judged = Judged(archive.digest, "accepted")
    own = Parent(folder / "parent.pol", (PROVER.key,), judged, Part("model"))
    return replace(ALONE, of_case=(own, *ALONE.of_case[1:]))


def comparing_with_stolen(folder: Path) -> pol.Policy:
    """Return the policy of a judge to whom the stolen model was released."""
    model = {name.partition("/")[2]: tensor for name, tensor in stolen().items()}
    save_file(model, folder / "model.safetensors")
    return replace(ALONE, of_case=(*ALONE.of_case, Released(folder / "model.safetensors")))
