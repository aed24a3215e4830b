"""Tell verdicts to people and programs, with numbers that are none and findings that are many."""

import copy
import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

import polarchive as pol
from polarchive.trust.demands import Seen
from polarchive.trust.trust import Require, Trust
from polarchive.verification import policies, report, sealed
from polarchive.verification.drift import Unexplained
from polarchive.verification.finding import Finding, Outcome
from polarchive.verification.selections import Odds
from polarchive.verification.verdict import Judged
from tests import disputes
from tests.simulator import PROVER
from tests.verification.conftest import Verdicts
from tests.workloads import CONVNET

PASSED, FAILED, UNKNOWN = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN
SCHEMA = json.loads(files("polarchive.verification").joinpath("report.schema.json").read_text("utf-8"))


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def read_back(verdict: pol.Verdict) -> Any:
    return json.loads(json.dumps(report.as_json(verdict)), parse_constant=refuse)


def off(name: str, error: float, check: str = "replay") -> Finding:
    return Finding(check, FAILED, f"{name} is off by {error:.3g}", 3, 17, name, error, 0.1)


def judged(*found: Finding) -> Judged:
    errors = {finding.tensor or "all": finding.error or 0.0 for finding in found}
    return Judged(3, 15, 5, found, errors, allowed=dict.fromkeys(errors, 0.1))


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
    segment = {"steps": 5, "in_a_row": 1, "residual": "nan", "errors": {"model/w": 0.01}, "allowed": {}}
    assert told["segments"] == [
        segment | {"index": 0, "start": 0, "accepted": True},
        segment | {"index": 1, "start": 5, "accepted": False},
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


def test_text_says_who_signed(verdicts: Verdicts) -> None:
    text = lines(signed(verdicts((PASSED,), ())))
    assert f"run       {'07' * 16}, 3 heads signed by {PROVER.key}" in text


# The schema.


def signed(verdict: pol.Verdict) -> pol.Verdict:
    return replace(verdict, run=bytes([7]) * 16, signer=str(PROVER.key), heads=(1, 2, 3))


def closed(schema: Any) -> Any:
    """Return a schema that also refuses members which it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(each) for name, each in schema.items()}
    return {"additionalProperties": False} | inner if isinstance(inner.get("properties"), dict) else inner


def check(told: Any) -> None:
    Draft202012Validator(closed(SCHEMA)).validate(json.loads(json.dumps(told), parse_constant=refuse))


def rehearsed(verdict: pol.Verdict) -> pol.Verdict:
    sampled = replace(verdict, segments=9, odds=Odds(0.1, 0.6), unchecked=("initial",), assumes=("noise is small",))
    return replace(sampled, earlier=("another",), obtained={2: "shown by the prover"}, archive=None)


def spread(verdict: pol.Verdict) -> pol.Verdict:
    return replace(verdict, unexplained=Unexplained(math.nan, math.inf, 1.0, 0.0, 3), pairs=verdict.judged)


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("change", [lambda verdict: verdict, rehearsed, spread], ids=["plain", "rehearsed", "spread"])
def test_json_is_as_the_schema_says(
    outcome: Outcome, change: Callable[[pol.Verdict], pol.Verdict], verdicts: Verdicts
) -> None:
    check(report.as_json(change(signed(verdicts((outcome,), ((PASSED,), (outcome,)))))))


@pytest.mark.parametrize("error", [0.2, math.nan, math.inf])
def test_json_of_findings_is_as_the_schema_says(error: float, verdicts: Verdicts) -> None:
    check(report.as_json(replace(signed(verdicts((), ())), judged=(judged(off("model/w", error)),))))


def test_json_of_a_real_verdict_is_as_the_schema_says(honest: Path, tmp_path: Path) -> None:
    path = disputes.sealed(honest, tmp_path / "run.pol", disputes.GROWING)
    with pol.open(path, trusted=disputes.trust().keys) as archive:
        secret, trust = pol.read_secret(honest / "secret"), disputes.trust()
        verdict = pol.verify(
            archive, CONVNET.build, CONVNET.batches, secret=secret, trust=trust, policy=policies.strict()
        )
    told = report.as_json(verdict)
    check(told)
    assert (told["verdict"], told["signer"], told["heads"]) == ("accepted", str(PROVER.key), 5)
    assert told["run"] == archive.header.run.hex() and told["times"]["heads"]
    assert all(each["allowed"].keys() == each["errors"].keys() != set() for each in told["segments"])
    assert all(limit == 0.1 for each in told["segments"] for limit in each["allowed"].values())


@pytest.mark.parametrize("trust", [Trust((PROVER.key,)), disputes.trust()], ids=["keys", "authority"])
def test_json_of_a_seal_is_as_the_schema_says(trust: Trust, honest: Path, tmp_path: Path) -> None:
    path = disputes.sealed(honest, tmp_path / "run.pol", disputes.GROWING)
    with pol.open(path, trusted=trust.keys) as archive:
        told = sealed.as_json(archive, Seen.of(archive, trust))
    check(told)
    assert told["verdict"] is None and told["reasons"] == []


def test_seal_that_does_not_meet_demands_is_rejected(honest: Path) -> None:
    trust = replace(disputes.trust(), require=Require.END)
    with pol.open(honest, trusted=trust.keys) as archive:
        seen = Seen.of(archive, trust)
        told, text = sealed.as_json(archive, seen), "\n".join(sealed.text(archive, seen))
    check(told)
    assert told["verdict"] == "rejected" and [each["check"] for each in told["reasons"]] == ["demands"]
    assert "REJECTED: no stamp that counts" in text and "no verdict" not in text


def test_telling_of_a_seal_needs_no_torch() -> None:
    code = "import sys, polarchive.verification.sealed; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told.pop("signer"),
        lambda told: told.update(version="polarchive/v2/report"),
        lambda told: told.update(kind="seal"),
        lambda told: told.update(verdict=None),
        lambda told: told.update(more=1),
        lambda told: told["segments"][0].update(residual="none"),
        lambda told: told["findings"][0].update(outcome="fine"),
    ],
    ids=["no_signer", "version", "kind", "no_verdict", "more", "residual", "outcome"],
)
def test_the_schema_refuses_what_is_no_report(spoil: Callable[[Any], Any], verdicts: Verdicts) -> None:
    told = copy.deepcopy(report.as_json(signed(verdicts((PASSED,), ((PASSED,),)))))
    check(told)
    spoil(told)
    with pytest.raises(ValidationError):
        check(told)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
