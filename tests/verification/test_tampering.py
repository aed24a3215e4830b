"""Forge runs with the writer that honest provers use, and see each one refused by the check that is there for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import polarchive as pol
from polarchive.verification.checks.replay_error import ReplayError
from polarchive.verification.finding import Outcome
from tests.workloads import CONVNET, SEED, TRANSFORMER, Batch, Workload, build_convnet

State = dict[str, Tensor]
Hyper = dict[str, Any]
Change = Callable[[Any], Any]
EXACT = pol.Policy(threshold=pol.Fixed(0.0))
MOMENTUM = "optimizer/model/conv1.weight/momentum_buffer"
ADAM, SMALL = "optimizer/model/head.weight", "optimizer/model/layers.0.attention.q.weight"


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
    are imposed and recorded, `hyper` only recorded; `shown` is what he commits to, `fed` what he trains on.
    """

    check: str
    segments: tuple[int | None, ...] = (1,)
    step: int | None = None
    tensor: str | None = None
    outcome: Outcome = Outcome.FAILED
    policy: pol.Policy = field(default_factory=pol.Policy)
    of: Workload = CONVNET
    judge: Workload | None = None
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
            with self.of.writer(folder, liar, seed=self.seed) as log:
                for step in range(self.of.steps):
                    liar.prepare(step)
                    shown = self.shown(step, self.of.batches(step))
                    log.record(shown)
                    liar.step([self.fed(step, shown)])
                if not self.finished:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        return folder

    def verdict(self, folder: Path, policy: pol.Policy) -> pol.Verdict:
        """Judge the forged run, as the judge of an honest one would."""
        secret = self.secret(pol.read_secret(folder / "secret"))
        return (self.judge or self.of).judge(folder, policy=policy, secret=secret)


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


# What there is to lie with.


def scaled(name: str, factor: float) -> Change:
    return lambda state: {**state, name: state[name] * factor}


def more(name: str, amount: float) -> Change:
    return lambda state: {**state, name: state[name] + amount}


def without(name: str) -> Change:
    return lambda state: {key: value for key, value in state.items() if key != name}


def with_nan(name: str) -> Change:
    def change(state: State) -> State:
        state[name].view(-1)[0] = torch.nan
        return state

    return change


def with_settings(**settings: Any) -> Change:
    return lambda hyper: {**hyper, **{f"optimizer/0/{name}": value for name, value in settings.items()}}


def only(place: int, **settings: Any) -> Callable[[int, Hyper], Hyper]:
    """Use and record other settings at one step, and the usual ones at all others."""
    usual = with_settings(lr=0.05, momentum=0.9, weight_decay=1e-4)
    return lambda step, hyper: with_settings(**settings)(usual(hyper)) if step == place else usual(hyper)


def with_pixel(batch: Batch) -> Batch:
    images = batch[0].clone()
    images[3, 16, 16, 0] ^= 1
    return images, batch[1]


def with_label(batch: Batch) -> Batch:
    labels = batch[1].clone()
    labels[5] = (labels[5] + 1) % 10
    return batch[0], labels


def swapped_records(batch: Batch) -> Batch:
    order = torch.tensor([1, 0, *range(2, len(batch[1]))])
    return batch[0][order], batch[1][order]


def swapped_batches(step: int, batch: Batch) -> Batch:
    return CONVNET.batches({13: 14, 14: 13}.get(step, step))


def of_step(step: int) -> Change:
    return lambda batch: CONVNET.batches(step)


def stolen() -> State:
    """Return the model that the attackers would like to have trained."""
    torch.manual_seed(99)
    return build_convnet(None, "cpu").save()


def toward_stolen(index: int, state: State) -> State:
    """Walk from the fresh model to the stolen one in a straight line, in three states; all else stays honest."""
    start, goal = CONVNET.trainer().save(), stolen()
    return weights_of(state, {name: torch.lerp(start[name], goal[name], index / 3) for name in goal if goal[name].ndim})


