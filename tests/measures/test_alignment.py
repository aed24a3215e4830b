"""Hold matching to finding what was hidden, and to finding nothing where nothing is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polarchive.errors import TrainerError
from polarchive.measures.alignment import align, canonical
from polarchive.measures.matching import match
from polarchive.measures.symmetry import Axis, Group, State, apply, sequential, weights
from tests.measures.networks import NETWORKS, Network, disguise

each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
LINEAR = NETWORKS["linear layers"]


def distance(a: State, b: State) -> float:
    """Return the ℓ2 distance over the square root of both squared norms: about 1 for independent draws around 0."""
    pairs = [(tensor, weights(b)[name]) for name, tensor in weights(a).items()]
    whole = sum((x.square().sum() + y.square().sum()).item() for x, y in pairs)
    return (sum((x - y).square().sum().item() for x, y in pairs) / whole) ** 0.5


@given(st.sampled_from(sorted(NETWORKS)), st.integers(0, 2**32), st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_a_disguised_copy_is_recovered(name: str, seed: int, other: int) -> None:
    network = NETWORKS[name]
    state = network.state(seed)
    hidden = disguise(state, network.groups, other)
    found = align(state, hidden, network.groups)
    assert found.keys() == state.keys()
    assert all(torch.allclose(found[each], state[each].to(found[each].dtype), rtol=1e-9, atol=1e-12) for each in state)


@each_network
def test_a_disguised_copy_that_was_trained_on_is_near(network: Network) -> None:
    state, other = network.state(0), weights(network.state(1))
    drifted = {name: tensor + 0.05 * other.get(name, torch.tensor(0)) for name, tensor in state.items()}
    assert distance(state, align(state, disguise(drifted, network.groups, 2), network.groups)) < 0.07


@each_network
def test_independent_networks_stay_far(network: Network) -> None:
    state, other = network.state(0), network.state(1)
    assert distance(state, align(state, other, network.groups)) > 0.5


@each_network
def test_what_is_aligned_still_computes_the_same(network: Network) -> None:
    state, other = network.state(0), network.state(1)
    found = align(state, other, network.groups)
    torch.testing.assert_close(network.output(found), network.output(other), rtol=1e-8, atol=1e-10)


def test_single_precision_is_recovered_to_its_rounding() -> None:
    state = {name: tensor.float() for name, tensor in LINEAR.state(0).items()}
    found = align(state, disguise(state, LINEAR.groups, 1), LINEAR.groups)
    assert 0 < distance(state, found) < 1e-6 and all(tensor.dtype == torch.float64 for tensor in found.values())


@each_network
def test_canonical_weights_are_free_of_scales(network: Network) -> None:
    state = network.state(0)
    still = [Group(group.axes, permuted=False) for group in network.groups if not group.signed]
    plain, hidden = canonical(state, still)[0], canonical(disguise(state, still, 1), still)[0]
    assert all(torch.allclose(plain[name], hidden[name], rtol=1e-9, atol=1e-12) for name in plain)


@each_network
def test_canonical_weights_do_not_depend_on_the_order_of_groups(network: Network) -> None:
    state = network.state(0)
    one, other = (canonical(state, groups)[0] for groups in (network.groups, network.groups[::-1]))
    assert all(torch.allclose(one[name], other[name], rtol=1e-9, atol=1e-12) for name in one)


@each_network
def test_canonical_weights_are_the_state_scaled_by_the_factors(network: Network) -> None:
    state = network.state(0)
    plain, factors = canonical(state, network.groups)
    scaled = apply(state, network.groups, scales=factors)
    assert all(torch.allclose(plain[name], scaled[name], rtol=1e-9, atol=1e-12) for name in plain)


def test_units_of_norm_one_come_before_the_last_layer() -> None:
    plain, _ = canonical(LINEAR.state(0), LINEAR.groups)
    for layer in ("model/0", "model/2"):
        rows = torch.cat([plain[f"{layer}.weight"], plain[f"{layer}.bias"][:, None]], 1)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows), dtype=torch.float64))


@pytest.mark.parametrize("dead", [0.0, 1e-320])
def test_units_of_nothing_keep_their_scale(dead: float) -> None:
    state = LINEAR.state(0)
    state["model/0.weight"][3], state["model/0.bias"][3] = dead, dead
    plain, factors = canonical(state, LINEAR.groups)
    assert factors[0][3] == 1 and all(tensor.isfinite().all() for tensor in plain.values())
    moved = apply(state, LINEAR.groups, [torch.randperm(20), torch.randperm(30)])
    assert distance(state, align(state, moved, LINEAR.groups)) < 1e-9


def test_matching_never_agrees_less_than_leaving_units_as_they_are() -> None:
    home, away = (canonical(LINEAR.state(seed), LINEAR.groups)[0] for seed in (0, 1))
    moved = match(home, away, LINEAR.groups)
    before, after = (sum((home[name] * state[name]).sum() for name in home) for state in (away, moved))
    assert after > before


def test_matching_is_repeatable() -> None:
    first, second = (align(LINEAR.state(0), LINEAR.state(1), LINEAR.groups) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_states_are_left_as_they_were() -> None:
    state, hidden = LINEAR.state(0), disguise(LINEAR.state(0), LINEAR.groups, 1)
    kept = {name: tensor.clone() for name, tensor in hidden.items()}
    align(state, hidden, LINEAR.groups)
    assert all(torch.equal(hidden[name], kept[name]) for name in kept)
    assert distance(state, LINEAR.state(0)) == 0


def test_nothing_to_permute_is_nothing_to_align() -> None:
    state, other = LINEAR.state(0), LINEAR.state(1)
    assert all(torch.equal(tensor, other[name]) for name, tensor in align(state, other, []).items())


def test_complex_tensors_are_moved_with_the_others() -> None:
    state = LINEAR.state(0) | {"model/c": torch.randn(20, 2, dtype=torch.complex64)}
    groups = [Group((*LINEAR.groups[0].axes, Axis("model/c", 0, -1))), LINEAR.groups[1]]
    found = align(state, disguise(state, groups, 1), groups)
    assert found["model/c"].dtype == torch.complex64 and torch.allclose(found["model/c"], state["model/c"], rtol=1e-5)


def test_weights_are_the_floats_that_training_moves() -> None:
    state = NETWORKS["flattened channels"].state(0)
    assert sorted(name for name in state if name not in weights(state)) == [
        "model/1.num_batches_tracked",
        "model/1.running_mean",
        "model/1.running_var",
    ]
    assert weights({"model/c": torch.tensor([3 + 4j])})["model/c"].tolist() == [[3, 4]]


def test_symmetries_of_another_network_are_refused() -> None:
    with pytest.raises(TrainerError, match="lacks model/6"):
        align(LINEAR.state(0), LINEAR.state(0), sequential(["model/0", "model/6"]))
    with pytest.raises(TrainerError, match="units"):
        align(LINEAR.state(0), LINEAR.state(0), [Group((Axis("model/0.bias"), Axis("model/2.bias")))])
