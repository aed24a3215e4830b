"""Derive what a judge asks for from what the prover could not foresee (SPEC.md, "Challenges")."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from polarchive.format.tensors import lp

TAG: Final = b"polarchive/v1/challenge\x00"
DRAW: Final = b"polarchive/v1/draw\x00"
NONCE_SIZE: Final = 32


def derive(text: bytes, nonce: bytes) -> bytes:
    """Return the 32-byte challenge out of the last head's signed text and the judge's 32-byte nonce.

    The text, not a stamp over it: a stamp's bytes can be varied by whoever holds it until the challenge is pleasant.
    """
    if len(nonce) != NONCE_SIZE:
        raise ValueError(f"a nonce has {NONCE_SIZE} bytes, not {len(nonce)}")
    return sha256(TAG + lp(text) + nonce).digest()


def draw(challenge: bytes, population: int, count: int, label: str) -> list[int]:
    """Return `count` different indices below `population`, in ascending order, each set equally likely.

    `label` says what for: draws of one challenge under different labels are independent of each other.
    """
    if not 0 <= count <= population:
        raise ValueError(f"{count} indices out of {population}")
    chosen: set[int] = set()
    words = _below(sha256(DRAW + lp(label.encode()) + challenge).digest(), population)
    while len(chosen) < count:
        chosen.add(next(words))
    return sorted(chosen)


def _below(seed: bytes, bound: int) -> Iterator[int]:
    limit = (1 << 64) - (1 << 64) % bound  # words at or above it would favour small indices
    counter = 0
    while True:
        block = sha256(seed + counter.to_bytes(8, "big")).digest()
        for start in range(0, 32, 8):
            word = int.from_bytes(block[start : start + 8], "big")
            if word < limit:
                yield word % bound
        counter += 1