def far_and_back(step: int, hyper: Hyper) -> Hyper:
    """Use a rate that throws the weights far out, then the largest decay to bring them back, then stand still."""
    decay = {step: {"lr": 1e-6, "weight_decay": 0.99e5} for step in range(12, 24)}
    rates = {0: {"lr": 3e3}, **decay}
    return with_settings(**{"lr": 0.0, "momentum": 0.0, "weight_decay": 0.0, **rates.get(step, {})})(hyper)


def weights_of(state: State, other: State) -> State:
    """Return the state with the weights of another."""
    return {name: other[name] if name.endswith(("weight", "bias")) else state[name] for name in state}


SCHEDULED = replace(CONVNET, build=partial(build_convnet, schedule=lambda step: build_convnet(None, "cpu").hyper()))

CATALOGUE = {
    # What the record says was fed, against what the judge sees fed.
    "one changed pixel": Forgery(check="openings", step=13, shown=at(13, with_pixel)),
    "one changed label": Forgery(check="openings", step=13, shown=at(13, with_label)),
    "two records in another order": Forgery(check="openings", step=13, shown=at(13, swapped_records)),
    "two batches in another order": Forgery(check="openings", step=13, shown=swapped_batches),
    "batch of another step": Forgery(check="openings", step=13, shown=at(13, of_step(20))),
    "wrong secret": Forgery(check="openings", segments=(0, 1, 2), step=24, secret=lambda secret: bytes(32)),
    # What the record says was fed, against what was.
    "fed another batch": Forgery(check="replay", tensor="model/conv1.weight", fed=at(23, of_step(20))),
    "fed a changed pixel": Forgery(check="replay", tensor="model/conv1.weight", fed=at(23, with_pixel), policy=EXACT),
    # Settings other than recorded.
    "false learning rate": Forgery(check="replay", tensor="model/conv1.weight", hyper=at(23, with_settings(lr=0.2))),
    "false momentum": Forgery(check="replay", tensor=MOMENTUM, hyper=at(23, with_settings(momentum=0.1))),
    "false nesterov": Forgery(
        check="replay", tensor="model/conv1.weight", hyper=during(1, with_settings(nesterov=True))
    ),
    "false weight decay": Forgery(
        check="replay", tensor=MOMENTUM, hyper=at(23, with_settings(weight_decay=0.0)), policy=EXACT
    ),
    # Settings as recorded, which no judge should take.
    "rate off the schedule": Forgery(check="schedule", step=13, settings=only(13, lr=0.2), judge=SCHEDULED),
    "negative rate": Forgery(check="schedule", step=13, settings=only(13, lr=-0.05)),
    "momentum of one": Forgery(check="schedule", step=13, settings=only(13, momentum=1.0)),
    "decay that erases": Forgery(check="schedule", step=13, settings=only(13, weight_decay=30.0)),
    # States that training did not make.
    "changed weight": Forgery(
        check="replay", tensor="model/conv1.weight", state=at(2, scaled("model/conv1.weight", 2))
    ),
    "one weight off by a bit": Forgery(
        check="replay", tensor="model/linear.bias", state=at(2, scaled("model/linear.bias", 1 + 2**-22)), policy=EXACT
    ),
    "changed running mean": Forgery(
        check="replay", tensor="model/bn1.running_mean", state=at(2, scaled("model/bn1.running_mean", 2))
    ),
    "changed momentum": Forgery(check="replay", tensor=MOMENTUM, state=at(2, scaled(MOMENTUM, 2))),
    "changed second moment": Forgery(
        check="replay", tensor=f"{ADAM}/exp_avg_sq", state=at(2, scaled(f"{ADAM}/exp_avg_sq", 0)), of=TRANSFORMER
    ),
    "Adam's counter off by one": Forgery(
        check="counters", tensor=f"{ADAM}/step", state=at(2, more(f"{ADAM}/step", 1)), of=TRANSFORMER
    ),
    "batch counter off by one": Forgery(
        check="counters",
        tensor="model/bn1.num_batches_tracked",
        state=at(2, more("model/bn1.num_batches_tracked", 1)),
    ),
    "missing momentum": Forgery(check="replay", tensor=MOMENTUM, state=at(2, without(MOMENTUM))),
    "extra tensor": Forgery(
        check="replay",
        segments=(2,),
        tensor="model/backdoor",
        state=at(3, lambda state: {**state, "model/backdoor": torch.ones(3)}),
    ),
    "reshaped tensor": Forgery(
        check="replay",
        segments=(2,),
        tensor="model/linear.bias",
        state=at(3, lambda state: {**state, "model/linear.bias": state["model/linear.bias"].view(2, 5)}),
    ),
    "NaN": Forgery(
        check="replay",
        segments=(2,),
        tensor="model/bn2.running_var",
        state=at(3, with_nan("model/bn2.running_var")),
    ),
    "infinitesimal updates": Forgery(
        check="replay",
        segments=(0, 1, 2),
        tensor="model/conv2.weight",
        settings=lambda step, hyper: with_settings(lr=1e-12)(hyper),
        state=toward_stolen,
    ),
    # What a tenth of an update would allow, if any update and any pool counted: large ones are any distance.
    "jump within the tolerance": Forgery(
        check="replay",
        tensor="model/conv1.weight",
        settings=far_and_back,
        state=lambda index, state: weights_of(state, stolen()) if index > 1 else state,
    ),
    "second moment far below those of its kind": Forgery(
        check="replay",
        tensor=f"{SMALL}/exp_avg_sq",
        state=at(2, scaled(f"{SMALL}/exp_avg_sq", 0)),
        of=TRANSFORMER,
    ),
    # Where it begins and ends.
    "stolen state 0": Forgery(
        check="initial", segments=(None,), tensor="model/conv1.weight", state=at(0, lambda state: stolen())
    ),
    "unexplained state 0": Forgery(check="initial", segments=(None,), outcome=Outcome.UNKNOWN, seed=None),
    "no end": Forgery(check="end", segments=(None,), outcome=Outcome.UNKNOWN, finished=False),
}


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Record a forgery of the catalogue once."""
    return cache(lambda name: CATALOGUE[name].record(tmp_path_factory.mktemp("forged") / "run"))


@pytest.mark.parametrize("name", CATALOGUE)
def test_forgery_is_refused_by_its_check(name: str, forged: Callable[[str], Path]) -> None:
    forgery = CATALOGUE[name]
    verdict = forgery.verdict(forged(name), forgery.policy)
    found = {(finding.check, finding.segment, finding.outcome) for finding in verdict.reasons}
    assert found == {(forgery.check, segment, forgery.outcome) for segment in forgery.segments}
    assert (forgery.step, forgery.tensor) in {(finding.step, finding.tensor) for finding in verdict.reasons}
    assert verdict.result == ("rejected" if forgery.outcome is Outcome.FAILED else "inconclusive")


@pytest.mark.parametrize("name", CATALOGUE)
def test_only_that_check_refuses_it(name: str, forged: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check carries weight: without it, nothing else is found against the forgery."""
    forgery = CATALOGUE[name]
    if forgery.check == "replay":
        monkeypatch.setattr(ReplayError, "__call__", lambda self, evidence: iter(()))
    verdict = forgery.verdict(forged(name), unasked(forgery.policy, forgery.check))
    assert verdict.reasons == ()
    # What was not opened was not replayed either, and without a replay nothing is accepted.
    assert verdict.result == ("inconclusive" if forgery.check == "openings" else "accepted")


def test_honest_run_is_accepted(tmp_path: Path) -> None:
    forgery = Forgery(check="none")
    verdict = forgery.verdict(forgery.record(tmp_path / "run"), EXACT)
    assert verdict.result == "accepted", verdict.reasons


def unasked(policy: pol.Policy, check: str) -> pol.Policy:
    """Return the policy without one of its checks."""

    def others(checks: tuple[Any, ...]) -> Iterator[Any]:
        return (each for each in checks if each.__name__ != check)

    return replace(
        policy,
        of_archive=tuple(others(policy.of_archive)),
        of_case=tuple(others(policy.of_case)),
        of_segment=tuple(others(policy.of_segment)),
    )
