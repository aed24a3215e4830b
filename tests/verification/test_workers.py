"""Spread replays over workers: the verdict is the same, and a worker that is lost costs only another try."""

import copyreg
import itertools
import math
import os
import pickle
import random
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

import polarchive as pol
from polarchive.errors import FormatError, PolError, Reason
from polarchive.format import disk
from polarchive.verification import policies
from polarchive.verification.drift import Drift
from polarchive.verification.pool import Pool
from polarchive.verification.residual import Residual, Way
from polarchive.verification.shelf import Kept, Shelf
from polarchive.verification.site import Given, leave, sites, work
from polarchive.verification.tasks import Task, ordered
from polarchive.verification.verdict import Verdict
from polarchive.verification.verify import verify
from tests.simulator import PROVER
from tests.workloads import SHORT, Batch, threads

NONCE = bytes(31) + b"\1"
MARK = "POLARCHIVE_TEST_MARK"


def batches(step: int) -> Batch:
    return SHORT.batches(step)


def build_without_step(header: object, device: str) -> pol.TorchTrainer:
    """Build a trainer that learns nothing: whatever it replays comes out wrong."""
    trainer = SHORT.build(header, device)
    trainer.step = list  # type: ignore[method-assign, assignment]
    return trainer


@pytest.fixture(scope="module", params=["threads", pytest.param("processes", marks=pytest.mark.slow)])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Start two workers: as threads, which take turns, or as processes, which have to import torch."""
    with ThreadPoolExecutor(2) if request.param == "threads" else Pool(2) as workers:
        yield workers


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record a run of which only some states are stored."""
    with threads(1):
        return SHORT.record(tmp_path_factory.mktemp("workers") / "sparse", store=3)


def judged(folder: Path, executor: Executor | None, build: Any = SHORT.build, **options: Any) -> Verdict:
    secret = pol.read_secret(folder / "secret")
    with pol.open(folder, trusted=[PROVER.key]) as archive:
        return verify(archive, build, batches, **{"secret": secret, "nonce": NONCE, "executor": executor, **options})


# The same verdict.


@pytest.mark.parametrize(("run", "result"), [("noisy", "accepted"), ("steered", "rejected"), ("sparse", "accepted")])
def test_two_workers_come_to_the_same_verdict_as_none(
    run: str, result: str, pool: Executor, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(run)
    alone = judged(folder, None)
    assert alone.result == result
    assert repr(judged(folder, pool)) == repr(alone)


def test_batches_that_are_not_the_committed_ones_are_refused_alike(noisy: Path, pool: Executor) -> None:
    alone = judged(noisy, None, secret=bytes(32))
    assert alone.result == "rejected" and math.isnan(alone.judged[0].residual)
    assert repr(judged(noisy, pool, secret=bytes(32))) == repr(alone)


def test_workers_compute_as_their_sender_does(noisy: Path, pool: Executor) -> None:
    """On as many threads as the recording, every error is zero; and zeros need not travel."""
    with threads(2):
        verdict = judged(noisy, pool, policy=policies.exact())
    assert verdict.result == "accepted" and verdict.replayed_on["threads"] == "2"


def test_progress_is_told_to_the_end(noisy: Path, pool: Executor) -> None:
    told: list[tuple[int, int]] = []
    judged(noisy, pool, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 10) for done in range(11)]


def test_what_comes_in_any_order_is_heard_in_one() -> None:
    tasks = [Task(index) for index in range(20)]
    shuffled = random.Random(0).sample(tasks, len(tasks))
    assert list(ordered(tasks, iter(shuffled))) == tasks  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [0.0, 2.0**-40, 1 / 3, math.nan, math.inf, 1e300])
def test_residual_travels_without_loss(number: float) -> None:
    tensor = torch.tensor([number, -1.5, 0.0], dtype=torch.float64)
    there = pickle.loads(pickle.dumps(Residual({"model/w": tensor}, 0.1, 0.2, True)))
    assert there.tensors["model/w"].numpy().tobytes() == tensor.numpy().tobytes()
    assert (there.along, there.square, there.measured) == (0.1, 0.2, True)


def test_sum_is_the_same_wherever_residuals_come_from() -> None:
    torch.manual_seed(0)
    states = [{"model/w": torch.randn(100)} for _ in range(8)]
    way = Way(states[0], states[-1])
    near, far = Drift(way), Drift(way)
    for before, claimed in itertools.pairwise(states):
        near.add(before, claimed, states[0])
        far.take(pickle.loads(pickle.dumps(way.residual(before, claimed, states[0]))))
    assert near.found == far.found and near.found.length > 0


# What is kept.


