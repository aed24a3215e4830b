"""Test seeing weights as one vector."""

import torch

from polarchive.attacks.vector import tensors, vector


def test_what_a_vector_holds_is_found_again_shaped_and_typed() -> None:
    state = {"b": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "a": torch.tensor(5.0, dtype=torch.float64)}
    names = ["b", "a"]
    flat = vector(state, names)
    assert flat.dtype == torch.float64 and flat.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    found = tensors(flat, state, names)
    assert found.keys() == state.keys()
    assert all(found[name].equal(state[name]) and found[name].dtype == state[name].dtype for name in names)
