"""Bound every read (SPEC.md, "Limits"): a hostile file costs its reader little."""

from typing import Final

MAX_MEMBERS: Final = 1 << 18
MAX_INDEX: Final = 48 << 20
MAX_HEADER: Final = 16 << 20
MAX_ENTRY: Final = 1 << 20
MAX_ENTRIES: Final = 1 << 18
MAX_ENTRIES_SIZE: Final = 64 << 20
MAX_HEADS_SIZE: Final = 64 << 20
MAX_ROW: Final = 1 << 20
MAX_ROWS: Final = 64 << 20
MAX_STEPS_PER_SEGMENT: Final = 1 << 20
MAX_NOTE: Final = 1 << 12
MAX_STAMP: Final = 1 << 16
MAX_COSIGNATURES: Final = 1 << 16
MAX_ATTACHED: Final = 64 << 20
MAX_DATASET: Final = 1 << 22
MAX_TENSORS: Final = 1 << 17
MAX_TENSORS_HEADER: Final = 32 << 20
MAX_CHAIN: Final = 64
MAX_GROWTH: Final = 16
MAX_SMALL_STATE: Final = 16 << 20
MAX_STEPS: Final = 64
MAX_STACK: Final = 8
MAX_SOURCES: Final = 8
MAX_NDIM: Final = 16
MAX_VALUES: Final = 1 << 20
MAX_BRACKETS: Final = 1 << 19
MAX_HYPER: Final = 1 << 12
MAX_DEPTH: Final = 8
MAX_TEXT: Final = 1 << 12
CHUNK: Final = 16 << 20
COPY: Final = 1 << 20
