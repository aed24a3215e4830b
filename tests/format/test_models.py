"""Test that a model turns words into distances and exactly those distances back into the words."""

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from polarchive.format import bits
from polarchive.format.bits import Words
from polarchive.format.models import Below, Model, Near
from tests.format.test_bits import WIDTHS, words

pairs = (
    st.sampled_from(WIDTHS)
    .flatmap(lambda width: st.tuples(*[words(width)] * 2))
    .map(lambda pair: tuple(found[: min(map(len, pair))] for found in pair))
)


def whole(found: Words) -> slice:
    return slice(0, len(found))


@pytest.mark.parametrize("is_float", [False, True])
@given(pair=pairs)
def test_near_words_come_back(is_float: bool, pair: tuple[Words, Words]) -> None:
    found, predicted = pair
    model = Near(predicted, is_float)
    again = model.words(model.distances(found, whole(found)), whole(found))
    assert again.dtype == found.dtype and again.tolist() == found.tolist()


@given(pair=pairs, top=st.integers(0, (1 << 64) - 1))
def test_words_below_any_top_come_back(pair: tuple[Words, Words], top: int) -> None:
    found, _ = pair
    for model in (Below.of(found), Below(top % (1 << bits.width(found)))):
        again = model.words(model.distances(found, whole(found)), whole(found))
        assert again.dtype == found.dtype and again.tolist() == found.tolist()


@given(pair=pairs, data=st.data())
def test_every_distance_is_that_of_a_word(pair: tuple[Words, Words], data: st.DataObject) -> None:
    distances, predicted = pair
    top = data.draw(st.integers(0, (1 << bits.width(distances)) - 1))
    for model in (Near(predicted, False), Near(predicted, True), Below(top)):
        found = model.words(distances, whole(distances))
        assert model.distances(found, whole(found)).tolist() == distances.tolist()


@given(pair=pairs, data=st.data())
def test_a_part_has_the_distances_it_has_in_the_whole(pair: tuple[Words, Words], data: st.DataObject) -> None:
    found, predicted = pair
    start = data.draw(st.integers(0, len(found)))
    part = slice(start, data.draw(st.integers(start, len(found))), data.draw(st.integers(1, 3)))
    models: tuple[Model, ...] = (Near(predicted, False), Near(predicted, True), Below.of(found))
    for model in models:
        assert model.distances(found[part], part).tolist() == model.distances(found, whole(found))[part].tolist()
        assert model.words(model.distances(found[part], part), part).tolist() == found[part].tolist()


@given(found=words())
def test_no_word_lies_above_the_top(found: Words) -> None:
    turned = [int(word) for word in bits.rotated(found)]
    assert Below.of(found).top == max(turned, default=0)
    assert Below.of(found).distances(found, whole(found)).tolist() == [max(turned) - word for word in turned]


def _floats(*numbers: float) -> Words:
    return np.array(numbers, "<f4").view("<u4")


@pytest.mark.parametrize(
    ("is_float", "spell", "distances"),
    [
        (True, _floats, [0, 2, 1, 1]),
        (False, lambda *numbers: np.array(numbers, "<i4").view("<u4"), [0, 0, 0, 5]),
    ],
    ids=["floats", "integers"],
)
def test_distances_are_as_specified(is_float: bool, spell: Callable[..., Words], distances: list[int]) -> None:
    """Floats: equal, the next one, the one before, and from 0.0 to -0.0. Integers: equal, and three below."""
    one = np.float32(1)
    values = (1, np.nextafter(one, one * 2), np.nextafter(one, one * 0), -0.0) if is_float else (1, -7, 0, -4)
    predicted = (1, 1, 1, 0.0) if is_float else (1, -7, 0, -1)
    found = spell(*values)
    assert Near(spell(*predicted), is_float).distances(found, whole(found)).tolist() == distances


def test_differences_of_integers_wrap_around() -> None:
    found, predicted = np.array([0, 255], np.uint8), np.array([255, 0], np.uint8)
    assert Near(predicted, False).distances(found, slice(0, 2)).tolist() == [2, 1]


def test_the_sign_is_the_last_bit_below_the_top() -> None:
    found = _floats(4.0, -4.0, 2.0)
    assert Below.of(found).top == int(bits.rotated(found)[1])
    assert Below.of(found).distances(found, slice(0, 3)).tolist() == [1, 0, (1 << 24) + 1]
