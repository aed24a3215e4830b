"""Test that grinding last heads helps against a nonce that is known, and against no other."""

import math
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from polarchive.attacks.grinding import Grinding
from polarchive.attacks.known import Known
from polarchive.attacks.splice import Splice
from polarchive.format.challenge import derive
from polarchive.verification import policies
from polarchive.verification.selections import Sample
from tests.attacks.scene import judged, lands, opened, reasons, spoof
from tests.attacks.victim import SGD, leaking, published
from tests.workloads import threads

DRAWN = 6
OTHERS = SGD.segments - 2  # the first and the last are always replayed
NONCES = 2000
GUESS = Grinding().guess


def nonce(number: int) -> bytes:
    return sha256(f"nonce {number}".encode()).digest()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Known]]:
    with threads(1):
        knowing = leaking(published(tmp_path_factory.mktemp("victim")), drawn=DRAWN)
        folder = tmp_path_factory.mktemp("ground")
        spoof(Grinding(), knowing, folder)
        yield folder, knowing


def met(folder: Path, knowing: Known, nonces: Iterator[bytes]) -> list[bool]:
    """Tell for each nonce whether its challenge draws the bad segment."""
    bad = Grinding().spoof.bad(knowing)
    with opened(folder) as archive:
        text = archive.heads[-1].text
        return [bad in Sample(DRAWN)(archive, derive(text, each)) for each in nonces]


def test_the_guessed_challenge_misses_the_bad_segment(ground: tuple[Path, Known]) -> None:
    folder, knowing = ground
    assert met(folder, knowing, iter([GUESS])) == [False]
    assert lands(folder, knowing)
    verdict = judged(folder, SGD, policies.sampled(DRAWN), nonce=GUESS)
    assert verdict.result == "accepted", verdict.reasons


def test_other_nonces_miss_it_as_often_as_chance_does(ground: tuple[Path, Known]) -> None:
    found = met(*ground, map(nonce, range(NONCES)))
    share = DRAWN / OTHERS
    missed, expected = found.count(False), NONCES * (1 - share)
    deviation = math.sqrt(NONCES * share * (1 - share))
    assert abs(missed - expected) < 6 * deviation, (missed, expected)


def test_a_nonce_that_meets_it_ends_in_rejection_and_the_odds_are_told(ground: tuple[Path, Known]) -> None:
    folder, knowing = ground
    meets = met(folder, knowing, map(nonce, range(50))).index(True)
    verdict = judged(folder, SGD, policies.sampled(DRAWN), nonce=nonce(meets))
    assert verdict.result == "rejected" and "replay" in reasons(verdict)
    assert verdict.odds is not None and verdict.odds.one == pytest.approx(DRAWN / OTHERS)


def test_every_segment_replayed_leaves_nothing_to_grind(ground: tuple[Path, Known]) -> None:
    verdict = judged(ground[0], SGD, nonce=GUESS)
    assert verdict.result == "rejected" and "replay" in reasons(verdict)


def test_where_all_segments_are_drawn_one_try_is_all(ground: tuple[Path, Known], tmp_path: Path) -> None:
    _, knowing = ground
    spent = spoof(Grinding(), replace(knowing, rules=replace(knowing.rules, drawn=OTHERS)), tmp_path)
    once = spoof(Splice(), knowing, tmp_path / "once")
    assert spent.flops == once.flops
