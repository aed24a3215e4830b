"""Hold contests on small trainings: who passes whom, what is kept, and what is told."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import polarchive as pol
from polarchive.attacks.honest import Honest
from polarchive.attacks.infinitesimal import Infinitesimal
from polarchive.contest import picture, table
from polarchive.contest.arena import Arena
from polarchive.contest.contest import contest
from polarchive.contest.place import claim
from polarchive.contest.protocol import Protocol
from polarchive.contest.rows import Match
from polarchive.errors import PolError
from polarchive.verification import policies
from tests import tsa
from tests.attacks.scene import SGD
from tests.authority import hours
from tests.workloads import threads

WALKED = 0.2  # of d_ref: in twelve segments no line is as fine as in a thousand
ATTACKS = {"honest": Honest(), "infinitesimal": Infinitesimal()}


def judges(arena: Arena) -> dict[str, pol.Policy]:
    return {
        "jia2021_full": policies.jia2021_full(arena.fraction, arena.reference.mean),
        "relative": policies.relative(),
        "sampled": policies.sampled(3),
        "strict": policies.strict(),
    }


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Arena, dict[str, Match]]:
    with threads(1):
        arena = Arena(tmp_path_factory.mktemp("contest"), SGD, fraction=WALKED)
        arena.prepare()
        return arena, dict(contest(arena, ATTACKS, judges(arena), [Protocol.COMMITTED, Protocol.PUBLIC]))


def verdicts(match: Match, protocol: Protocol) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {row.policy: (row.verdict, row.by) for row in match.rows if row.protocol is protocol}


def test_honest_runs_pass_and_are_other_models(played: tuple[Arena, dict[str, Match]]) -> None:
    match = played[1]["honest"]
    for protocol in (Protocol.COMMITTED, Protocol.PUBLIC):
        assert set(verdicts(match, protocol).values()) == {("accepted", ())}
    (spoof,) = match.spoofs
    assert 0.5 < spoof.lands < 2 and spoof.data == 0 and max(spoof.errors.values()) == 0
    assert spoof.counted == 3 * SGD.steps and 0.8 < spoof.passes / spoof.counted < 1.1
    assert {row.caught for row in match.rows} == {0.0}


def test_a_line_passes_static_thresholds_alone(played: tuple[Arena, dict[str, Match]]) -> None:
    match = played[1]["infinitesimal"]
    found = verdicts(match, Protocol.COMMITTED)
    assert found["jia2021_full"] == ("accepted", ())
    assert all(
        found[name][0] == "rejected" and "replay" in found[name][1] for name in ("relative", "sampled", "strict")
    )
    (spoof,) = match.spoofs
    assert spoof.lands == 0 and 0 < max(spoof.errors.values()) < WALKED
    assert spoof.counted == SGD.segments and spoof.passes < 3.1, "one step is taken, for the names of momentum"


def test_what_was_played_is_not_played_again(
    played: tuple[Arena, dict[str, Match]], monkeypatch: pytest.MonkeyPatch
) -> None:
    arena, before = played
    monkeypatch.setattr("polarchive.contest.contest.play", lambda *given: pytest.fail("played again"))
    assert dict(contest(arena, ATTACKS, judges(arena), [Protocol.PUBLIC, Protocol.COMMITTED])) == before


def test_what_was_played_otherwise_is_played_again(
    played: tuple[Arena, dict[str, Match]], monkeypatch: pytest.MonkeyPatch
) -> None:
    arena, before = played
    told: list[str] = []
    empty = Match((), ())
    monkeypatch.setattr("polarchive.contest.contest.play", lambda name, *given: told.append(name) or empty)
    monkeypatch.setattr("polarchive.contest.contest._keep", lambda *given: None)
    changed = {**ATTACKS, "infinitesimal": replace(ATTACKS["infinitesimal"], rate=1e-9)}
    found = dict(contest(arena, changed, judges(arena), [Protocol.COMMITTED, Protocol.PUBLIC]))
    assert told == ["infinitesimal"] and found == {**before, "infinitesimal": empty}


def test_the_table_and_the_picture_tell_it(played: tuple[Arena, dict[str, Match]], tmp_path: Path) -> None:
    matches = played[1]
    lines = list(table.markdown(matches))
    assert "| honest | **accepted** | **accepted** | **accepted** | **accepted** |" in lines
    assert any(line.startswith("| infinitesimal | **accepted** | rejected (replay") for line in lines)
    for name in ("one", "two"):
        picture.draw(matches, tmp_path / f"{name}.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes() != b""


def test_a_folder_is_one_contests(tmp_path: Path) -> None:
    claim(tmp_path / "new", SGD)
    claim(tmp_path / "new", SGD)
    slower = replace(SGD, optimizer=partial(torch.optim.SGD, lr=1e-3))
    for other in (
        replace(SGD, steps=SGD.steps + 1),
        slower,
        replace(SGD, records=(SGD.records[0].flip(0), SGD.records[1])),
    ):
        with pytest.raises(PolError, match="new: holds a contest on another training"):
            claim(tmp_path / "new", other)


@pytest.mark.parametrize("name", ["victim", "spoofs"])
def test_what_no_contest_made_is_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("mine")
    with pytest.raises(PolError, match=f"{name}: is there, and no contest says"):
        Arena(tmp_path, SGD).prepare()
    assert (tmp_path / name / "thesis.txt").read_text() == "mine"


def test_stamps_decide_where_replay_does_not(tmp_path: Path) -> None:
    """The line passes the static threshold, and claims a model that the victim had hours before."""
    early, late = (tsa.stamps(tsa.AUTHORITY.at(hours(count))) for count in (1, 5))
    with tsa.listening(early) as url:
        Arena(tmp_path, SGD, fraction=WALKED, authority=tsa.client(url)).prepare()
    with tsa.listening(late) as url:
        arena = Arena(tmp_path, SGD, fraction=WALKED, authority=tsa.client(url))
        found = dict(contest(arena, ATTACKS, judges(arena), [Protocol.COMMITTED, Protocol.STAMPED]))
    line, honest = (verdicts(found[name], Protocol.STAMPED) for name in ("infinitesimal", "honest"))
    assert line["jia2021_full"] == ("rejected", ("precedence",)) and "replay" in line["strict"][1]
    assert set(honest.values()) == {("accepted", ())}
