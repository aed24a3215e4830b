"""Test the codecs that entries are made of: what each reads back, and what each refuses."""

import struct
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from polarchive.errors import FormatError, Reason
from polarchive.format import fields as f
from polarchive.format.canonical import Json
from polarchive.format.limits import MAX_TEXT
from tests.format.strategies import digests, json_values, settings, texts, u64


@dataclass(frozen=True)
class Pair:
    left: int
    right: str


PAIR = f.fields(Pair, left=f.u64, right=f.text)
NEVER: list[Json] = [[], ["1"], {}, {"1": "1"}]  # read by no codec of a single value
CODECS: dict[str, tuple[f.Codec[Any], st.SearchStrategy[Any]]] = {
    "u64": (f.u64, u64),
    "text": (f.text, texts),
    "boolean": (f.boolean, st.booleans()),
    "setting": (f.setting, settings),
    "digest": (f.digest, digests),
    "word": (f.one_of("a", "b"), st.sampled_from("ab")),
    "optional": (f.optional(f.u64), st.none() | u64),
    "sequence": (f.sequence(f.u64, 3), st.lists(u64, max_size=3).map(tuple)),
    "mapping": (f.mapping(f.boolean, 3), st.dictionaries(texts, st.booleans(), max_size=3)),
    "fields": (PAIR, st.builds(Pair, u64, texts)),
}
REFUSED: dict[str, tuple[f.Codec[Any], list[Json]]] = {
    "u64": (
        f.u64,
        [
            *NEVER,
            None,
            True,
            "",
            "-1",
            "+1",
            "01",
            "00",
            "1 ",
            " 1",
            "1_0",
            "1.0",
            "1e3",
            "0x1",
            "x",
            "١",
            str(2**64),
            "9" * 20,
            "1" * 21,
        ],
    ),
    "text": (f.text, [*NEVER, None, False, "é", "\n", "\x7f", "x" * (MAX_TEXT + 1)]),
    "boolean": (f.boolean, [*NEVER, None, "true", "1", ""]),
    "setting": (
        f.setting,
        [
            *NEVER,
            "",
            "1",
            "i",
            "i01",
            "i-0",
            "i+1",
            "i1.0",
            f"i{2**63}",
            f"i{-(2**63) - 1}",
            "f",
            "f0",
            "f" + "0" * 15,
            "f" + "0" * 17,
            "f" + "A" * 16,
            "f7ff0000000000000",
            "ffff0000000000000",
            "f7ff8000000000000",
            "f7ff0000000000001",
            "true",
            "F" + "0" * 16,
        ],
    ),
    "digest": (f.digest, [*NEVER, None, True, "", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0x" + "0" * 62]),
    "word": (f.one_of("a", "b"), [*NEVER, None, True, "", "c", "ab", "A"]),
    "optional": (f.optional(f.u64), [*NEVER, "null", ""]),
    "sequence": (f.sequence(f.u64, 3), [None, "1", {}, ["x"], [None], [["1"]], ["1"] * 4]),
    "mapping": (f.mapping(f.boolean, 3), [None, "1", [], {"a": "true"}, {"é": True}, dict.fromkeys("abcd", True)]),
    "fields": (
        PAIR,
        [
            None,
            "1",
            [],
            {},
            {"left": "1"},
            {"left": "1", "right": "", "more": ""},
            {"left": "1", "Right": ""},
            {"left": "", "right": ""},
        ],
    ),
}
CASES = [(name, codec, value) for name, (codec, refused) in REFUSED.items() for value in refused]
SPELLED: list[tuple[float | bool | None, Json]] = [
    (1, "i1"),
    (-5, "i-5"),
    (0, "i0"),
    (True, True),
    (None, None),
    (1.0, "f3ff0000000000000"),
    (-0.0, "f8000000000000000"),
    (5e-324, "f0000000000000001"),
    (0.1, "f3fb999999999999a"),
]


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
def test_read_is_the_inverse_of_write(name: str, data: st.DataObject) -> None:
    codec, strategy = CODECS[name]
    value = data.draw(strategy)
    found = codec.read(codec.write(value))
    assert found == value and type(found) is type(value)
    assert codec.write(found) == codec.write(value)


@pytest.mark.parametrize("name", CODECS)
@given(value=json_values())
def test_what_is_read_has_this_one_spelling(name: str, value: Json) -> None:
    codec, _ = CODECS[name]
    try:
        found = codec.read(value)
    except ValueError:
        return
    assert codec.write(found) == value


@pytest.mark.parametrize(
    ("name", "codec", "value"), CASES, ids=[f"{name} {str(value)[:24]}" for name, _, value in CASES]
)
def test_other_values_are_refused(name: str, codec: f.Codec[Any], value: Json) -> None:
    with pytest.raises(FormatError) as refusal:
        f.read(codec, value, "entry 3")
    assert refusal.value.reason == Reason.FIELD and refusal.value.place == "entry 3"


@pytest.mark.parametrize(("value", "spelled"), SPELLED, ids=str)
def test_settings_keep_their_type_and_every_bit(value: float | bool | None, spelled: Json) -> None:
    assert f.setting.write(value) == spelled
    found = f.setting.read(spelled)
    assert type(found) is type(value)
    assert found is None or struct.pack(">d", found) == struct.pack(">d", value)


@pytest.mark.parametrize("value", [0, 2**64 - 1])
def test_the_ends_of_u64_are_read(value: int) -> None:
    assert f.u64.read(str(value)) == value


def test_an_error_names_the_path_to_its_field() -> None:
    outer = f.fields(Pair, left=PAIR, right=f.text)
    with pytest.raises(FormatError, match="entry 3: left: right: expected a printable"):
        f.read(outer, {"left": {"left": "1", "right": None}, "right": ""}, "entry 3")


@pytest.mark.parametrize("size", [1, 16, 32])
def test_hexadecimal_has_its_exact_size(size: int) -> None:
    codec = f.hexadecimal(size)
    assert codec.read("0f" * size) == b"\x0f" * size
    with pytest.raises(ValueError, match="hex digits"):
        codec.read("0f" * (size + 1))
