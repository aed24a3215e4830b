"""Tell verdicts to people and programs, with numbers that are none and findings that are many."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

import polarchive as pol
from polarchive.verification import report
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.verdict import Judged
from tests.verification.conftest import Verdicts

PASSED, FAILED, UNKNOWN = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def read_back(verdict: pol.Verdict) -> Any:
    return json.loads(json.dumps(report.as_json(verdict)), parse_constant=refuse)


def off(name: str, error: float, check: str = "replay") -> Finding:
    return Finding(check, FAILED, f"{name} is off by {error:.3g}", 3, 17, name, error, 0.1)


def judged(*found: Finding) -> Judged:
    return Judged(3, 15, 5, found, {finding.tensor or "all": finding.error or 0.0 for finding in found})


def lines(verdict: pol.Verdict) -> str:
    return "\n".join(report.text(verdict))


@pytest.mark.parametrize("error", [math.nan, math.inf, -math.inf])
def test_json_is_strict_whatever_the_errors(error: float, verdicts: Verdicts) -> None:
    verdict = replace(verdicts((PASSED,), ()), judged=(judged(off("model/w", error)),))
    told = read_back(verdict)
    assert told["segments"][0]["errors"]["model/w"] == told["reasons"][0]["error"] == str(error)


def test_json_has_what_programs_look_for(verdicts: Verdicts) -> None:
    told = read_back(verdicts((PASSED, UNKNOWN), ((PASSED,), (FAILED, PASSED))))
    assert told["verdict"] == "rejected"
    assert [(reason["check"], reason["outcome"], reason["segment"]) for reason in told["reasons"]] == [
        ("check", "unknown", None),
        ("check", "failed", 1),
    ]
    assert told["segments"] == [
        {"index": 0, "start": 0, "steps": 5, "accepted": True, "residual": "nan", "errors": {"model/w": 0.01}},
        {"index": 1, "start": 5, "steps": 5, "accepted": False, "residual": "nan", "errors": {"model/w": 0.01}},
    ]
    assert len(told["findings"]) == 5
    assert (told["nonce"], told["archive"], told["challenge"]) == ("00" * 32,) * 3


def test_json_of_a_run_directory_names_no_archive(verdicts: Verdicts) -> None:
    assert read_back(replace(verdicts((), ()), archive=None))["archive"] is None


@pytest.mark.parametrize(
    ("outcome", "result", "mark"),
    [
        (PASSED, "ACCEPTED", "  ok   segment"),
        (FAILED, "REJECTED", "  FAIL segment"),
        (UNKNOWN, "INCON", "  ??   segment"),
    ],
)
def test_text_says_first_what_it_comes_to(outcome: Outcome, result: str, mark: str, verdicts: Verdicts) -> None:
    text = lines(verdicts((PASSED,), ((outcome,),)))
    assert text.startswith(result) and mark in text


def test_text_names_tensor_segment_and_step(verdicts: Verdicts) -> None:
    text = lines(replace(verdicts((), ()), judged=(judged(off("model/w", 0.5)),)))
    assert "FAIL segment 3, steps 15 to 19: largest error 0.5 in model/w" in text
    assert "replay: step 17: model/w is off by 0.5" in text


@pytest.mark.parametrize("worst", [math.nan, math.inf, 7.0])
def test_text_shows_the_worst_of_many(worst: float, verdicts: Verdicts) -> None:
    found = [off(f"model/{number}", number / 10) for number in range(6)]
    text = lines(replace(verdicts((), ()), judged=(judged(*found[:3], off("model/w", worst), *found[3:]),)))
    assert f"largest error {worst:.3g} in model/w" in text
    assert text.index(f"replay: step 17: model/w is off by {worst:.3g}") < text.index("model/5 is off")
    assert "model/1 is off" not in text and "and 4 more" in text


def test_text_says_what_was_not_shown_unless_it_rejects(verdicts: Verdicts) -> None:
    assert "not shown:" in lines(verdicts((PASSED,), ((PASSED,),)))
    assert "not shown:" not in lines(verdicts((PASSED,), ((FAILED,),)))


def test_text_says_where_the_stacks_differ(verdicts: Verdicts) -> None:
    assert "threads 1 (recorded on 2)" in lines(verdicts((PASSED,), ((PASSED,),)))


def test_text_says_how_much_was_replayed(verdicts: Verdicts) -> None:
    partial = replace(verdicts((PASSED,), ((PASSED,),)), segments=4)
    assert "1 of 4 segments replayed" in lines(partial)
    assert "segments replayed, 1 finding against it" in lines(verdicts((), ((FAILED,),)))
