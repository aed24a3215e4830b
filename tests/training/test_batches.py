"""Name the fields of a batch, and give it back with the shape that the names speak of."""

from typing import Any

import pytest
import torch
from torch import Tensor

from polarchive.errors import OpeningError
from polarchive.format.commitment import Batch
from polarchive.format.tensors import Array
from polarchive.training.batches import from_batch, to_batch

X, Y = torch.arange(6.0).reshape(3, 2), torch.tensor([1, 0, 1])
BATCHES = {
    "tensor": X,
    "pair": (X, Y),
    "dict": {"x": X, "y": Y},
    "nested": (X, {"y": Y, "more": (Y, X)}),
    "strings": {"text": ["a", "", "ünï"], "y": Y},
    "bfloat16": (X.bfloat16(), Y),
    "bools": (Y.bool(), Y),
    "whole": {"x": X, "temperature": torch.tensor(0.5)},
    "twelve": tuple(torch.full((3,), float(number)) for number in range(12)),
}


def same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor):
        return isinstance(right, Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, tuple):
        return type(right) is tuple and len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_a_batch_comes_back(batch: Any) -> None:
    assert same(from_batch(to_batch(batch)), batch)


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_what_comes_back_is_committed_to_alike(batch: Any) -> None:
    columns = to_batch(batch)
    again = to_batch(from_batch(columns))
    assert again.count == columns.count
    assert {name: spelled(column) for name, column in again.columns.items()} == {
        name: spelled(column) for name, column in columns.columns.items()
    }


def spelled(column: Any) -> Any:
    return (column.dtype, column.shape, bytes(column.data)) if isinstance(column, Array) else column


def test_a_list_comes_back_as_a_tuple_and_a_number_as_a_tensor() -> None:
    x, y, scale = from_batch(to_batch([X, [1, 2, 3], 0.5]))
    assert torch.equal(x, X) and torch.equal(y, torch.tensor([1, 2, 3])) and scale == torch.tensor(0.5).double()


@pytest.mark.parametrize("names", [("a", "a.b"), ("a.b", "a"), ("a.b.c", "a.b")])
def test_names_that_lie_within_one_another_are_refused(names: tuple[str, str]) -> None:
    array = Array("U8", (1,), b"x")
    with pytest.raises(OpeningError, match="within another"):
        from_batch(Batch(1, dict.fromkeys(names, array), {}))
