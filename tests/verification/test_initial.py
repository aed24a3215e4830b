"""Ask where state 0 comes from: from a seed, from a parent that was judged, or from nobody knows where."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import polarchive as pol
from polarchive.errors import SignatureError
from polarchive.format.entry import Initial
from polarchive.verification import report
from polarchive.verification.case import built
from polarchive.verification.checks.end import end
from polarchive.verification.checks.fresh import fresh
from polarchive.verification.checks.initial import initial
from polarchive.verification.checks.parent import Parent, Part, whole
from polarchive.verification.checks.schedule import schedule
from polarchive.verification.finding import Finding, Outcome
from tests.cases import FAILED, PASSED, UNKNOWN, case_of, outcomes
from tests.forging import Forgery
from tests.lies import Judged, stolen
from tests.simulator import PROVER, STRANGER
from tests.workloads import CONVNET, SEED, TRANSFORMER, build_convnet


@pytest.fixture(scope="module")
def unexplained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CONVNET.record(tmp_path_factory.mktemp("unexplained") / "run", seed=None)


# State 0: seeded.


def test_state_0_is_what_the_seed_builds(honest: Path) -> None:
    (finding,) = initial(case_of(honest))
    assert finding.outcome is PASSED and f"seed {SEED}" in finding.message


def test_other_state_0_is_unknown_where_other_numbers_are_drawn(honest: Path) -> None:
    trainer = built(case_of(honest).build, SEED + 1)
    assert outcomes(initial(case_of(honest, trainer=trainer))) == [FAILED]
    assert outcomes(initial(case_of(honest, trainer=trainer, same_randomness=False))) == [UNKNOWN]


def test_unexplained_state_0_is_said_to_be(unexplained: Path) -> None:
    (finding,) = initial(case_of(unexplained))
    assert finding.outcome is UNKNOWN and "unexplained" in finding.message
    assert CONVNET.judge(unexplained).result == "inconclusive"


# State 0: from a parent.


def fine_tuned(
    folder: Path, taken: tuple[str, ...] = ("model",), told: Callable[[Initial], Initial] = lambda own: own
) -> Path:
    """Record an honest run from parts of a parent's last state, in `folder`/run, beside `folder`/parent.pol."""
    pol.pack(CONVNET.record(folder / "parent"), folder / "parent.pol")
    with pol.open(folder / "parent.pol", trusted=[PROVER.key]) as parent:
        state, stated = pol.to_tensors(parent.state(3)), Initial("parent", archive=parent.digest, state=parent.root(3))
    torch.manual_seed(0)
    trainer = build_convnet(None, "cpu")
    trainer.load({**trainer.save(), **{name: state[name] for name in state if name.startswith(taken)}})
    with CONVNET.writer(folder / "run", trainer, seed=None) as log:
        log._initial = told(stated)
        for step in range(12):
            log.record(CONVNET.batches(step))
            trainer.step([CONVNET.batches(step)])
    return folder / "run"


def accepted(folder: Path, result: str = "accepted") -> Judged:
    with pol.open(folder / "parent.pol", trusted=None) as archive:
        return Judged(archive.digest, result)


def parent_of(folder: Path, begin: Any = Part("model"), **changes: Any) -> Parent:  # noqa: B008
    return replace(Parent(folder / "parent.pol", (PROVER.key,), accepted(folder), begin), **changes)


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fine_tuned(tmp_path_factory.mktemp("child"))


def test_state_0_is_what_a_parents_weights_make(child: Path) -> None:
    (finding,) = parent_of(child.parent)(case_of(child))
    assert finding.outcome is PASSED and "state 3 of" in finding.message
    policy = pol.Policy(of_case=(parent_of(child.parent), schedule))
    assert CONVNET.judge(child, policy=policy).result == "accepted"


def test_all_of_a_parents_state_may_be_gone_on_from(tmp_path: Path) -> None:
    run = fine_tuned(tmp_path, ("model", "optimizer"))
    assert outcomes(parent_of(tmp_path, whole)(case_of(run))) == [PASSED]
    assert outcomes(parent_of(tmp_path)(case_of(run))) == [FAILED], "a fresh optimizer is not the parent's"


def test_what_is_not_the_parents_is_built_under_seed_0(tmp_path: Path) -> None:
    """As the new head of an old body is."""
    run = fine_tuned(tmp_path, ("optimizer",))
    assert outcomes(parent_of(tmp_path, Part("optimizer"))(case_of(run))) == [PASSED]
    assert outcomes(parent_of(tmp_path, Part("model"))(case_of(run))) == [FAILED]


def test_parent_that_nobody_judged_explains_nothing(child: Path) -> None:
    assert outcomes(initial(case_of(child))) == [UNKNOWN]
    assert CONVNET.judge(child).result == "inconclusive"


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [("accepted", PASSED), ("rejected", FAILED), ("inconclusive", UNKNOWN)],
)
def test_state_0_is_worth_what_its_parent_is(verdict: str, outcome: Outcome, child: Path) -> None:
    own = parent_of(child.parent, verdict=accepted(child.parent, verdict))
    assert outcomes(own(case_of(child))) == [outcome]


def test_verdict_on_another_archive_is_none_on_the_parent(child: Path) -> None:
    own = parent_of(child.parent, verdict=Judged(bytes(32), "accepted"))
    assert outcomes(own(case_of(child))) == [UNKNOWN]


