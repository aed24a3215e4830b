"""Settle disputes that are acted out with real runs and real tokens; each scenario has its expected finding."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from polarchive.errors import PolError
from polarchive.format import attach, container
from polarchive.format.archive import open_archive
from polarchive.measures.symmetry import Axis, Group
from polarchive.trust.trust import Trust
from polarchive.verification.dispute import report
from polarchive.verification.dispute.claim import Claim, Report
from polarchive.verification.dispute.decision import Decision, Outcome, decide
from polarchive.verification.dispute.facts import Facts
from tests import disputes
from tests.disputes import AUTHORITY, END, GROWING, OWN, Hours, sealed
from tests.workloads import threads

ALICE, EVE = "alice.pol", "eve.pol"
LATER = {size: 10 + when for size, when in GROWING.items()}


@dataclass(frozen=True)
class Scenario:
    """Say what Eve claims against Alice, when the heads of each were stamped, and what the finding must be.

    `reports` are the archives that the judge replayed.
    """

    name: str
    eve: str
    alice_at: Hours
    eve_at: Hours
    outcome: Outcome
    favours: str | None = None
    by_date: str | None = None
    says: str = ""
    reports: tuple[str, ...] = (ALICE, EVE)
    authority: str = "believed"
    symmetries: bool = False
    edit: Callable[[Path, Path], None] = field(default=lambda alice, eve: None)


def put_alices_stamp(alice: Path, eve: Path) -> None:
    """Put the token over Alice's head beside Eve's."""
    with open_archive(alice, trusted=None) as archive:
        token = archive.attached.over(END)[0].stamp.raw
    attach.attach(eve, container.stamp_name(END, 0), token)


SCENARIOS = (
    Scenario("replayed and re-signed", "copy", GROWING, LATER, Outcome.PRIOR, ALICE, says="one was copied"),
    Scenario("replayed, re-signed, unstamped", "copy", GROWING, {}, Outcome.PRIOR, ALICE, says="shows no time"),
    Scenario(
        "copied as it grew, and finished sooner",
        "copy",
        {1: 0, 2: 1, END: 9},
        {2: 2, 3: 3, END: 4},
        Outcome.PRIOR,
        ALICE,
        says="earlier stamps in the other log",
    ),
    Scenario("backdated by a clock of one's own", "copy", GROWING, {END: -500}, Outcome.PRIOR, ALICE, authority="own"),
    Scenario(
        "backdated by a stamp of another head",
        "copy",
        GROWING,
        {},
        Outcome.ONLY,
        ALICE,
        says="stamp-imprint",
        edit=put_alices_stamp,
    ),
    Scenario(
        "equivocation, the better log revealed", "rewritten", GROWING, LATER, Outcome.REWRITTEN, says="from entry"
    ),
    Scenario("jump to the stolen model, replayed", "jump", GROWING, LATER, Outcome.ONLY, ALICE, says="rejected it"),
    Scenario(
        "claim after theft, which nobody replayed",
        "jump",
        GROWING,
        {END: 3.5},
        Outcome.PRIOR,
        ALICE,
        reports=(ALICE,),
        says="no state in common",
    ),
    Scenario(
        "cheap prefix stamped early, a jump later",
        "jump",
        GROWING,
        {1: -50, 2: -49, 3: -48, END: 10},
        Outcome.PRIOR,
        ALICE,
        reports=(ALICE,),
    ),
    Scenario("Alice's own log, stamped by whoever stole it", "victim", GROWING, {END: -1}, Outcome.SAME),
    Scenario(
        "run directory stolen, re-signed and stamped before its first stamp",
        "copy",
        LATER,
        {END: 1},
        Outcome.UNDECIDED,
        by_date=EVE,
        says="whether it was stolen before the other's first stamp",
    ),
    Scenario("clocks that cannot tell", "copy", GROWING, GROWING, Outcome.UNDECIDED, says="overlap"),
    Scenario("nobody stamped", "copy", {}, {}, Outcome.UNDECIDED, says="neither claim has a stamp"),
    Scenario(
        "nobody replayed",
        "copy",
        GROWING,
        LATER,
        Outcome.UNDECIDED,
        by_date=ALICE,
        reports=(),
        says="no report on it",
    ),
    Scenario("fine-tuned", "tuned", GROWING, LATER, Outcome.DERIVED, ALICE, says="starts from state 3"),
    Scenario(
        "fine-tuned, and stamped before",
        "tuned",
        LATER,
        GROWING,
        Outcome.UNDECIDED,
        by_date=EVE,
        says="earlier than any over that state",
    ),
    Scenario("two honest runs", "independent", GROWING, LATER, Outcome.UNRELATED, says="no --symmetries"),
    Scenario("two honest runs, aligned", "independent", GROWING, LATER, Outcome.UNRELATED, symmetries=True),
    Scenario("permuted", "permuted", GROWING, LATER, Outcome.PRIOR, ALICE, reports=(ALICE,), symmetries=True),
    Scenario("permuted, of an unknown architecture", "permuted", GROWING, LATER, Outcome.UNRELATED, reports=(ALICE,)),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with threads(1):
        victim = disputes.victim(folder / "victim")
        for name in ("copy", "rewritten", "independent"):
            getattr(disputes, name)(folder / name)
        for name in ("jump", "permuted", "tuned"):
            getattr(disputes, name)(folder / name, victim)
    return folder


@dataclass(frozen=True)
class Found:
    a: Claim
    b: Claim
    facts: Facts | None
    decision: Decision

    @property
    def text(self) -> str:
        return "\n".join(report.text(self.a, self.b, self.facts, self.decision))


@dataclass(frozen=True)
class Court:
    """Hear both sides; whoever comes first, the finding must be the same."""

    folder: Path

    def hear(self, first: str, second: str, reports: tuple[Path, ...], symmetries: bool, trust: Trust) -> Found:
        known = [Report.read(path) for path in reports]
        a, b = (Claim.of(name, self.folder / name, trust, known) for name in (first, second))
        known_groups = disputes.symmetries if symmetries else None
        facts = Facts.of(a, b, known_groups, None) if a.archive and b.archive else None
        return Found(a, b, facts, decide(a, b, facts))


def staged(scenario: Scenario, runs: Path, folder: Path) -> tuple[Path, ...]:
    """Make the archives of a scenario, and the judge's reports on them."""
    sources = {ALICE: runs / "victim", EVE: runs / scenario.eve}
    sealed(sources[ALICE], folder / ALICE, scenario.alice_at)
    believed = AUTHORITY if scenario.authority == "believed" else OWN
    sealed(sources[EVE], folder / EVE, scenario.eve_at, believed)
    scenario.edit(folder / ALICE, folder / EVE)
    found = []
    for name in scenario.reports:
        try:
            found.append(disputes.judged(folder / name, sources[name], folder / f"{name}.json"))
        except Exception as error:  # a broken archive has no report
            assert scenario.outcome is Outcome.ONLY and "stamp-imprint" in str(error)
    return tuple(found)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_finding(scenario: Scenario, runs: Path, tmp_path: Path) -> None:
    reports = staged(scenario, runs, tmp_path)
    for order in ((ALICE, EVE), (EVE, ALICE)):
        found = Court(tmp_path).hear(*order, reports, scenario.symmetries, disputes.trust())
        decision = found.decision
        assert (decision.outcome, decision.favours, decision.by_date) == (
            scenario.outcome,
            scenario.favours,
            scenario.by_date,
        ), found.text
        assert scenario.says in found.text
        said = json.dumps(report.as_json(found.a, found.b, found.facts, decision))
        assert json.loads(said)["outcome"] == scenario.outcome.value


