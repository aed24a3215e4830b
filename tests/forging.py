"""Record with the writer that honest provers use, and lie to it: the means of forgeries."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from torch import Tensor

import polarchive as pol
from polarchive.verification.finding import Outcome
from tests.workloads import CONVNET, IMAGES, LABELS, SEED, Batch, Workload

State: TypeAlias = dict[str, Tensor]
Hyper: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Any], Any]
STRICT: Final = pol.Policy()
ALONE: Final = replace(STRICT, of_whole=(), in_a_row=0)  # so that a lie in one segment meets its own check only
RECORDS: Final = 48  # of a dataset, so that six batches are an epoch


def honest(place: int, truth: Any) -> Any:
    """Tell the truth everywhere."""
    return truth


def at(place: int, change: Change) -> Callable[[int, Any], Any]:
    """Lie in one place only: at a step, or in the state of that number."""
    return lambda here, truth: change(truth) if here == place else truth


def during(segment: int, change: Change) -> Callable[[int, Any], Any]:
    """Lie at every step of one segment of twelve."""
    return lambda step, truth: change(truth) if step // 12 == segment else truth


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """Describe where an attacker departs from honest training, and what the judge must say of it.

    The attacker trains on from every state he claims, so that no later segment gives an earlier lie away. `settings`
    are imposed and recorded, `hyper` only recorded; `shown` is what he commits to, `fed` what he trains on. `prepare`
    is done before the first record, with the folder of all runs and the writer. `policy` may need that folder.

    `check` is whose findings refuse it ("pairs" are findings on segments in a row); `asked` is the check's own name in
    the policy, where that is another.
    """

    check: str
    asked: str | None = None
    segments: tuple[int | None, ...] = (1,)
    step: int | None = None
    tensor: str | None = None
    outcome: Outcome = Outcome.FAILED
    policy: pol.Policy | Callable[[Path], pol.Policy] = ALONE
    of: Workload = CONVNET
    judge: Workload | None = None
    prepare: Callable[[Path, pol.Writer], None] = lambda folder, log: None
    state: Callable[[int, State], State] = honest
    hyper: Callable[[int, Hyper], Hyper] = honest
    settings: Callable[[int, Hyper], Hyper] = honest
    shown: Callable[[int, Batch], Batch] = honest
    fed: Callable[[int, Batch], Batch] = honest
    seed: int | None = SEED
    finished: bool = True
    secret: Callable[[bytes], bytes] = lambda secret: secret

    def record(self, folder: Path) -> Path:
        """Record the forged run."""
        liar = Liar(self, self.of.trainer())
        try:
            with self.writer(folder, liar) as log:
                self.prepare(folder.parent, log)
                for step in range(self.of.steps):
                    liar.prepare(step)
                    liar.step([self.fed(step, self.commit(log, step))])
                if not self.finished:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        return folder

    def writer(self, folder: Path, liar: "Liar") -> pol.Writer:
        return self.of.writer(folder, liar, seed=self.seed)

    def commit(self, log: pol.Writer, step: int) -> Batch:
        """Record the batch of a step, and return it."""
        shown = self.shown(step, self.of.batches(step))
        log.record(shown)
        return shown

    def asks(self, folder: Path) -> pol.Policy:
        """Return the policy that refuses the run in `folder`."""
        return self.policy if isinstance(self.policy, pol.Policy) else self.policy(folder.parent)

    def verdict(self, folder: Path, policy: pol.Policy) -> pol.Verdict:
        """Judge the forged run, as the judge of an honest one would."""
        secret = self.secret(pol.read_secret(folder / "secret"))
        return (self.judge or self.of).judge(folder, policy=policy, secret=secret)


@dataclass(frozen=True, kw_only=True)
class Indexed(Forgery):
    """Describe a forgery on a dataset that is committed once, whose `rows` the attacker chooses."""

    rows: Callable[[int], list[int]]

    def writer(self, folder: Path, liar: "Liar") -> pol.Writer:
        data = pol.commit_dataset((IMAGES[:RECORDS], LABELS[:RECORDS]), folder.parent / "data", workers=1)
        return self.of.writer(folder, liar, dataset=data)

    def commit(self, log: pol.Writer, step: int) -> Batch:
        log.record(rows=self.rows(step))
        return by_rows(step, self.rows(step))


class Liar:
    """Poses as a trainer before the writer, and lies about the honest one it holds."""

    def __init__(self, forgery: Forgery, trainer: pol.TorchTrainer) -> None:
        self.forgery = forgery
        self.trainer = trainer
        self.now = 0
        self.saved = 0

    def prepare(self, step: int) -> None:
        """Set what the step will really use."""
        self.now = step
        self.trainer.impose(self.forgery.settings(step, dict(self.trainer.hyper())))

    def save(self) -> State:
        claimed = self.forgery.state(self.saved, self.trainer.save())
        self.saved += 1
        if self.saved <= self.forgery.of.steps // self.forgery.of.every:
            self.trainer.load(claimed)
        return claimed

    def load(self, state: State) -> None:
        raise NotImplementedError

    def hyper(self) -> pol.Hyper:
        return self.forgery.hyper(self.now, dict(self.trainer.hyper()))

    def impose(self, hyper: pol.Hyper) -> None:
        raise NotImplementedError

    def step(self, batches: list[Batch]) -> None:
        self.trainer.step(batches)


def by_rows(step: int, rows: Any) -> Batch:
    return IMAGES[rows], LABELS[rows]
