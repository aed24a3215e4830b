"""Be a real training that can be put into any state: what the writer records of it is what the adversary claims."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from polarchive.attacks.workload import Batch, Workload
from polarchive.training.trainer import State, TorchTrainer

MODEL: Final = "model/"


class Puppet(TorchTrainer):
    """Hold a model and its optimizer as an honest prover does, and let an adversary set what a record says of them.

    `step([batch])` trains honestly. `load(state)` puts all of a state in place, `claim` parts of it.
    """

    def __init__(self, workload: Workload) -> None:
        self.model: nn.Module = workload.model()
        self.optimizer: Optimizer = workload.optimizer(self.model.parameters())
        self._loss = workload.loss
        super().__init__(self._update, model=self.model, optimizer=self.optimizer)

    def claim(self, weights: Mapping[str, Tensor] | None = None, **hyper: float | bool) -> None:
        """Put tensors in place, by their names in a state, and settings in every parameter group; the rest stays."""
        if weights:
            self.load({**self.save(), **weights})
        for group in self.optimizer.param_groups:
            group.update(hyper)

    def settle(self, batch: Batch) -> None:
        """Have the optimizer keep what it keeps after a first step, all of it zero; weights and settings stay.

        A replay of the first segment ends in a state with momentum: one that claims none there gives itself away.
        """
        before = self.save()
        self.step([batch])
        after = self.save()
        kept = {name: torch.zeros_like(after[name]) for name in after.keys() - before.keys()}
        self.load({**before, **kept})

    @property
    def rate(self) -> float:
        """Return the learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def parameters(self) -> list[str]:
        """Return the names of all trainable parameters in a state."""
        return [MODEL + name for name, parameter in self.model.named_parameters() if parameter.requires_grad]

    def weights(self) -> State:
        """Return copies of parameters and buffers, by their names in a state."""
        return of_model(self.save())

    def loss(self, batch: Batch, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the loss on a batch at these weights, to be differentiated in either; the state stays as it is."""
        at = {**dict(self._tensors()), **(weights or {})}
        own = {name.removeprefix(MODEL): tensor for name, tensor in at.items() if name.startswith(MODEL)}
        buffers = {name: tensor.clone() for name, tensor in self.model.named_buffers()}
        copied = {name: own[name].clone() for name in buffers if name in own}  # batch norm writes into what it is given
        return self._loss(_At(self.model, {**own, **buffers, **copied}), batch)

    def gradient(
        self, batch: Batch, weights: Mapping[str, Tensor] | None = None, create_graph: bool = False
    ) -> dict[str, Tensor]:
        """Return the gradient of the loss by name of parameter, with `create_graph` one that can be differentiated."""
        at = {**dict(self._tensors()), **(weights or {})}
        leaves = {name: at[name].detach().requires_grad_() for name in self.parameters}
        found = torch.autograd.grad(
            self.loss(batch, {**at, **leaves}), list(leaves.values()), create_graph=create_graph
        )
        return dict(zip(leaves, found, strict=True))

    def _update(self, fed: object) -> None:
        for batch in fed:  # type: ignore[attr-defined]
            self.optimizer.zero_grad()
            self._loss(self.model, batch).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()


def of_model(state: State) -> State:
    """Return the parameters and buffers of a state, by their names in it."""
    return {name: tensor for name, tensor in state.items() if name.startswith(MODEL)}


class _At(nn.Module):
    """Passes for a module, at other parameters and buffers."""

    def __init__(self, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._call = [model]  # in a list, so that it is no child whose parameters would be listed
        self._tensors = dict(tensors)

    def forward(self, *inputs: Tensor) -> Tensor:
        result: Tensor = functional_call(self._call[0], self._tensors, inputs)
        return result
