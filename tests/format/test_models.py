"""Test that a model turns words into distances and exactly those distances back into the words."""

import hypothesis.strategies as st
import numpy as np
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


def distances(model: Model, found: Words, part: slice | None = None) -> Words:
    out = np.empty_like(found)
    model.distances(found, part or whole(found), out)
    return out


@given(pair=pairs)
def test_near_words_come_back(pair: tuple[Words, Words]) -> None:
    found, predicted = pair
    model = Near(predicted)
    again = model.words(distances(model, found), whole(found))
    assert again.dtype == found.dtype and again.tolist() == found.tolist()


@given(pair=pairs, top=st.integers(0, (1 << 64) - 1))
def test_words_below_any_top_come_back(pair: tuple[Words, Words], top: int) -> None:
    found, _ = pair
    for model in (Below.of([found]), Below(top % (1 << bits.width(found)))):
        again = model.words(distances(model, found), whole(found))
        assert again.dtype == found.dtype and again.tolist() == found.tolist()


@given(pair=pairs, data=st.data())
def test_every_distance_is_that_of_a_word(pair: tuple[Words, Words], data: st.DataObject) -> None:
    far, predicted = pair
    top = data.draw(st.integers(0, (1 << bits.width(far)) - 1))
    models: tuple[Model, ...] = (Near(predicted), Below(top))
    for model in models:
        assert distances(model, model.words(far, whole(far))).tolist() == far.tolist()


@given(pair=pairs, data=st.data())
def test_a_part_has_the_distances_it_has_in_the_whole(pair: tuple[Words, Words], data: st.DataObject) -> None:
    found, predicted = pair
    start = data.draw(st.integers(0, len(found)))
    part = slice(start, data.draw(st.integers(start, len(found))), data.draw(st.integers(1, 3)))
    models: tuple[Model, ...] = (Near(predicted), Below.of([found]))
    for model in models:
        assert distances(model, found[part], part).tolist() == distances(model, found)[part].tolist()
        assert model.words(distances(model, found[part], part), part).tolist() == found[part].tolist()


@given(found=words(), start=st.integers(0, 20))
def test_no_word_lies_above_the_top(found: Words, start: int) -> None:
    turned, top = [int(word) for word in bits.rotated(found)], Below.of([found[:start], found[start:]]).top
    assert top == max(turned, default=0) | 1
    assert distances(Below(top), found).tolist() == [top - word for word in turned]


def _floats(*numbers: float) -> Words:
    return np.array(numbers, "<f4").view("<u4")


def test_neighbouring_floats_of_one_sign_differ_by_one() -> None:
    one = np.float32(1)
    found = _floats(1, np.nextafter(one, one * 2), np.nextafter(one, one * 0), -1)
    assert distances(Near(_floats(1, 1, 1, -np.nextafter(one, one * 2))), found).tolist() == [0, 2, 1, 1]


def test_differences_of_integers_wrap_around() -> None:
    found, predicted = np.array([0, 255], np.uint8), np.array([255, 0], np.uint8)
    assert distances(Near(predicted), found).tolist() == [2, 1]


def test_the_sign_is_the_last_bit_below_the_top() -> None:
    found = _floats(4.0, -4.0, 2.0)
    assert Below.of([found]).top == int(bits.rotated(found)[1])
    assert distances(Below.of([found]), found).tolist() == [1, 0, (1 << 24) + 1]
