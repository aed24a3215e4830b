"""Hold epochs to visit each record of a dataset once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import polarchive as pol
from polarchive.verification.checks.indices import Indices
from polarchive.verification.finding import Finding, Outcome
from tests.cases import ADVICE, FAILED, PASSED, UNKNOWN, outcomes
from tests.forging import RECORDS, Indexed, by_rows
from tests.simulator import PROVER
from tests.workloads import CONVNET


def visiting(rows: Callable[[int], list[int]], folder: Path) -> Path:
    forgery = Indexed(check="none", rows=rows, judge=replace(CONVNET, batches=by_rows), of=replace(CONVNET, steps=24))
    return forgery.record(folder / "run")


def shuffled(step: int, size: int = RECORDS) -> list[int]:
    """Visit the records in another order in every epoch, laid end to end."""
    generator = torch.Generator()
    both = [torch.randperm(size, generator=generator.manual_seed(8 * step // size + more)) for more in (0, 1)]
    start = 8 * step % size
    found: list[int] = torch.cat(both)[start : start + 8].tolist()
    return found


def judged(check: Indices, folder: Path) -> list[Finding]:
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        return list(check(archive))


@pytest.fixture(scope="module")
def epochs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return visiting(shuffled, tmp_path_factory.mktemp("epochs"))


def test_permutations_pass(epochs: Path) -> None:
    (finding,) = judged(Indices(RECORDS), epochs)
    assert finding.outcome is PASSED


def test_epochs_that_end_within_a_batch_pass(tmp_path: Path) -> None:
    """Of 45 records, batches of 8 that reach into the next epoch; what is left of the dataset is less than a batch."""
    folder = visiting(lambda step: shuffled(step, 45), tmp_path)
    assert outcomes(judged(Indices(45), folder)) == [PASSED]
    assert outcomes(judged(Indices(44), folder)) != [PASSED]


@pytest.mark.parametrize(("epoch", "outcome"), [(41, FAILED), (40, FAILED), (8, FAILED)])
def test_epoch_may_leave_out_less_than_a_batch(epoch: int, outcome: Outcome, epochs: Path) -> None:
    assert {each.outcome for each in judged(Indices(epoch), epochs)} == {outcome}
    assert ("leave out" in judged(Indices(epoch), epochs)[0].message) is (epoch <= 40)


@pytest.mark.parametrize(
    ("odd", "step"), [({7: 3}, 7), ({0: 0, 23: 0}, 0), ({13: 5, 14: 5, 20: 1}, 13)], ids=["one", "ends", "two_epochs"]
)
def test_record_that_comes_twice_is_found_in_each_epoch(odd: dict[int, int], step: int, tmp_path: Path) -> None:
    def rows(at: int) -> list[int]:
        own = [(8 * at + place) % RECORDS for place in range(8)]
        return [own[1], *own[1:]] if at in odd else own

    found = judged(Indices(RECORDS), visiting(rows, tmp_path))
    assert {each.outcome for each in found} == {FAILED}
    assert [each.step for each in found] == sorted({min(a for a in odd if a // 6 == e) for e in {a // 6 for a in odd}})
    assert found[0].step == step


def test_use_of_records_is_told_as_advice(tmp_path: Path) -> None:
    """Eight records are used at each of 24 steps, one of them twice."""
    (finding,) = judged(Indices(), visiting(lambda step: [5, 5, *range(6)], tmp_path))
    told = "192 uses of 48 records: record 5 is used 72 times, 42 never; they are drawn with replacement"
    assert (finding.outcome, finding.message) == (ADVICE, told)


@pytest.mark.parametrize(("batch", "epoch"), [(8, 48), (7, 42)], ids=["whole", "last batch dropped"])
def test_epochs_that_there_seem_to_be_are_told(batch: int, epoch: int, tmp_path: Path) -> None:
    def rows(step: int) -> list[int]:
        number, place = divmod(step * batch, epoch)
        order: list[int] = torch.randperm(RECORDS, generator=torch.Generator().manual_seed(number)).tolist()
        return order[place : place + batch]

    (finding,) = judged(Indices(), visiting(rows, tmp_path))
    assert finding.outcome is ADVICE and f"no epoch of {epoch} visits one twice" in finding.message
    assert "0 never" in finding.message


def test_what_is_fed_has_no_indices(honest: Path) -> None:
    (told,) = judged(Indices(), honest)
    (demanded,) = judged(Indices(48), honest)
    assert (told.outcome, demanded.outcome) == (ADVICE, UNKNOWN) and "not checked" in told.message
