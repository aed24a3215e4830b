"""Write and read single zstd frames, and never more of one than it should hold (SPEC.md, "Coded states")."""

from typing import Final

import zstandard

from polarchive.errors import FormatError, Reason
from polarchive.format.tensors import Buffer

_WINDOW: Final = 1 << 27
_PIECE: Final = 1 << 10  # of a frame: four bytes of it can become 128 KiB
# Matches are rare in noise and cost time, and large tables cost more: Huffman's codes do nearly as well, or better.
_QUICK: Final = zstandard.ZstdCompressionParameters(
    window_log=17,
    hash_log=6,
    chain_log=6,
    search_log=1,
    min_match=7,
    strategy=zstandard.STRATEGY_FAST,
    write_content_size=1,
    write_checksum=1,
)


def compress(data: Buffer) -> bytes:
    """Return a zstd frame with checksum and size."""
    return zstandard.ZstdCompressor(compression_params=_QUICK).compress(data)


def decompress(frame: bytes, size: int, place: str) -> bytes:
    """Return the `size` bytes of one zstd frame; FormatError if it holds others, more, or less, or is not alone.

    What a frame states is checked before anything is allocated, and what comes out while it does: the library compares
    a frame with the size it states only at its end, and ignores `max_output_size` where there is such a statement.
    """
    try:
        stated = zstandard.get_frame_parameters(frame)
        if (stated.content_size, stated.dict_id, stated.has_checksum) != (size, 0, True):
            raise FormatError(Reason.CODING, place, "a frame of another size, with a dictionary, or without checksum")
        if stated.window_size > _WINDOW:
            raise FormatError(Reason.CODING, place, f"a frame with a window of {stated.window_size} bytes")
        engine, data = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj(), bytearray()
        for start in range(0, len(frame), _PIECE):
            data += engine.decompress(frame[start : start + _PIECE])
            if len(data) > size:
                raise FormatError(Reason.CODING, place, "a frame that holds more than it states")
    except zstandard.ZstdError as error:
        raise FormatError(Reason.CODING, place, f"not a zstd frame: {error}") from None
    if len(data) != size or not engine.eof or engine.unused_data:
        raise FormatError(Reason.CODING, place, "bytes after the frame, or a frame that ends early")
    return bytes(data)