@pytest.mark.parametrize("run", ["noisy", "steered", "sparse"])
def test_what_is_kept_is_not_replayed_again(run: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder, shelf = request.getfixturevalue(run), Shelf(tmp_path, b"code")
    alone = judged(folder, None)
    assert repr(judged(folder, None, shelf=shelf)) == repr(alone)
    assert repr(judged(folder, None, build_without_step, shelf=shelf)) == repr(alone)
    others = {"device": "cpu:0"}, {"shelf": Shelf(tmp_path, b"other code")}
    for options in others:
        assert judged(folder, None, build_without_step, **{"shelf": shelf, **options}).result != "accepted"


def test_interrupted_verification_loses_nothing(noisy: Path, tmp_path: Path, pool: Executor) -> None:
    shelf = Shelf(tmp_path, b"code")

    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judged(noisy, pool, shelf=shelf, progress=interrupt)
    assert len(list(tmp_path.glob("*/*.safetensors"))) >= 3
    assert repr(judged(noisy, pool, shelf=shelf)) == repr(judged(noisy, None))


def test_refusal_is_not_kept(noisy: Path, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, b"code")
    assert judged(noisy, None, secret=bytes(32), shelf=shelf).result == "rejected"
    assert judged(noisy, None, shelf=shelf).result == "accepted"


@pytest.mark.parametrize("content", [b"", b"{}", b"\x02\0\0\0\0\0\0\0{}"])
def test_damaged_file_is_named(content: bytes, noisy: Path, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, b"code")
    judged(noisy, None, shelf=shelf)
    (path,) = tmp_path.glob("*/3-1-0.safetensors")
    path.write_bytes(content)
    with pytest.raises(PolError, match=r"3-1-0\.safetensors: damaged"):
        judged(noisy, None, shelf=shelf)


def test_damaged_bits_are_seen_or_mean_nothing(noisy: Path, tmp_path: Path) -> None:
    judged(noisy, None, shelf=Shelf(tmp_path, b"code"))
    (path,) = tmp_path.glob("*/3-1-0.safetensors")
    whole, seen = path.read_bytes(), 0
    expected = repr(judged(noisy, None, shelf=Shelf(tmp_path, b"code")))
    for bit in random.Random(0).sample(range(8 * len(whole)), 40):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert repr(judged(noisy, None, shelf=Shelf(tmp_path, b"code"))) == expected
        except PolError as error:
            seen += "damaged" in str(error)
    assert seen >= 30


@pytest.mark.parametrize("other", ["3-1-2", "4-1-0", "2-2-0"])
def test_what_is_kept_of_one_replay_is_not_taken_for_another(other: str, noisy: Path, tmp_path: Path) -> None:
    judged(noisy, None, shelf=Shelf(tmp_path, b"code"))
    (path,) = tmp_path.glob("*/3-1-0.safetensors")
    shutil.copy(path, path.with_name(f"{other}.safetensors"))
    shelf = Shelf(tmp_path, b"code")
    with pytest.raises(PolError, match=rf"{other}\.safetensors: damaged"):
        list(Kept(lambda tasks: iter(()), path.parent, shelf.taken)([Task(*map(int, other.split("-")))]))


@pytest.mark.parametrize("place", ["kept", "kept/*"])
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777], ids=oct)
def test_folder_that_others_can_write_to_is_refused(mode: int, place: str, noisy: Path, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "kept", b"code")
    judged(noisy, None, shelf=shelf)
    (folder,) = tmp_path.glob(place)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(mode)
    with pytest.raises(PolError, match=rf"{folder}: others can write there.*chmod go-w {folder}"):
        judged(noisy, None, shelf=shelf)


def test_folder_of_somebody_else_is_refused(noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PolError, match=f"{tmp_path}: belongs to somebody else"):
        judged(noisy, None, shelf=Shelf(tmp_path, b"code"))


