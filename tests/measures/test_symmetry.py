"""Hold symmetries to what they promise: the network computes the same, and everything can be undone."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polarchive.errors import TrainerError
from polarchive.measures.symmetry import Axis, Group, State, apply, sequential
from tests.measures.networks import NETWORKS, Network, disguise, draw_scales

each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
names = st.sampled_from(sorted(NETWORKS))
seeds = st.integers(0, 2**32)

TWO = {"w": torch.arange(6.0).reshape(3, 2), "b": torch.tensor([10.0, 20.0, 30.0])}
GROUP = Group((Axis("w", 0, 1), Axis("b", 0, 2)))


def farthest(a: State, b: State) -> float:
    return max((a[name] - b[name]).abs().max().item() for name in a)


@each_network
def test_a_disguised_network_computes_the_same(network: Network) -> None:
    state = network.state(0)
    hidden = disguise(state, network.groups, 1)
    assert all(farthest({name: state[name]}, {name: hidden[name]}) > 0.1 for name in touched(network, state))
    torch.testing.assert_close(network.output(hidden), network.output(state), rtol=1e-9, atol=1e-11)


def touched(network: Network, state: State) -> set[str]:
    return {axis.tensor for group in network.groups for axis in group.axes} & state.keys()


@each_network
def test_tensors_that_no_group_names_stay_as_they_are(network: Network) -> None:
    state = network.state(0)
    hidden = disguise(state, network.groups, 1)
    assert hidden.keys() == state.keys()
    assert all(torch.equal(hidden[name], state[name]) for name in state.keys() - touched(network, state))


@given(names, seeds)
def test_permutations_are_undone_by_their_inverses(name: str, seed: int) -> None:
    network, generator = NETWORKS[name], torch.Generator().manual_seed(seed)
    state = network.state(0)
    orders = [torch.randperm(g.units(state), generator=generator) if g.permuted else None for g in network.groups]
    inverses = [None if order is None else order.argsort() for order in orders]
    assert farthest(apply(apply(state, network.groups, orders), network.groups, inverses), state) == 0


@given(names, seeds)
def test_scales_are_undone_by_their_inverses(name: str, seed: int) -> None:
    network, generator = NETWORKS[name], torch.Generator().manual_seed(seed)
    state = network.state(0)
    scales = [draw_scales(group, state, generator) for group in network.groups]
    inverses = [None if factors is None else 1 / factors for factors in scales]
    undone = apply(apply(state, network.groups, scales=scales), network.groups, scales=inverses)
    assert farthest(undone, state) < 1e-12


def test_units_are_permuted_first_and_scaled_by_their_powers() -> None:
    moved = apply(TWO, [GROUP], [torch.tensor([2, 0, 1])], [torch.tensor([1.0, 2.0, 3.0])])
    assert moved["w"].tolist() == [[4, 5], [0, 2], [6, 9]]
    assert moved["b"].tolist() == [30, 40, 180]
    assert TWO["b"].tolist() == [10, 20, 30]


def test_units_may_stand_anywhere_and_have_several_slices() -> None:
    moved = Group((Axis("x", 1, 1, at=(4, 0), width=2),)).permute({"x": torch.arange(6)[None]}, torch.tensor([1, 0]))
    assert moved["x"].tolist() == [[4, 5, 2, 3, 0, 1]]


def test_a_tensor_keeps_its_dtype_and_its_layout_in_memory() -> None:
    moved = apply({name: tensor.bfloat16() for name, tensor in TWO.items()}, [GROUP], None, [torch.full((3,), 0.1)])
    assert moved["w"].dtype == torch.bfloat16 and moved["w"].is_contiguous()


def test_layers_in_a_row_have_one_group_between_each_two() -> None:
    assert sequential(["a"]) == []
    first, second = sequential(["a", "b", "c"], bias=False)
    assert first == Group((Axis("a.weight", 0, 1), Axis("b.weight", 1, -1)))
    assert [axis.tensor for axis in second.axes] == ["b.weight", "c.weight"]


@pytest.mark.parametrize(
    ("group", "act"),
    [
        (Group((Axis("missing"),)), lambda group: group.units(TWO)),
        (Group((Axis("w", 0), Axis("w", 1))), lambda group: group.units(TWO)),
        (Group((Axis("b", 1),)), lambda group: group.units(TWO)),
        (Group((Axis("b", -1),)), lambda group: group.units(TWO)),
        (Group((Axis("b", at=(2, 3)),)), lambda group: group.units(TWO)),
        (Group((Axis("b", at=(-1, 0)),)), lambda group: group.units(TWO)),
        (Group((Axis("b", at=(0, 1), width=2),)), lambda group: group.units(TWO)),
        (Group((Axis("b", width=2),)), lambda group: group.units(TWO)),
        (Group((Axis("b", at=()),)), lambda group: group.units(TWO)),
        (GROUP, lambda group: group.permute(TWO, torch.tensor([0, 1]))),
        (GROUP, lambda group: group.permute(TWO, torch.tensor([0, 1, 1]))),
        (Group(GROUP.axes, permuted=False), lambda group: group.permute(TWO, torch.arange(3))),
        (GROUP, lambda group: group.scale(TWO, torch.ones(2))),
        (GROUP, lambda group: group.scale(TWO, torch.tensor([1.0, -1.0, 1.0]))),
        (GROUP, lambda group: group.scale(TWO, torch.tensor([1.0, 0.0, 1.0]))),
        (GROUP, lambda group: group.scale(TWO, torch.tensor([1.0, torch.inf, 1.0]))),
        (GROUP, lambda group: group.scale(TWO, torch.tensor([1.0, torch.nan, 1.0]))),
        (Group(GROUP.axes, signed=True), lambda group: group.scale(TWO, torch.tensor([1.0, -2.0, 1.0]))),
    ],
)
def test_what_is_no_symmetry_of_the_state_is_refused(group: Group, act: Callable[[Group], object]) -> None:
    with pytest.raises(TrainerError):
        act(group)


def test_a_group_may_be_cut_to_the_tensors_that_are_there() -> None:
    assert GROUP.within({"w"}) == Group((Axis("w", 0, 1),))
    assert Group(()).units({}) == 0
    nothing: Tensor = torch.ones(0)
    assert apply(TWO, [Group(())], [nothing.long()], [nothing]) == TWO
