"""Have one attack meet every policy, under every protocol."""

from collections.abc import Collection

from polarchive.attacks.attack import Attack
from polarchive.contest.arena import Arena
from polarchive.contest.protocol import Protocol
from polarchive.contest.rows import Match
from polarchive.contest.spoofing import NONCE, Policies, Progress, Spoofing
from polarchive.format.challenge import derive, draw


def play(
    name: str,
    attack: Attack,
    arena: Arena,
    policies: Policies,
    protocols: Collection[Protocol],
    progress: Progress = lambda done, total: None,
) -> Match:
    """Return what every policy makes of an attack: forged once, and once more if data are made for a challenge."""
    matches = []
    if set(protocols) - {Protocol.AT_CHALLENGE}:
        matches.append(Spoofing(name, attack, arena, None).met(policies, protocols, progress))
    if Protocol.AT_CHALLENGE in protocols and attack.fabricates:
        matches.append(Spoofing(name, attack, arena, _challenge(arena)).met(policies, protocols, progress))
    return Match(
        tuple(each for match in matches for each in match.spoofs), tuple(row for m in matches for row in m.rows)
    )


def _challenge(arena: Arena) -> tuple[int, ...]:
    segments = arena.workload.segments
    return tuple(sorted(draw(derive(b"", NONCE), segments, min(arena.drawn, segments), "segments")))
