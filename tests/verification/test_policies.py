"""Test the policies by name, and those that a judge writes down."""

from dataclasses import replace
from pathlib import Path

import pytest

import polarchive as pol
from polarchive.errors import PolError
from polarchive.verification import policies, policyfile, report
from polarchive.verification.checks.indices import Indices
from polarchive.verification.checks.joint import Joint
from polarchive.verification.checks.reachable import reachable
from polarchive.verification.checks.schedule import Schedule
from polarchive.verification.fitted import PerStep
from polarchive.verification.selecting import selection
from polarchive.verification.selections import ByEpoch, Sample, Suspicious, TopQ, every
from polarchive.verification.thresholds import Fixed, Lp, Relative
from tests.workloads import CONVNET, threads

EXAMPLE = Path(__file__).parents[2] / "examples" / "policy.toml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with threads(1):
        return CONVNET.record(tmp_path_factory.mktemp("run") / "run")


@pytest.mark.parametrize("name", policies.NAMED)
def test_an_honest_run_is_accepted_by_every_policy(name: str, run: Path) -> None:
    policy = policyfile.named(name)
    verdict = CONVNET.judge(run, policy=policy)
    assert (verdict.result, policy.name) == ("accepted", name), verdict.reasons
    text = "\n".join(report.text(verdict))
    assert name in verdict.policy and all(f"assumes   {each}" in text for each in policy.assumes)


def test_what_a_policy_does_not_check_is_named(run: Path) -> None:
    verdict = CONVNET.judge(run, policy=policies.jia2021_full())
    assert {"initial", "schedule", "counters", "joint", "segments in a row"} <= set(verdict.unchecked)
    assert "unchecked initial, fresh, schedule" in "\n".join(report.text(verdict))
    assert report.as_json(verdict)["unchecked"] == list(verdict.unchecked)
    assert policies.strict().unchecked == () == policies.exact().unchecked


def test_every_verdict_carries_the_unexplained_displacement(run: Path) -> None:
    verdict = CONVNET.judge(run)
    assert verdict.unexplained is not None and verdict.unexplained.segments == 3
    assert (verdict.unexplained.toward, verdict.unexplained.total) == (0.0, 0.0) and verdict.unexplained.distance > 0
    assert "unexplained displacement: 0 of the way toward the end, 0 in all" in "\n".join(report.text(verdict))
    assert [pair.index for pair in verdict.pairs] == [0, 1] and all(pair.accepted for pair in verdict.pairs)
    assert "segments 0 to 1 in a row" in "\n".join(report.text(verdict))


def load(tmp_path: Path, text: str) -> pol.Policy:
    (tmp_path / "policy.toml").write_text(text)
    return policyfile.named(str(tmp_path / "policy.toml"))


def test_the_example_is_one() -> None:
    policy = policyfile.load(EXAMPLE)
    assert (policy.name, policy.selection, policy.in_a_row) == ("ours", Sample(50), 5)
    assert (policy.threshold, policy.of_whole) == (Relative(0.05), (Joint(0.005, 0.05),))
    assert policy.of_case == (*policies.strict().of_case[:-1], Schedule(0.5, 32, 100, 0.5, 11.0))


def test_an_empty_file_is_the_default_by_another_name(tmp_path: Path) -> None:
    assert load(tmp_path, "") == replace(policies.strict(), name="policy")


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ('kind = "fixed"', Fixed(0.0)),
        ('kind = "fixed"\nlimit = 1e-6', Fixed(1e-6)),
        ('kind = "lp"\np = 2\nlimit = 0.5', Lp(2, 0.5)),
        ('kind = "relative"\nalpha = 1', Relative(1.0)),
        ("alpha = 0.05", Relative(0.05)),
        ("floor = 0.1", Relative(0.1, 0.1)),
    ],
)
def test_thresholds(text: str, threshold: object, tmp_path: Path) -> None:
    assert load(tmp_path, f"[threshold]\n{text}\n").threshold == threshold


