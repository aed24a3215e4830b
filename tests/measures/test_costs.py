"""Hold costs to the numbers of the paper: Appendix B, in the setting of its section VI."""

from dataclasses import replace
from typing import Any

import pytest

from polarchive.errors import PolError
from polarchive.measures.costs import Setting, blindfold, blindfold_as_tabled, costs, honest

PAPER = Setting(k=10, steps=78_125, epoch=390.625, spoofed=78_125, q=5, n=10)  # 200 epochs of 50,000, in batches of 128


@pytest.mark.parametrize(("way", "update", "ratio"), [
    ("honest training", 30, 1.0),
    ("infinitesimal update", 1, 1 / 30),
    ("Zhang et al., attack 2", 4310, 143.67),
    ("Zhang et al., attack 3", 431, 14.367),
    ("blindfold top-Q", 4.84, 0.16133),
    ("blindfold top-Q, s in steps", 1.384, 0.04613),
])  # fmt: skip
def test_costs_are_those_of_the_paper(way: str, update: float, ratio: float) -> None:
    """The same for both networks, as costs count passes of whichever is trained."""
    found = costs(PAPER)[way]
    assert found.update == pytest.approx(update) and found.ratio == pytest.approx(ratio, rel=1e-4)
    assert found.total == pytest.approx(update * 7812.5)


@pytest.mark.parametrize("q", [0, 1, 5, 39])
def test_blindfold_is_what_the_papers_two_cases_come_to(q: int) -> None:
    """Of an epoch's s updates, Q cost 3k + 1 and s − Q cost 1: so s counts updates."""
    setting = replace(PAPER, epoch=400, q=q)
    updates = 400 / setting.k
    assert blindfold(setting) == pytest.approx((q * 31 + (updates - q)) / updates)
    assert blindfold_as_tabled(setting) == pytest.approx(3 * setting.k * q / 400 + 1)


def test_blindfold_over_a_whole_epoch_is_honest_training_and_interpolation() -> None:
    assert blindfold(replace(PAPER, q=40)) == blindfold(replace(PAPER, q=1000)) == honest(PAPER) + 1


def test_readings_of_s_differ_by_the_interval_alone() -> None:
    assert blindfold(PAPER) - 1 == pytest.approx(PAPER.k * (blindfold_as_tabled(PAPER) - 1))
    assert blindfold(replace(PAPER, k=1)) == blindfold_as_tabled(replace(PAPER, k=1))


@pytest.mark.parametrize("n", [1, 2, 10])
def test_optimising_data_of_each_step_is_dearer_than_training_until_the_spoof_is_short(n: int) -> None:
    long, short = replace(PAPER, n=n), replace(PAPER, n=n, spoofed=3 * PAPER.steps // (43 * n + 1))
    assert costs(long)["Zhang et al., attack 2"].ratio > 14
    assert costs(short)["Zhang et al., attack 2"].ratio == pytest.approx(1, rel=1e-2)


def test_length_of_a_spoof_does_not_change_what_honest_training_costs() -> None:
    short = costs(replace(PAPER, spoofed=1000))
    assert short["honest training"] == costs(PAPER)["honest training"]
    assert short["infinitesimal update"].total == 100


@pytest.mark.parametrize("changed", [
    {"k": 0}, {"steps": 0}, {"epoch": 0.0}, {"epoch": float("nan")}, {"spoofed": -1}, {"q": -1}, {"n": -1},
], ids=str)  # fmt: skip
def test_setting_of_no_run_is_refused(changed: Any) -> None:
    with pytest.raises(PolError, match="no run"):
        replace(PAPER, **changed)
