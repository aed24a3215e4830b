"""Judge with what is not quite the run's: errors ask for what the judge may have got wrong."""

from pathlib import Path
from typing import Any

import pytest

import polarchive as pol
from polarchive.format.commitment import Opening
from polarchive.verification import showing
from polarchive.verification.showing import Sent
from tests.simulator import PROVER
from tests.workloads import CONVNET, Batch

ASKS = "is the secret this run's, and does `batches` return the batch of that step?"


def the_next(step: int) -> Batch:
    return CONVNET.batches(step + 1)


def without_labels(step: int) -> Batch:
    return CONVNET.batches(step)[:1]


@pytest.mark.parametrize(
    ("changes", "batches"),
    [({"secret": bytes(32)}, CONVNET.batches), ({}, the_next), ({}, without_labels)],
    ids=["another secret", "the next step", "no labels"],
)
def test_batches_of_the_judges_own_are_asked_about(changes: dict[str, Any], batches: Any, honest: Path) -> None:
    settings = {"secret": pol.read_secret(honest / "secret"), **changes}
    with pol.open(honest, trusted=[PROVER.key]) as archive:
        verdict = pol.verify(archive, CONVNET.build, batches, **settings)
    told = [finding.message for finding in verdict.reasons if "are not the ones committed" in finding.message]
    assert verdict.result == "rejected" and told and all(each.endswith(ASKS) for each in told), verdict.reasons


def test_batches_that_the_prover_sent_are_not(honest: Path) -> None:
    own = showing.Own(the_next, pol.read_secret(honest / "secret"))
    with pol.open(honest, trusted=[PROVER.key]) as archive:

        def opening(step: int, micro: int) -> Opening:
            rows = next(row for row in archive.steps(step // CONVNET.every) if row.step == step)
            return own.show(archive, rows, 1)[micro][1]

        verdict = pol.verify(archive, CONVNET.build, Sent(opening))
    assert verdict.result == "rejected" and not any(ASKS in finding.message for finding in verdict.reasons)


@pytest.mark.parametrize("secret", ["run/secret", "00" * 32, Path("secret")], ids=["a path", "hex", "a Path"])
def test_a_secret_that_is_not_bytes_is_refused(secret: Any, honest: Path) -> None:
    with (
        pol.open(honest, trusted=[PROVER.key]) as archive,
        pytest.raises(TypeError, match=r"is given as a \w+; give pol\.read_secret\(path\)$"),
    ):
        pol.verify(archive, CONVNET.build, CONVNET.batches, secret=secret)


def test_a_build_that_returns_no_trainer_is_named(honest: Path) -> None:
    secret = pol.read_secret(honest / "secret")
    with (
        pol.open(honest, trusted=[PROVER.key]) as archive,
        pytest.raises(TypeError, match="the judge's build returned is a NoneType, which is no trainer; wrap it: pol"),
    ):
        pol.verify(archive, lambda header, device: None, CONVNET.batches, secret=secret)  # type: ignore[arg-type,return-value]