def test_a_threshold_without_a_kind_is_that_of_the_policy_like_which_it_is(tmp_path: Path) -> None:
    assert load(tmp_path, "like = 'jia2021_full'\n[threshold]\nlimit = 0.5\n").threshold == Lp(2, 0.5)


def test_joint_limits_that_are_left_out_are_those_of_the_policy_that_is_changed(tmp_path: Path) -> None:
    assert load(tmp_path, "like = 'exact'\n[joint]\ntoward = 0.01\n").of_whole == (Joint(0.01, 0.0, 0.0),)
    assert load(tmp_path, "like = 'relative'\n[joint]\ntoward = 0.02\n").of_whole == (Joint(0.02),)


def test_what_is_known_of_the_training_can_be_asked(tmp_path: Path) -> None:
    policy = load(tmp_path, "epoch = 48\nadam = true\n")
    assert policy.of_archive == (*policies.strict().of_archive[:-1], Indices(48), reachable)


def test_checks_can_be_left_out_and_the_report_says_so(tmp_path: Path) -> None:
    policy = load(tmp_path, 'without = ["joint", "schedule"]\nin_a_row = 0\n')
    assert set(policy.unchecked) == {"joint", "schedule", "segments in a row"} and policy.of_whole == ()


WRONG = {
    "an unknown key": ("selection = 'every'", "selection is no key here"),
    "no such policy": ("like = 'lenient'", "like is none of strict"),
    "no such selection": ("select = 'some'", "select = some is not every, sample:N"),
    "a selection below 0": ("select = 'sample:-1'", "select = sample:-1 is not every"),
    "no such threshold": ("[threshold]\nkind = 'wide'", "kind is none of"),
    "a threshold's key of another kind": ("[threshold]\nkind = 'fixed'\nalpha = 1", "alpha is no key here"),
    "a threshold's key of the policy's kind": ("[threshold]\nlimit = 1", "limit is no key here; known are kind, alpha"),
    "a threshold that lacks a key": ("[threshold]\nkind = 'lp'\nlimit = 1", "kind = lp takes p and limit"),
    "a limit below 0": ("[threshold]\nkind = 'fixed'\nlimit = -1", "limit is not a number from 0 on"),
    "a limit that is nan": ("[threshold]\nkind = 'fixed'\nlimit = nan", "limit is not a number from 0 on"),
    "a limit that is true": ("[joint]\ntoward = true", "toward is not a number"),
    "no such bound": ("[schedule]\nrate = 1", "rate is no key here"),
    "a bound that is no number": ("[schedule]\nsteps = 1.5", "steps is not a whole number"),
    "an epoch that is no number": ("epoch = 'all'", "epoch is not a whole number"),
    "no such check": ("without = ['magic']", "without names magic, and the checks are"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str, tmp_path: Path) -> None:
    text, message = WRONG[name]
    with pytest.raises(PolError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value) and "policy.toml" in str(caught.value)


def test_no_policy_has_that_name() -> None:
    with pytest.raises(PolError, match=r"stricter: .*known are strict"):
        policyfile.named("stricter")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("every", every),
        ("sample:3", Sample(3)),
        ("top:5", TopQ(5)),
        ("top:5+2", TopQ(5, 2)),
        ("suspicious:5", Suspicious(5, 0)),
        ("suspicious:5+2", Suspicious(5, 2)),
        ("epoch:1000:2", ByEpoch(2, 1000)),
    ],
)
def test_selections_are_read(text: str, found: object) -> None:
    assert selection(text) == found


@pytest.mark.parametrize(
    "text",
    ["", "every:1", "sample", "sample:", "sample:x", "top:1+", "suspicious", "epoch:5", "top:１", "sample:9999999999"],
)
def test_what_is_no_selection_is_refused(text: str) -> None:
    with pytest.raises(PolError, match="is not every, sample:N"):
        selection(text)


def test_thresholds_of_ones_own_replays(tmp_path: Path) -> None:
    policy = load(tmp_path, '[threshold]\nkind = "per_step"\ntau = 0.8\nreplays = 4\n')
    assert policy.threshold == PerStep(0.8, 4)