def test_archive_that_the_header_does_not_name_is_no_parent(child: Path, tmp_path: Path) -> None:
    pol.pack(CONVNET.record(tmp_path / "other"), tmp_path / "parent.pol")
    (finding,) = parent_of(tmp_path)(case_of(child))
    assert finding.outcome is UNKNOWN and "not the archive" in finding.message
    assert outcomes(parent_of(child.parent, path=child.parent / "parent")(case_of(child))) == [UNKNOWN]


def test_parent_without_such_a_state_is_a_lie(tmp_path: Path) -> None:
    run = fine_tuned(tmp_path, told=lambda own: replace(own, state=bytes(32)))
    (finding,) = parent_of(tmp_path)(case_of(run))
    assert finding.outcome is FAILED and "no state of the root" in finding.message


def test_parent_that_does_not_fit_is_a_lie(child: Path) -> None:
    case = case_of(child, TRANSFORMER)
    (finding,) = parent_of(child.parent, whole)(case)
    assert finding.outcome is FAILED and "is not both in the record and in the trainer" in finding.message


def test_parent_by_a_stranger_is_refused(child: Path) -> None:
    with pytest.raises(SignatureError):
        list(parent_of(child.parent, trusted=(STRANGER.key,))(case_of(child)))


def test_state_0_without_a_parent_is_left_to_its_seed(honest: Path, unexplained: Path, child: Path) -> None:
    assert outcomes(parent_of(child.parent)(case_of(honest))) == [PASSED]
    assert outcomes(parent_of(child.parent)(case_of(unexplained))) == [UNKNOWN]


def test_parent_shows_in_the_report_by_its_path(child: Path) -> None:
    assert str(child.parent / "parent.pol") in repr(parent_of(child.parent))
    assert repr(parent_of(child.parent)).startswith("initial(") and "Part(name='model')" in repr(
        parent_of(child.parent)
    )
    assert "begin=whole" in repr(parent_of(child.parent, whole))


# State 0: unexplained.


def test_fresh_state_0_looks_fresh(unexplained: Path) -> None:
    law, order = fresh(case_of(unexplained))
    assert law.error is not None and law.error > 1e-4
    assert order.error is not None and 0.5 < order.error < 1


def test_advice_is_reported_and_decides_nothing(unexplained: Path) -> None:
    verdict = CONVNET.judge(unexplained, policy=pol.Policy(of_archive=(end,), of_case=(fresh, schedule)))
    assert verdict.result == "accepted" and verdict.reasons == ()
    assert sum(line.startswith("  note fresh: ") for line in report.text(verdict)) == 2
    assert [each["outcome"] for each in report.as_json(verdict)["findings"]].count("advice") == 2


def test_nothing_is_said_of_an_explained_state_0(honest: Path, child: Path) -> None:
    assert list(fresh(case_of(honest))) == list(fresh(case_of(child))) == []
    assert len(list(fresh(case_of(honest, same_randomness=False)))) == 2


def begun_with(change: Callable[[dict[str, Tensor]], dict[str, Tensor]], folder: Path) -> list[Finding]:
    """Return the advice on a run whose state 0 was chosen."""
    forgery = Forgery(check="none", state=lambda index, state: change(state) if not index else state, seed=None)
    return list(fresh(case_of(forgery.record(folder / "run"))))


def test_weights_of_another_law_are_seen(tmp_path: Path) -> None:
    found = begun_with(lambda state: {**state, "model/conv2.weight": state["model/conv2.weight"] * 2}, tmp_path)
    assert found[0].tensor == "model/conv2.weight" and (found[0].error or 0.0) < 1e-6


def test_norms_that_do_not_begin_at_one_are_seen(tmp_path: Path) -> None:
    found = begun_with(lambda state: {**state, "model/bn1.weight": state["model/bn1.weight"] + 2**-20}, tmp_path)
    assert found[0].tensor == "model/bn1.weight" and "under any seed" in found[0].message


def test_momentum_before_the_first_step_is_seen(tmp_path: Path) -> None:
    momentum = "optimizer/model/conv1.weight/momentum_buffer"
    found = begun_with(lambda state: {**state, momentum: state["model/conv1.weight"]}, tmp_path)
    assert found[0].tensor == momentum


def test_fresh_numbers_in_a_stolen_order_show_in_the_ranks_only(tmp_path: Path) -> None:
    """Zhang's second attack: the law is right, and a run that hardly moves keeps the order."""

    def matched(state: dict[str, Tensor]) -> dict[str, Tensor]:
        goal, claimed = stolen(), dict(state)
        for name in (name for name in state if name.endswith(("conv1.weight", "conv2.weight"))):
            ranks = goal[name].flatten().argsort().argsort()
            claimed[name] = state[name].flatten().sort().values[ranks].view_as(state[name])
        return claimed

    law, order = begun_with(matched, tmp_path)
    assert (law.error or 0.0) > 1e-4 and (order.error or 0.0) > 0.5


def test_nan_in_state_0_is_of_no_law(tmp_path: Path) -> None:
    found = begun_with(lambda state: {**state, "model/conv2.weight": state["model/conv2.weight"] * torch.nan}, tmp_path)
    assert found[0].error == 0.0
