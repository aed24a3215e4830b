"""Run every match of a contest, and keep what came of each, so that a contest that was broken off goes on."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from polarchive.attacks.attack import Attack
from polarchive.contest.arena import Arena
from polarchive.contest.match import play
from polarchive.contest.protocol import Protocol
from polarchive.contest.rows import Match
from polarchive.contest.spoofing import Policies, Progress
from polarchive.format import disk

Tell = Callable[[str], Progress]


def contest(
    arena: Arena,
    attacks: Mapping[str, Attack],
    policies: Policies,
    protocols: Collection[Protocol],
    tell: Tell = lambda name: lambda done, total: None,
) -> Iterator[tuple[str, Match]]:
    """Yield what came of each attack; `tell` is told its name, and returns what is told of the replay's progress.

    A match that the arena's folder has the result of is not played again, if it was of the same attack, policies,
    protocols and training.
    """
    arena.prepare()
    for name, attack in attacks.items():
        asked = _asked(arena, attack, policies, protocols)
        kept = arena.folder / "matches" / f"{name}.json"
        match = _known(kept, asked)
        if match is None:
            match = play(name, attack, arena, policies, protocols, tell(name))
            _keep(kept, asked, match)
        yield name, match


def _asked(arena: Arena, attack: Attack, policies: Policies, protocols: Collection[Protocol]) -> list[str]:
    """Return what a result is the result of, in words."""
    judge = f"δ = {arena.fraction} d_ref, top {arena.top}, drawn {arena.drawn}, seed {arena.seed}"
    asked = [each.value for each in Protocol if each in protocols]
    return [version("polarchive"), repr(attack), arena.workload.told, judge, *map(str, policies.values()), *asked]


def _known(path: Path, asked: list[str]) -> Match | None:
    if not path.exists():
        return None
    told = json.loads(path.read_bytes())
    return Match.of_json(told["match"]) if told["of"] == asked else None


def _keep(path: Path, asked: list[str], match: Match) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.replacing(path) as file:
        file.write(json.dumps({"of": asked, "match": match.as_json()}, indent=1).encode())
