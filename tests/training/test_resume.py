"""Go on with a run that was broken off: the same log, from the last state that is durable."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import polarchive as pol
from polarchive.errors import RecordingError
from polarchive.verification.verdict import ACCEPTED
from tests.simulator import PROVER, STRANGER
from tests.training.test_writer import EXACT, Training


class Broken(Exception):
    """Stand for what ends a training early."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


def train(folder: Path, upto: int, broken: bool = True, **settings: Any) -> tuple[int, int]:
    """Record from where the run stands, as a script does that is started again; return where it began and durable."""
    training = Training()
    log = training.writer(folder, resume=True, **settings)
    first = log.step
    try:
        with log:
            for batch in training.batches[first:upto]:
                log.record(batch)
                training.body(batch)
            if broken:
                raise Broken
    except Broken:
        pass
    return first, log.durable


def judged(folder: Path) -> str:
    batches = Training().batches
    secret = pol.read_secret(folder / "secret")
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        return pol.verify(
            archive, lambda *_: Training().trainer, lambda step: batches[step], policy=EXACT, secret=secret
        ).result


@pytest.mark.parametrize("store", [1, 2, 3])
def test_a_resumed_run_is_one_log_that_replays(folder: Path, store: int) -> None:
    assert train(folder, 3, store=store) == (0, 2)
    assert train(folder, 7, store=store) == (2, 6)
    assert train(folder, 6, store=store) == (6, 6)
    assert train(folder, 9, broken=False, store=store) == (6, 9)
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        assert [segment.epoch for segment in archive.segments] == [0, 1, 1, 3, 3]
        assert archive.end is not None and archive.end.steps == 9
        assert [head.size for head in archive.heads] == list(range(1, 8))
    assert judged(folder) == ACCEPTED


def test_a_resumed_run_comes_to_what_an_unbroken_one_comes_to(folder: Path, tmp_path: Path) -> None:
    run = bytes(16)
    train(folder, 5, run=run)
    train(folder, 8, broken=False, run=run)
    train(tmp_path / "whole", 8, broken=False, run=run)
    with pol.open(folder, trusted=None) as resumed, pol.open(tmp_path / "whole", trusted=None) as whole:
        assert [resumed.root(index) for index in range(5)] == [whole.root(index) for index in range(5)]


def test_where_nothing_was_signed_yet_a_run_begins_anew(folder: Path) -> None:
    assert train(folder, 0) == (0, 0)
    secret = (folder / "secret").read_bytes()
    assert train(folder, 3, broken=False) == (0, 3)
    assert (folder / "secret").read_bytes() == secret
    assert judged(folder) == ACCEPTED


def test_a_broken_off_first_segment_leaves_state_0(folder: Path) -> None:
    assert train(folder, 1) == (0, 0)
    assert train(folder, 3, broken=False) == (0, 3)
    with pol.open(folder, trusted=None) as archive:
        assert [segment.epoch for segment in archive.segments] == [1, 1]
    assert judged(folder) == ACCEPTED


def test_no_salt_is_used_for_two_batches_of_one_step(folder: Path) -> None:
    """Steps 2 and 3 are recorded twice, each time with other salts, although nothing of the first time is left."""
    train(folder, 4)
    row = first_row(folder)
    (folder / "journal").write_bytes((folder / "journal").read_bytes()[:-60])
    train(folder, 4)
    assert first_row(folder)["batches"][0]["root"] != row["batches"][0]["root"]


def first_row(folder: Path) -> Any:
    from polarchive.format import journal

    return json.loads(journal.read(folder).rows[-1].splitlines()[0])


def test_the_trainer_holds_the_last_state_and_its_settings(folder: Path) -> None:
    training = Training()
    with pytest.raises(Broken), training.writer(folder) as log:
        for step, batch in enumerate(training.batches[:5]):
            training.optimizer.param_groups[0]["lr"] = 1 / (10 + step)
            log.record(batch)
            if step == 4:
                raise Broken
            training.body(batch)
            kept = training.trainer.save()
    other = Training()
    log = other.writer(folder, resume=True)
    assert (log.step, log.durable) == (4, 4)
    assert all(torch.equal(kept[name], tensor) for name, tensor in other.trainer.save().items())
    assert other.optimizer.param_groups[0]["lr"] == 1 / 13
    log.abandon()


def test_another_state_than_the_last_one_is_refused(folder: Path) -> None:
    train(folder, 4)
    training = Training()
    log = training.writer(folder, resume=True)
    with torch.no_grad():
        training.model[0].weight.add_(1)
    with pytest.raises(RecordingError, match="load no other checkpoint"):
        log.record(training.batches[2])
    log.abandon()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 3}, "another every"),
        ({"accumulate": 2}, "another accumulate"),
        ({"signer": STRANGER}, "another signer"),
        ({"salted": False}, "another dataset or salted"),
        ({"run": bytes(16)}, "another run"),
    ],
    ids=["every", "accumulate", "signer", "salted", "run"],
)
def test_a_run_is_resumed_as_it_was_begun(settings: dict[str, Any], message: str, folder: Path) -> None:
    train(folder, 4)
    with pytest.raises(RecordingError, match=message):
        train(folder, 6, **settings)
    assert train(folder, 6, broken=False)[0] == 2


def test_a_finished_run_is_not_resumed(folder: Path) -> None:
    train(folder, 4, broken=False)
    with pytest.raises(RecordingError, match="finished"):
        train(folder, 6)


def test_a_run_that_ended_on_its_boundary_can_be_ended(folder: Path) -> None:
    train(folder, 5)
    assert train(folder, 4, broken=False) == (4, 4)
    assert judged(folder) == ACCEPTED


def test_a_run_whose_last_state_is_not_stored_cannot_be_ended(folder: Path) -> None:
    train(folder, 7, store=2)
    with pytest.raises(RecordingError, match="record one more step"):
        train(folder, 6, broken=False, store=2)
    assert train(folder, 7, broken=False, store=2) == (6, 7)
    assert judged(folder) == ACCEPTED


def test_what_follows_the_last_head_is_cut_off(folder: Path) -> None:
    train(folder, 5)
    with (folder / "journal").open("ab") as file:
        file.write(b"\x00\x00\x00\x05E torn")
    with pytest.warns(UserWarning, match="from step 4; 10 bytes"):
        assert train(folder, 7, broken=False) == (4, 7)
    assert pol.open(folder, trusted=None).dropped == 0
    assert judged(folder) == ACCEPTED


def test_a_damaged_run_is_not_taken_for_none(folder: Path) -> None:
    train(folder, 5)
    data = bytearray((folder / "journal").read_bytes())
    data[3] ^= 1
    (folder / "journal").write_bytes(data)
    with pytest.raises(pol.FormatError):
        train(folder, 7)
    assert (folder / "journal").read_bytes() == data