def test_two_verifications_may_share_a_folder(noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the one has written and not yet named, the other may write and name meanwhile."""
    rename = disk.rename

    def late(old: Path, new: Path) -> None:
        monkeypatch.setattr(disk, "rename", rename)
        judged(noisy, None, shelf=Shelf(tmp_path, b"code"))
        rename(old, new)

    monkeypatch.setattr(disk, "rename", late)
    assert repr(judged(noisy, None, shelf=Shelf(tmp_path, b"code"))) == repr(judged(noisy, None))
    assert {path.suffix for path in tmp_path.glob("*/*")} == {".safetensors"}


# Lost workers.


def build_dying_once(header: object, device: str) -> pol.TorchTrainer:
    """Build a trainer that kills its process in the middle of a segment, the first time that any does."""
    trainer = SHORT.build(header, device)
    step = trainer.step

    def dying(fed: Any) -> None:
        step(fed)
        try:
            Path(os.environ[MARK]).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    trainer.step = dying  # type: ignore[method-assign]
    return trainer


def build_dying_always(header: object, device: str) -> pol.TorchTrainer:
    trainer = SHORT.build(header, device)
    trainer.step = lambda fed: os._exit(1)  # type: ignore[method-assign]
    return trainer


@pytest.mark.slow
def test_worker_that_is_killed_costs_another_try(noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, str(tmp_path / "killed"))
    with Pool(2) as executor:
        verdict = judged(noisy, executor, build_dying_once)
    assert (tmp_path / "killed").exists(), "no worker died: this test shows nothing"
    assert repr(verdict) == repr(judged(noisy, None))


@pytest.mark.slow
def test_segment_that_kills_every_worker_ends_in_an_error(noisy: Path) -> None:
    with Pool(1, tries=2) as executor, pytest.raises(PolError, match="worker was lost"):
        judged(noisy, executor, build_dying_always)


class Cancelling(ThreadPoolExecutor):
    """Cancels what it is given, as a cluster does that loses its scheduler."""

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        future: Future[Any] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def test_executor_that_cancels_is_told_in_one_line(noisy: Path) -> None:
    with Cancelling(1) as executor, pytest.raises(PolError, match="executor cancelled what is left"):
        judged(noisy, executor)


@pytest.mark.slow
def test_executor_that_breaks_is_told_in_one_line(noisy: Path) -> None:
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as executor,
        pytest.raises(PolError, match="worker was lost, and its executor with it"),
    ):
        judged(noisy, executor, build_dying_always)


# Errors.


class Peculiar(Exception):
    """Cannot be pickled."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def build_raising(header: object, device: str) -> pol.TorchTrainer:
    if header is not None and os.environ.get(MARK) is None:
        return SHORT.build(header, device)
    raise Peculiar(1, 2)


def batches_raising(step: int) -> Any:
    raise KeyError(f"no batch {step}")


def test_error_of_the_judges_code_arrives_with_its_frames(noisy: Path, pool: Executor) -> None:
    with pytest.raises(KeyError, match="no batch") as caught, pol.open(noisy, trusted=None) as archive:
        verify(archive, SHORT.build, batches_raising, secret=bytes(32), executor=pool)
    frames = caught.value.frames  # type: ignore[attr-defined]
    assert frames[-1][0] == __name__ and Path(frames[-1][1]) == Path(__file__) and frames[-1][2] > 0


def test_error_that_cannot_travel_arrives_in_words(noisy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pol.open(noisy, trusted=None) as archive:
        (site,) = sites(archive, Given(build_raising, SHORT.batches, bytes(32), None), ["cpu"])
    for kind in (Peculiar, RuntimeError):  # which Dask, where a test before has imported it, makes fit to travel
        monkeypatch.delitem(copyreg.dispatch_table, kind, raising=False)
    monkeypatch.setenv(MARK, "")
    with pytest.raises(RuntimeError, match="Peculiar: 1 and 2") as caught:
        work(site, Task(0))
    assert pickle.loads(pickle.dumps(caught.value)).frames == caught.value.frames  # type: ignore[attr-defined]


def test_broken_archive_is_one_for_workers_too() -> None:
    error = FormatError(Reason.STATE, "run.pol", "odd")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.reason, again.place) == (FormatError, str(error), error.reason, error.place)


def test_function_that_cannot_be_sent_is_named(noisy: Path) -> None:
    with Pool(1) as workers, pytest.raises(PolError, match="another process can import"):
        judged(noisy, workers, lambda header, device: SHORT.build(header, "cpu"))


def test_worker_that_finds_another_archive_says_so(noisy: Path, steered: Path) -> None:
    with pol.open(noisy, trusted=None) as archive:
        (site,) = sites(archive, Given(SHORT.build, SHORT.batches, bytes(32), None), ["cpu"])
    with pytest.raises(PolError, match="another archive"):
        work(replace(site, path=str(steered)), Task(0))


def test_several_devices_need_workers(noisy: Path) -> None:
    with pytest.raises(PolError, match="several devices need workers"):
        judged(noisy, None, device="cpu,cpu")


def test_devices_take_turns(noisy: Path, pool: Executor) -> None:
    verdict = judged(noisy, pool, device="cpu,cpu:0")
    assert repr(verdict.findings) == repr(judged(noisy, None).findings)


# State that nobody declared.


BUILT: list[str] = []


def build_counted(header: object, device: str) -> pol.TorchTrainer:
    BUILT.append(device)
    return SHORT.build(header, device)


def test_no_worker_goes_on_from_one_segment_to_the_next_with_the_same_trainer(noisy: Path) -> None:
    secret = pol.read_secret(noisy / "secret")
    with pol.open(noisy, trusted=None) as archive:
        (site,) = sites(archive, Given(build_counted, SHORT.batches, secret, None), ["cpu"])
    counts = []
    for index in (2, 0, 1, 5):
        assert work(site, Task(index)).evidence.refused is None
        counts.append(len(BUILT))
    leave(site.name)
    assert counts == [1, 1, 2, 2]