def test_runs_from_one_public_seed_may_be_near_without_theft(runs: Path, tmp_path: Path) -> None:
    scenario = next(each for each in SCENARIOS if each.name == "permuted")
    found = Court(tmp_path).hear(ALICE, EVE, staged(scenario, runs, tmp_path), True, disputes.trust())
    assert found.facts is not None and not found.facts.kinship.identical and found.facts.kinship.near()
    decision = decide(found.a, found.b, replace(found.facts, same_start=True))
    assert (decision.outcome, decision.by_date) == (Outcome.UNDECIDED, ALICE)
    assert "near only because both start from one state" in decision.open[0]


def test_symmetries_that_do_not_fit_spoil_nothing(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = next(each for each in SCENARIOS if each.name == "permuted")
    reports = staged(scenario, runs, tmp_path)
    monkeypatch.setattr(disputes, "symmetries", lambda header: [Group((Axis("model/conv9"),))])
    found = Court(tmp_path).hear(ALICE, EVE, reports, True, disputes.trust())
    assert found.decision.outcome is Outcome.UNRELATED and "model/conv9" in found.text


def test_a_report_on_another_archive_is_not_taken(tmp_path: Path, runs: Path) -> None:
    scenario = next(each for each in SCENARIOS if each.name == "replayed and re-signed")
    alice, _ = staged(scenario, runs, tmp_path)
    told = json.loads(alice.read_bytes())
    alice.write_text(json.dumps({**told, "archive": "00" * 32}))
    found = Court(tmp_path).hear(ALICE, EVE, (alice,), False, disputes.trust())
    assert found.a.report is None and found.decision.outcome is Outcome.UNDECIDED


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"archive": 1, "verdict": "accepted", "segments": []}', '{"archive": "", "verdict": 1}'],
)
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(PolError, match="not a report of polarc verify --json"):
        Report.read(tmp_path / "report.json")
