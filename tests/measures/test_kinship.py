"""Measure kinship of models that are the same, stolen, stolen in part, or of nobody's."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarchive.errors import TrainerError
from polarchive.measures.kinship import LIMIT, Gap, Kinship, kinship
from polarchive.measures.symmetry import Axis, Group, State, sequential
from tests.measures.networks import NETWORKS, disguise, state_of

NETWORK = NETWORKS["linear layers"]
NORMED = NETWORKS["flattened channels"]
MINE, OTHER = NETWORK.state(0), NETWORK.state(1)


def copy(state: State) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}


def drifted(state: State, by: float) -> State:
    """Move every weight by a fraction of its tensor's norm."""
    torch.manual_seed(9)
    noise = {name: torch.randn_like(tensor) for name, tensor in state.items()}
    return {name: tensor + by * tensor.norm() * noise[name] / noise[name].norm() for name, tensor in state.items()}


def test_a_copy_is_identical() -> None:
    found = kinship(MINE, copy(MINE))
    assert found.identical and found.comparable and found.near(0)
    assert (found.copied, found.alike, found.least) == (1, 1, 0)


def test_independent_models_are_at_the_distance_of_independent_models() -> None:
    found = kinship(MINE, OTHER, symmetries=NETWORK.groups)
    assert found.plain is not None and found.aligned is not None and found.estimated
    assert found.plain.multiple == pytest.approx(1, abs=0.1)
    assert 0.5 < found.aligned.multiple < found.plain.multiple
    assert not found.near(0.5) and not found.identical and (found.copied, found.alike) == (0, 0)


def test_distances_are_those_computed_by_hand() -> None:
    found = kinship(
        {"model/w": torch.tensor([1.0, -1.0])}, {"model/w": torch.tensor([4.0, 3.0])}, d_ref=50.0, noise=0.5
    )
    assert found.plain == Gap(5.0, 50.0) and not found.estimated
    assert (found.least, found.of_noise) == (0.1, 10.0)


def test_the_reference_is_what_shuffling_gives() -> None:
    a, b = torch.randn(4000) + 3, torch.randn(4000) + 2
    shuffled = (a - b[torch.randperm(4000)]).norm().item()
    gap = kinship({"model/w": a}, {"model/w": b}).plain
    assert gap is not None and gap.reference == pytest.approx(shuffled, rel=0.02)


def test_what_all_models_share_makes_no_distance_small() -> None:
    shared = {"model/norm.weight": torch.full((1000,), 5.0)}
    assert kinship(MINE | shared, OTHER | shared).least == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_disguised_copy_is_near_once_symmetries_are_known(name: str) -> None:
    network = NETWORKS[name]
    state = network.state(0)
    hidden = disguise(state, network.groups, 1)
    blind, seeing = kinship(state, hidden), kinship(state, hidden, symmetries=network.groups)
    assert blind.aligned is None and not blind.near() and blind.alike < 1
    assert seeing.near(1e-9) and seeing.alike == 1 and not seeing.identical


def test_a_model_that_was_trained_on_is_near() -> None:
    for hidden in (drifted(MINE, 0.05), disguise(drifted(MINE, 0.05), NETWORK.groups, 1)):
        found = kinship(MINE, hidden, symmetries=NETWORK.groups)
        assert found.near() and not found.near(0.02) and found.alike == 1


def test_a_cast_copy_is_near_and_not_identical() -> None:
    found = kinship(MINE, {name: tensor.bfloat16() for name, tensor in MINE.items()})
    assert found.near(0.01) and not found.identical and (found.copied, found.alike) == (0, 1)


@pytest.mark.parametrize("seed", range(3))
def test_nobody_brings_an_independent_model_near_by_choosing_scales(seed: int) -> None:
    groups = NORMED.groups
    mine, other = NORMED.state(10 + seed), NORMED.state(20 + seed)
    for factor in (1e-6, 1e6):
        scales = torch.ones(10, dtype=torch.float64)
        scales[0] = factor
        loud = groups[0].scale(mine, scales)
        found, calm = kinship(loud, other, symmetries=groups), kinship(mine, other, symmetries=groups)
        assert not found.near() and found.aligned is not None and calm.aligned is not None
        assert found.aligned.multiple == pytest.approx(calm.aligned.multiple, rel=1e-6)


def test_batch_statistics_are_no_weights_and_part_of_what_is_identical() -> None:
    state = NORMED.state(0)
    other = state | {"model/1.running_mean": state["model/1.running_mean"] + 9}
    found = kinship(state, other)
    assert found.least == 0 and found.near() and not found.identical


@pytest.mark.parametrize(
    "change",
    [
        {"model/0.bias": torch.tensor(-0.0)},
        {"model/0.bias": torch.zeros((), dtype=torch.float64)},
        {"model/0.bias": torch.zeros(1)},
        {"model/more": torch.zeros(())},
        {"model/count": torch.tensor(4)},
    ],
    ids=["sign of zero", "dtype", "shape", "name", "counter"],
)
def test_identical_means_every_bit(change: State) -> None:
    state = {"model/0.bias": torch.zeros(()), "model/count": torch.tensor(3)}
    assert kinship(state, copy(state)).identical
    assert not kinship(state, state | change).identical


