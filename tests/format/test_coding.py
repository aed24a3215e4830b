"""Test that coded distances come back bit for bit, and that streams of any other shape are refused."""

import math
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given

from polarchive.errors import FormatError, Reason
from polarchive.format import bits, coding, frames
from polarchive.format.bits import Words
from polarchive.format.coding import Coded
from polarchive.format.joined import Joined
from polarchive.format.models import Below, Model, Near
from tests.format.test_bits import WIDTHS, words

STREAMS = [field.name for field in fields(Coded)]
HARD = [math.nan, -math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, -5e-324, 1e-40, 1e300, 1.0, -1.0]
BLOCKS = (0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200)


@contextmanager
def small_blocks(part: int = 16, block: int = 64) -> Iterator[None]:
    """Shrink parts and blocks, so that short arrays have many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bits, "PART", part)
        patch.setattr(coding, "BLOCK", block)
        yield


def plain(width: int, count: int) -> Near:
    """Return the model whose distances are zigzagged words."""
    return Near(np.zeros(count, f"<u{width // 8}"))


def models_of(found: Words, seed: int = 0) -> list[Model]:
    noise = np.random.default_rng(seed).integers(0, 9, len(found)).astype(found.dtype)
    return [
        Near(found ^ noise),
        Near(found + noise),
        plain(bits.width(found), len(found)),
        Below.of([found]),
    ]


def encode(found: Words, model: Model) -> Coded:
    """Return coded words whose streams are bytes."""
    coded = coding.encode(Joined([found]), model)
    return Coded(*map(bytes, coded.streams))


def require_same(found: Words, model: Model) -> Coded:
    coded = encode(found, model)
    again = coding.decode(coded, model, len(found), found.dtype, "here")
    assert again.dtype == found.dtype and again.tobytes() == found.tobytes()
    return coded


def random_words(seed: int, width: int, count: int, low: int = 0) -> Words:
    """Return words of random lengths from `low` bits on."""
    noise = np.random.default_rng(seed)
    found: Words = np.frombuffer(noise.bytes(count * width // 8), f"<u{width // 8}")
    shorter: Words = np.right_shift(found, noise.integers(0, width - low, count).astype(found.dtype))
    return shorter


@given(found=words(max_size=70))
def test_words_come_back(found: Words) -> None:
    with small_blocks():
        for model in models_of(found):
            require_same(found, model)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", BLOCKS)
def test_words_around_the_borders_of_parts_and_blocks_come_back(count: int, width: int) -> None:
    found = random_words(count, width, count)
    with small_blocks():
        for model in models_of(found, count):
            require_same(found, model)
    with small_blocks(part=6, block=26):
        require_same(found, plain(width, count))


@pytest.mark.parametrize("offset", [-1, 0, 1])
@pytest.mark.parametrize("border", [bits.PART, coding.BLOCK])
def test_words_around_the_real_borders_come_back(border: int, offset: int) -> None:
    found = random_words(offset + 1, 32, border + offset)
    coded = require_same(found, plain(32, len(found)))
    assert len(coded.cuts) == -(-len(found) // coding.BLOCK)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["zeros", "ones", "constant", "noise", "sparse", "octaves", "largest_last"])
def test_words_of_every_character_come_back(kind: str, width: int) -> None:
    noise, count = random_words(1, width, 3000), 3000
    found = {
        "zeros": np.zeros(count, noise.dtype),
        "ones": ~np.zeros(count, noise.dtype),
        "constant": np.full(count, 77, noise.dtype),
        "noise": np.frombuffer(np.random.default_rng(2).bytes(count * width // 8), noise.dtype),
        "sparse": np.where(np.arange(count) % 97 == 0, noise, 0).astype(noise.dtype),
        "octaves": noise,
        "largest_last": np.append(np.zeros(count, noise.dtype), ~noise.dtype.type(0)),
    }[kind]
    for model in models_of(found):
        require_same(found, model)


@pytest.mark.parametrize("size", [4, 8])
def test_floats_that_are_hard_come_back(size: int) -> None:
    with np.errstate(over="ignore"):
        found = np.array(HARD * 20, f"<f{size}").view(f"<u{size}").copy()
    found[::12] |= found.dtype.type(0x1234)  # NaNs carry bits of their own
    for predicted in (found, found[::-1].copy(), np.zeros_like(found)):
        for model in (Near(predicted), Below.of([found])):
            require_same(found, model)


def test_symbols_of_every_kind_are_used() -> None:
    lengths = np.array([6] * 3940 + [12] * 40 + [60] * 20, np.uint64)
    found = np.uint64(1) << lengths
    coded = require_same(found, plain(64, 4000))
    symbols = frames.decompress(bytes(coded.symbols), 4000, "here")
    assert {0 if s < 192 else 1 if s < 255 else 2 for s in symbols} == {0, 1, 2}
    assert coded.middle and coded.escaped and max(symbols) == coding.ESCAPE


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("cut", [0, 4, 8, 28, 60])
def test_a_symbol_means_what_is_specified(cut: int, width: int) -> None:
    if cut >= width:
        return
    for symbol in range(256):
        low, middle, escaped = 0xA5A5A5A5A5A5A5A5 % (1 << cut), 0xB6, (1 << width) - 3
        kind = 0 if symbol < 192 else 1 if symbol < 255 else 2
        distance = ((symbol << cut) + low, ((symbol - 192) * 256 + middle << cut) + low, escaped)[kind]
        size, packed = f"<u{width // 8}", np.empty(bits.packed_size(1, cut), np.uint8)
        bits.pack(np.array([low], size), cut, packed)
        coded = Coded(
            bytes([cut]),
            frames.compress(bytes([symbol])),
            bytes([middle]) * (kind == 1),
            np.array([escaped], size).tobytes() if kind == 2 else b"",
            packed.tobytes(),
        )
        found = coding.decode(coded, Below(0), 1, size, "here")
        assert int(bits.rotated(found)[0]) == -distance % (1 << width)


def refusal(coded: Coded, count: int = 100) -> FormatError:
    with pytest.raises(FormatError) as caught, small_blocks():
        coding.decode(coded, plain(32, count), count, "<u4", "here")
    assert caught.value.reason == Reason.CODING and caught.value.place == "here"
    return caught.value


def honest(count: int = 100) -> Coded:
    with small_blocks():
        coded = encode(random_words(0, 32, count), plain(32, count))
    assert all(getattr(coded, stream) for stream in STREAMS)
    return coded


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("change", ["shorter", "longer", "empty", "doubled", "first_left_out"])
def test_a_stream_of_another_length_is_refused(change: str, stream: str) -> None:
    data = getattr(honest(), stream)
    changes = {
        "shorter": data[:-1],
        "longer": data + b"\0",
        "empty": b"",
        "doubled": data * 2,
        "first_left_out": data[1:],
    }
    refusal(replace(honest(), **{stream: changes[change]}))


@pytest.mark.parametrize("count", [0, 99, 101, 1000, 1 << 40])
def test_another_number_of_words_is_refused(count: int) -> None:
    with pytest.raises(FormatError) as caught:
        coding.decode(honest(), plain(32, 0), count, "<u4", "here")
    assert caught.value.reason == Reason.CODING


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 31, 32, 36, 64, 128, 255])
def test_a_cut_that_no_writer_makes_is_refused(cut: int) -> None:
    refusal(replace(honest(), cuts=bytes([cut, honest().cuts[1]])))


def frame(data: bytes, **parameters: Any) -> bytes:
    """Return a frame that states its size and has a checksum, or otherwise as it is told."""
    made = {"write_content_size": True, "write_checksum": True, **parameters}
    return zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(**made)).compress(data)


def raw_frame(stated: int, runs: list[int], window: int = 7) -> bytes:
    """Return a frame of runs of zeros that states any size, a window of 2^(10 + `window`) bytes and a checksum of 0."""
    blocks = [(size << 3 | 2 | (place == len(runs) - 1)).to_bytes(3, "little") for place, size in enumerate(runs)]
    head = b"\x28\xb5\x2f\xfd\xc4" + bytes([window << 3]) + stated.to_bytes(8, "little")
    return head + b"".join(block + b"\0" for block in blocks) + bytes(4)


def with_dictionary(data: bytes) -> bytes:
    dictionary = zstandard.train_dictionary(1 << 10, [bytes([n]) * 9 + b"polarchive" * n for n in range(99)])
    return zstandard.ZstdCompressor(dict_data=dictionary, write_checksum=True).compress(data)


TEXT = b"some text " * 9
FRAME = frame(TEXT)
FRAMES = {
    "empty": b"",
    "not_zstd": b"some text",
    "header_cut": FRAME[:5],
    "block_cut": FRAME[:-9],
    "checksum_cut": FRAME[:-1],
    "checksum_wrong": FRAME[:-1] + bytes([FRAME[-1] ^ 1]),
    "no_checksum": frame(TEXT, write_checksum=False),
    "no_size": frame(TEXT, write_content_size=False),
    "another_size": frame(TEXT + b"a"),
    "twice": FRAME * 2,
    "empty_frame_before": frame(b"") + FRAME,
    "empty_frame_after": FRAME + frame(b""),
    "byte_after": FRAME + b"\0",
    "skippable_before": b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + FRAME,
    "skippable_after": FRAME + b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
    "skippable_of_that_size": b"\x50\x2a\x4d\x18" + len(TEXT).to_bytes(4, "little") + TEXT,
    "skippable_of_4_GiB": b"\x50\x2a\x4d\x18\xff\xff\xff\xff",
    "dictionary": with_dictionary(TEXT),
    "magicless": frame(TEXT, format=zstandard.FORMAT_ZSTD1_MAGICLESS),
    "terabytes": raw_frame(1 << 40, [131072] * 8),
    "more_than_it_states": raw_frame(len(TEXT), [1 << 17] * 99),
    "window_of_256_MiB": raw_frame(len(TEXT), [len(TEXT)], window=18),
    "window_of_2_TiB": raw_frame(len(TEXT), [len(TEXT)], window=31),
    "reserved_bit": FRAME[:4] + bytes([FRAME[4] | 8]) + FRAME[5:],
}


@pytest.mark.parametrize("data", FRAMES.values(), ids=FRAMES)
def test_other_frames_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        frames.decompress(data, len(TEXT), "here")
    assert caught.value.reason == Reason.CODING and "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"a", TEXT, bytes(1 << 20), random_words(0, 8, 1 << 18).tobytes()], ids=len)
def test_a_frame_comes_back(data: bytes) -> None:
    for found in (frames.compress(data), frame(data), frame(data, window_log=10), frame(data, compression_level=19)):
        assert frames.decompress(found, len(data), "here") == data


def test_what_a_frame_states_bounds_what_it_takes() -> None:
    """A frame may state little and hold much, and the library sees it only at the end, with all of it in memory."""
    tracemalloc.start()
    with pytest.raises(FormatError):
        frames.decompress(raw_frame(1 << 20, [1 << 17] * 10_000), 1 << 20, "here")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


@pytest.mark.parametrize("width", WIDTHS)
def test_coding_is_smaller_where_the_model_is_good(width: int) -> None:
    noise = np.random.default_rng(0)
    predicted = np.frombuffer(noise.bytes(40_000 * width // 8), f"<u{width // 8}")
    found = predicted + noise.geometric(0.2, len(predicted)).astype(predicted.dtype)
    coded = require_same(found, Near(predicted))
    assert coded.size < (0.6 if width == 8 else 0.35) * found.nbytes


def test_noise_grows_by_little() -> None:
    found = np.frombuffer(np.random.default_rng(0).bytes(1 << 20), "<u4")
    assert encode(found, plain(32, len(found))).size < 1.01 * found.nbytes


def test_coding_says_the_same_each_time() -> None:
    found = random_words(0, 32, 5000)
    assert encode(found, plain(32, 5000)) == encode(found.copy(), plain(32, 5000))
