"""Test when an update is captured and when a graph may stand for it, with a stand-in that keeps what a graph keeps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import polarchive as pol
from polarchive.training.graphed import Graphed, Side
from tests.workloads import CIFAR10, CONVNET, ConvNet, descend

EXACT = pol.Policy(threshold=pol.Fixed(0.0))


@dataclass
class Graph:
    """Take an update as it was captured: on the same tensors, with the settings of then."""

    update: Callable[..., object]
    inputs: tuple[Tensor, ...]
    trainer: Graphed
    replays: int = 0

    def __post_init__(self) -> None:
        self.settings, self.places = dict(self.group), self.found()

    @property
    def group(self) -> dict[str, Any]:
        return self.trainer._parts["optimizer"].param_groups[0]

    def found(self) -> set[int]:
        return {tensor.data_ptr() for tensor in self.trainer.view().values()}

    def replay(self, inputs: Sequence[Tensor]) -> None:
        assert self.found() == self.places, "a graph would have written to tensors of the past"
        now = dict(self.group)
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.group.update(self.settings)
        self.update(*self.inputs)
        self.group.update(now)
        self.replays += 1


@dataclass
class Beside:
    """Stand for the stream beside."""

    trainer: Graphed
    graphs: list[Graph] = field(default_factory=list)
    eager: int = 0

    def run(self, update: Callable[..., object], inputs: Sequence[Tensor]) -> None:
        update(*inputs)
        self.eager += 1

    def capture(self, update: Callable[..., object], inputs: Sequence[Tensor]) -> Graph:
        assert all(tensor.grad is None for tensor in self.trainer.view().values()), "not the graph's own gradients"
        self.graphs.append(Graph(update, tuple(tensor.clone() for tensor in inputs), self.trainer))
        return self.graphs[-1]


class OnCpu(Graphed):
    """Capture on the CPU, where there is nothing to capture with."""

    _of = "cpu"

    def _side(self, device: torch.device) -> Any:  # type: ignore[override]
        return Beside(self)

    @property
    def beside(self) -> Beside:
        return self._apart  # type: ignore[return-value]


def build_convnet(header: object, device: str, kind: type[Graphed] = Graphed) -> Graphed:
    """Build what CONVNET builds, its step parted in two."""
    model = ConvNet().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

    def update(images: Tensor, labels: Tensor) -> None:
        descend(optimizer, F.cross_entropy(model(images), labels))

    return kind(lambda batch: (CIFAR10.normalise(batch[0]), batch[1]), update, model=model, optimizer=optimizer)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return CONVNET.record(tmp_path_factory.mktemp("graphed") / "run")


def judged(run: Path, build: Callable[[Any, str], Graphed]) -> pol.Verdict:
    with pol.open(run, trusted=None) as archive:
        secret = pol.read_secret(run / "secret")
        return pol.verify(archive, build, CONVNET.batches, secret=secret, policy=EXACT)


def test_on_the_cpu_it_replays_bit_for_bit_as_the_plain_step(run: Path) -> None:
    verdict = judged(run, build_convnet)
    assert verdict.result == "accepted", verdict.reasons
    assert not any(error for each in verdict.judged for error in each.errors.values())


def test_a_verification_replays_graphs_that_loading_leaves_valid(run: Path) -> None:
    made: list[OnCpu] = []

    def build(header: object, device: str) -> Graphed:
        made.append(build_convnet(header, device, OnCpu))  # type: ignore[arg-type]
        return made[-1]

    verdict = judged(run, build)
    assert verdict.result == "accepted", verdict.reasons
    steps = sum(each.beside.eager + sum(graph.replays for graph in each.beside.graphs) for each in made)
    assert steps == 36 + 2 * 24  # each segment alone, and each two in a row
    graphs = [len(each.beside.graphs) for each in made]
    assert graphs == [3]  # captured anew only where the first state, which has no momenta, was loaded


class Line:
    """Train a line twice, as it is and graphed, from the same weights on the same inputs."""

    def __init__(self, lr: float | Tensor = 0.1) -> None:
        self.plain, self.graphed = nn.Linear(3, 1), nn.Linear(3, 1)
        self.graphed.load_state_dict(self.plain.state_dict())
        self.optimizers = [torch.optim.SGD(model.parameters(), lr=lr) for model in (self.plain, self.graphed)]
        self.trainer = OnCpu(
            lambda batch: [batch],
            lambda x: descend(self.optimizers[1], self.graphed(x).square().mean()),
            model=self.graphed,
            optimizer=self.optimizers[1],
        )

    def step(self, count: int = 1, size: int = 4) -> None:
        for _ in range(count):
            x = torch.randn(size, 3)
            descend(self.optimizers[0], self.plain(x).square().mean())
            self.trainer.step([x])

    @property
    def graphs(self) -> list[int]:
        """Return how often each graph was replayed."""
        return [graph.replays for graph in self.trainer.beside.graphs]


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    torch.backends.cudnn.benchmark = False


def the_same(line: Line) -> bool:
    return all(torch.equal(*both) for both in zip(line.plain.parameters(), line.graphed.parameters(), strict=True))


def test_two_steps_alike_are_taken_as_they_are_before_one_is_captured() -> None:
    line = Line()
    line.step(2)
    assert line.graphs == []
    line.step(5)
    assert line.graphs == [5] and the_same(line)


def test_other_shapes_are_taken_as_they_are_and_do_not_disturb() -> None:
    line = Line()
    for _ in range(2):
        line.step(4)
        line.step(size=2)
    assert line.graphs == [6] and the_same(line)


def test_a_setting_that_changes_is_not_that_of_a_graph() -> None:
    line = Line()
    for rate in (0.1, 0.05, 0.1):
        for optimizer in line.optimizers:
            optimizer.param_groups[0]["lr"] = rate
        line.step(4)
    assert line.graphs == [6, 2] and the_same(line)


def test_a_rate_that_is_a_tensor_may_change() -> None:
    line = Line(torch.tensor(0.1))
    for rate in (0.1, 0.05, 0.02, 0.01):
        line.optimizers[0].param_groups[0]["lr"].fill_(rate)
        line.optimizers[1].param_groups[0]["lr"].fill_(rate)
        line.step()
    assert line.graphs == [2] and the_same(line)


def test_other_numerics_are_not_those_of_a_graph() -> None:
    line = Line()
    line.step(4)
    torch.backends.cudnn.benchmark = True
    line.step(2)
    torch.backends.cudnn.benchmark = False
    line.step(1)
    assert line.graphs == [3] and line.trainer.beside.eager == 4


def test_only_so_many_graphs_are_kept() -> None:
    line = Line()
    for size in range(1, 7):
        line.step(3, size)
    assert len(line.graphs) == 6 and len(line.trainer._graphs) == 4 and the_same(line)


def test_state_that_is_not_all_on_the_device_is_never_captured() -> None:
    line = Line()
    line.trainer._device = torch.device(
        "cpu", 0
    )  # to torch another place than "cpu", where what Python counts lies too
    line.step(6)
    assert line.graphs == [] and the_same(line)


def test_an_update_of_several_batches_is_refused() -> None:
    with pytest.raises(pol.TrainerError, match="of one batch"):
        Line().trainer.step([torch.ones(1, 3), torch.ones(1, 3)])


def test_a_side_is_asked_for_on_an_accelerator_alone() -> None:
    assert Graphed._side is Side and build_convnet(None, "cpu")._apart is None
