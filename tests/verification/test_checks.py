"""Hold checks to what they ask: of schemas, of what Adam can reach, of released models."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import polarchive as pol
from polarchive.errors import PolError
from polarchive.format.schema import Field, Schema
from polarchive.measures.reach import Betas
from polarchive.verification.checks.openings import openings
from polarchive.verification.checks.reachable import reachable
from polarchive.verification.checks.released import Released
from polarchive.verification.checks.schema import Demanded, schema
from polarchive.verification.evidence import Evidence
from polarchive.verification.finding import Finding
from tests.cases import FAILED, PASSED, UNKNOWN, case_of, outcomes
from tests.forging import Forgery
from tests.lies import IMAGES_ONLY
from tests.simulator import Simulation, changed
from tests.workloads import TRANSFORMER

# The schema.


def test_refusals_are_told_apart() -> None:
    for by, check in (("schema", schema), ("openings", openings)):
        evidence = Evidence(3, 9, 3, refused="no", refused_by=by, refused_at=10)
        (finding,) = check(evidence)
        assert (finding.outcome, finding.segment, finding.step, finding.check) == (FAILED, 3, 10, by)
        assert list({schema: openings, openings: schema}[check](evidence)) == []
    assert outcomes(schema(Evidence(3, 9, 3))) == [PASSED]


OWN = IMAGES_ONLY.schema.fields


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ((OWN[0],), "field 1 is not both"),
        ((*OWN, Field("2", "F32", "record", ())), "field 2 is not both"),
        ((replace(OWN[0], dtype="F32"), OWN[1]), "record F32"),
        ((replace(OWN[0], level="batch"), OWN[1]), "batch U8"),
        ((replace(OWN[0], shape=(32, None, 3)), OWN[1]), "(32, any, 3)"),
        ((replace(OWN[0], shape=(32, 32)), OWN[1]), "(32, 32)"),
        ((replace(OWN[0], low=None), OWN[1]), "[None, 255]"),
        ((replace(OWN[0], high=None), OWN[1]), "[0, None]"),
        ((OWN[0], replace(OWN[1], low=-1)), "[-1, 9]"),
        ((OWN[0], replace(OWN[1], high=10)), "[0, 10]"),
    ],
)
def test_schema_that_is_wider_than_the_judges_is_refused(fields: tuple[Field, ...], said: str, tmp_path: Path) -> None:
    found = demanded(fields, tmp_path)
    assert outcomes(found) == [FAILED] and said in found[0].message


@pytest.mark.parametrize(
    "fields", [OWN, (replace(OWN[0], low=1, high=254), OWN[1]), (OWN[0], replace(OWN[1], high=1))], ids=range(3)
)
def test_schema_that_is_the_judges_or_narrower_passes(fields: tuple[Field, ...], tmp_path: Path) -> None:
    assert outcomes(demanded(fields, tmp_path)) == [PASSED]


def test_judge_who_leaves_a_field_open_takes_any(tmp_path: Path) -> None:
    anything = Demanded(Schema((Field("0", "U8", "record", (None, None, None)), replace(OWN[1], low=None, high=None))))
    assert outcomes(demanded(OWN, tmp_path, anything)) == [PASSED]


def demanded(fields: tuple[Field, ...], folder: Path, check: Demanded = IMAGES_ONLY) -> list[Finding]:
    simulation = Simulation(header=changed(schema=Schema(fields)))
    with pol.open(simulation.record(folder / "run"), trusted=None) as archive:
        return list(check(archive))


# What Adam can reach.


def test_honest_adam_is_within_reach(tmp_path: Path) -> None:
    with pol.open(TRANSFORMER.record(tmp_path / "run"), trusted=None) as archive:
        (finding,) = reachable(archive)
    assert finding.outcome is PASSED


def test_reach_says_nothing_of_other_optimizers(honest: Path) -> None:
    with pol.open(honest, trusted=None) as archive:
        (finding,) = reachable(archive)
    assert finding.outcome is UNKNOWN


def test_one_weight_beyond_reach_is_found_among_all(tmp_path: Path) -> None:
    """Nine rates are more than twelve steps can do at the fifth of a rate each, whatever the gradients."""

    def nudged(index: int, state: dict[str, Tensor]) -> dict[str, Tensor]:
        if index == 2:
            state["model/head.bias"][7] += 2.1 * 12 * 1e-3 * Betas((0.9, 0.9), (0.999, 0.999)).bound
        return state

    forgery = Forgery(check="reachable", of=TRANSFORMER, state=nudged)
    with pol.open(forgery.record(tmp_path / "run"), trusted=None) as archive:
        (finding,) = reachable(archive)
    assert (finding.outcome, finding.segment, finding.tensor) == (FAILED, 1, "model/head.bias")
    assert finding.error is not None and 1 < finding.error < 3.2


# A released model.


def released(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], run: Path) -> list[Finding]:
    case = case_of(run)
    final = pol.to_tensors(case.archive.state(-1))
    model = {name.removeprefix("model/"): tensor for name, tensor in final.items() if name.startswith("model/")}
    save_file(change(model), folder / "model.safetensors")
    return list(Released(folder / "model.safetensors")(case))


def test_released_model_is_what_the_run_ended_in(honest: Path, tmp_path: Path) -> None:
    assert outcomes(released(tmp_path, lambda model: model, honest)) == [PASSED]
    some = released(tmp_path, lambda model: {"linear.bias": model["linear.bias"]}, honest)
    assert outcomes(some) == [PASSED], "a part of the model is the run's too"


@pytest.mark.parametrize(
    "change",
    [
        lambda model: {**model, "linear.bias": model["linear.bias"] * (1 + 2**-22)},
        lambda model: {**model, "linear.bias": model["linear.bias"].double()},
        lambda model: {**model, "linear.bias": model["linear.bias"].view(2, 5)},
        lambda model: {**model, "extra": torch.ones(1)},
    ],
    ids=["one bit", "another dtype", "another shape", "one more"],
)
def test_released_model_that_differs_is_refused(change: Any, honest: Path, tmp_path: Path) -> None:
    assert outcomes(released(tmp_path, change, honest)) == [FAILED]


def test_file_with_no_tensors_shows_nothing(honest: Path, tmp_path: Path) -> None:
    assert outcomes(released(tmp_path, lambda model: {}, honest)) == [UNKNOWN]


def test_what_is_no_safetensors_file_is_an_error_of_the_judge(honest: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(PolError):
        list(Released(tmp_path / "model.safetensors")(case_of(honest)))