def test_other_parts_do_not_count() -> None:
    noise = {"optimizer/model/0.weight/momentum_buffer": torch.randn(20, 6), "modelling/w": torch.randn(3)}
    assert kinship(MINE, MINE | noise).identical
    other = {name.replace("model", "net"): tensor for name, tensor in MINE.items()}
    assert kinship(other, copy(other), part="net").identical


def test_another_architecture_is_not_comparable() -> None:
    smaller = {name: tensor for name, tensor in OTHER.items() if "4" not in name}
    wider = OTHER | {"model/4.weight": torch.randn(9, 30)}
    for other in (smaller, wider, {}):
        found = kinship(MINE, other, symmetries=NETWORK.groups[:1])
        assert not found.comparable and found.plain is None and found.aligned is None and found.least is None
        assert not found.near(math.inf) and found.of_noise is None and found.copied == found.alike == 0


def test_nothing_is_not_identical_to_nothing() -> None:
    assert not kinship({}, {}).near()


def test_a_stolen_backbone_under_a_new_head_shows() -> None:
    head = {"model/4.weight": torch.randn(9, 30), "model/4.bias": torch.randn(9)}
    plain = kinship(MINE, MINE | head)
    assert not plain.comparable and plain.copied == plain.alike == pytest.approx(2 / 3)
    hidden = kinship(MINE, disguise(MINE | head, NETWORK.groups, 3), symmetries=NETWORK.groups)
    assert hidden.copied == 0 and hidden.alike == pytest.approx(2 / 3)


@pytest.mark.parametrize(("replaced", "alike"), [(0, 0.8), (1, 0.8), (2, 0.8), (3, 0.6), (4, 0.8)])
def test_all_but_one_layer_stolen_shows_through_a_disguise(replaced: int, alike: float) -> None:
    """The scales of what replaces the last layer but one reach the head, so that it counts as another too."""
    mine, other = deep(0), deep(1)
    layers = {name: tensor for name, tensor in other.items() if name.startswith(f"model/{replaced}.")}
    groups = sequential([f"model/{layer}" for layer in range(5)])
    assert kinship(mine, disguise(mine | layers, groups, 2), symmetries=groups).alike == pytest.approx(alike)


def deep(seed: int) -> State:
    torch.manual_seed(seed)
    sizes = [100, 128, 128, 128, 128, 10]
    layers = [torch.nn.Linear(*pair, dtype=torch.float64) for pair in pairwise(sizes)]
    return state_of(torch.nn.Sequential(*layers))


def test_copies_under_other_names_show() -> None:
    renamed = {name.replace("model/", "model/trunk."): tensor for name, tensor in MINE.items()}
    found = kinship(MINE, renamed)
    assert (found.comparable, found.identical, found.copied, found.alike) == (False, False, 1, 0)


def test_what_is_constant_or_a_vector_shows_no_copy() -> None:
    same = {"model/zeros": torch.zeros(3, 3), "model/ones": torch.ones(9), "model/none": torch.ones(0, 2)}
    found = kinship(same | {"model/w": torch.randn(3, 3)}, same | {"model/w": torch.randn(3, 3)})
    assert found.copied == found.alike == 0


@given(st.sampled_from([math.nan, math.inf, -math.inf, 1e200]), st.sampled_from(sorted(MINE)))
def test_what_is_no_measurable_number_is_never_near(value: float, name: str) -> None:
    odd = copy(MINE)
    odd[name].view(-1)[0] = value
    for a, b in ((MINE, odd), (odd, MINE), (odd, odd | {"model/0.bias": odd["model/0.bias"] + 1})):
        assert not kinship(a, b, symmetries=NETWORK.groups).near(0.5)


def test_symmetries_that_fit_neither_model_are_refused() -> None:
    with pytest.raises(TrainerError, match="model/6"):
        kinship(MINE, OTHER, symmetries=sequential(["model/0", "model/6"]))
    with pytest.raises(TrainerError):
        kinship(MINE, OTHER, symmetries=[Group((Axis("model/0.weight", 2),))])


@pytest.mark.parametrize(
    ("plain", "aligned", "least"),
    [
        (Gap(1, 10), None, 0.1),
        (Gap(1, 10), Gap(1, 20), 0.05),
        (Gap(1, 20), Gap(1, 10), 0.05),
        (Gap(math.nan, 10), Gap(5, 10), 0.5),
        (Gap(5, 10), Gap(math.nan, 10), 0.5),
        (Gap(0, 0), None, 0),
        (Gap(1, 0), None, math.inf),
        (None, None, None),
    ],
)
def test_the_lesser_multiple_decides(plain: Gap | None, aligned: Gap | None, least: float | None) -> None:
    found = Kinship(True, False, 0, 0, plain, aligned, True, None)
    assert found.least == least
    assert found.near() is (least is not None and least <= LIMIT)
