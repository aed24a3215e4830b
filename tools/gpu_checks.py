"""Check what judging rests on where there is a GPU: each check returns what it found, and raises if that is wrong."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import polarchive as pol
from polarchive.training import seeds
from polarchive.training.arrays import to_tensors
from polarchive.training.graphed import Graphed
from polarchive.verification.calibrate import calibrate
from polarchive.verification.case import Build
from polarchive.verification.numerics import Numerics, others, usual
from tools.gpu_scene import SEED, Scene, eager, graphed

ALONE = pol.Policy(in_a_row=0)


def honest(scene: Scene, build: Build = eager, **settings: Any) -> str:
    """An honest run replays bit for bit, or within the tolerance."""
    verdict = scene.judge(build, **settings)
    assert verdict.result == "accepted", "; ".join(str(each.message) for each in verdict.reasons)
    worst = max(error for each in verdict.judged for error in each.errors.values())
    return f"{len(verdict.judged)} segments {f'within {worst:.2g}' if worst else 'bit for bit'}"


def as_graphs(scene: Scene) -> str:
    """An honest run replays as graphs too."""
    made: list[Graphed] = []

    def build(header: object, device: str) -> Graphed:
        made.append(graphed(header, device))
        return made[-1]

    found = honest(scene, build)
    kept = sum(len(each._graphs) for each in made)
    assert kept or scene.device == "cpu", "nothing was captured"
    return f"{found}, {kept or 'no'} graphs kept at the end"


def together(scene: Scene) -> str:
    """Several workers on one device come to the same verdict."""
    most = max(scene.pools)
    return f"{honest(scene, executor=scene.pools[most])} by {most} workers"


def forged(scene: Scene) -> str:
    """A forged segment is found, and no other."""
    at = scene.size.segments // 2
    verdict = scene.judge(eager, scene.record("forged", at), policy=ALONE)
    found = {each.segment for each in verdict.reasons if each.check == "replay"}
    assert verdict.result == "rejected" and found == {at}, f"{verdict.result}, for segments {sorted(map(str, found))}"
    return f"rejected for segment {at}"


def numerics(scene: Scene) -> str:
    """Every way to compute otherwise is set, and set back."""
    before, ways = usual(scene.device), others(scene.device)
    for way in ways:
        with way.within():
            inside = usual(scene.device)
        for kind in way.kinds - {"float64"}:
            wanted, found = getattr(way, kind), getattr(inside, kind)
            assert found in (wanted, (wanted, wanted)), f"{way}: {kind} is {found}"
        assert usual(scene.device) == before, f"after {way} it is {usual(scene.device)}, and was {before}"
    return f"{len(ways)} ways; TF32 {'changes' if _tf32_matters(scene.device) else 'does not change'} a product"


def _tf32_matters(device: str) -> bool:
    one = torch.rand(256, 256, generator=torch.Generator().manual_seed(SEED)).to(device)
    with Numerics(tf32=True).within():
        coarse = one @ one
    with Numerics(tf32=False).within():
        return not torch.equal(coarse, one @ one)


def in_place(scene: Scene) -> str:
    """Loading states again and again moves no weight and takes no more memory."""
    trainer = scene.trainer()
    with scene.open() as archive:
        states = [
            {name: each.to(scene.device) for name, each in to_tensors(archive.state(at)).items()} for at in (1, 2)
        ]
    places = {name: tensor.data_ptr() for name, tensor in trainer.view().items()}
    taken = [_loaded(trainer, states[turn % 2], scene.device) for turn in range(8)]
    assert places.items() <= {name: tensor.data_ptr() for name, tensor in trainer.view().items()}.items()
    assert max(taken[2:]) == min(taken[2:]), f"bytes in use: {taken}"
    return f"{len(places)} tensors stay, {taken[-1] - taken[2]} bytes more after 8 loads"


def _loaded(trainer: pol.TorchTrainer, state: dict[str, Tensor], device: str) -> int:
    trainer.load(state)
    return torch.cuda.memory_allocated(device) if device.startswith("cuda") else 0


def calibrated(scene: Scene) -> str:
    """Noise can be measured with all that this device can vary."""
    kinds = () if scene.device.startswith("cuda") else ("deterministic",)
    with scene.open() as archive:
        found = calibrate(
            archive,
            eager,
            scene.batches,
            secret=scene.secret(),
            device=scene.device,
            kinds=kinds,
            sample=20,
            tau=scene.size.tau,
        )
    return f"{len(found.limits)} limits from {', '.join(each.name for each in found.spreads)}"


def drawn(scene: Scene) -> str:
    """A graph draws the numbers that the update draws."""
    ends = [_with_dropout(scene.device, kind) for kind in (False, True)]
    worst = max((one - other).abs().max().item() for one, other in zip(*ends, strict=True))
    assert worst < 1e-5, f"weights of a network with dropout come to differ by {worst:.2g}"
    return f"weights of a network with dropout {f'within {worst:.2g}' if worst else 'bit for bit'}"


def _with_dropout(device: str, graphs: bool) -> list[Tensor]:
    """Return the weights after six updates, each under its own seed, of which the last four are graphs."""
    torch.manual_seed(SEED)
    model = nn.Sequential(nn.Linear(32, 64), nn.Dropout(0.5), nn.Linear(64, 1)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def update(x: Tensor) -> None:
        optimizer.zero_grad()
        F.mse_loss(model(x), x[:, :1]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    trainer = Graphed(lambda batch: [batch.to(device)], update, model=model, optimizer=optimizer)
    for step in range(6):
        batch = torch.randn(16, 32)
        seeds.apply(seeds.derive(bytes(16), step))
        if graphs:
            trainer.step([batch])
        else:
            update(batch.to(device))
    return [tensor.detach().cpu() for tensor in model.parameters()]


Check = Callable[[Scene], str]
AS_IT_IS: tuple[Check, ...] = (honest, together, forged, numerics, in_place, calibrated)
AS_GRAPHS: tuple[Check, ...] = (as_graphs, drawn)


def tried(check: Check, scene: Scene) -> dict[str, Any]:
    """Return what a check found; whatever it raises is a failure, because there may be no second call."""
    row = {"check": check.__name__, "what": (check.__doc__ or "").strip()}
    try:
        return {**row, "passed": True, "found": check(scene)}
    except Exception as error:
        return {**row, "passed": False, "found": line(error)}


def line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
