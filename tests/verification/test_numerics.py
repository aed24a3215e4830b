"""See that other numerics compute otherwise, the same thing, and for a while only."""

from dataclasses import astuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from polarchive.errors import PolError
from polarchive.verification.doubled import Doubled
from polarchive.verification.numerics import KINDS, Numerics, one_by_one, others
from tests.workloads import CONVNET, TRANSFORMER, Workload, threads

EVERYTHING = Numerics(threads=3, onednn=False, deterministic=True, benchmark=True, cudnn=False, tf32=True, float64=True)


def settings() -> tuple[object, ...]:
    return (
        torch.get_num_threads(),
        torch.backends.mkldnn.enabled,
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.enabled,
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    )


def test_settings_hold_inside_and_are_as_before_afterwards() -> None:
    before = settings()
    with EVERYTHING.within():
        assert settings() == (3, False, True, True, False, True, True)
    assert settings() == before


def test_settings_are_as_before_after_an_error() -> None:
    before = settings()
    with pytest.raises(ZeroDivisionError), EVERYTHING.within():
        raise ZeroDivisionError
    assert settings() == before


def test_nothing_given_changes_nothing() -> None:
    before = settings()
    with Numerics().within():
        assert settings() == before
    assert str(Numerics()) == "as usual" and Numerics().kinds == frozenset()


def test_names_say_what_is_changed() -> None:
    assert str(EVERYTHING) == "3 threads, without oneDNN, deterministic, benchmark, without cuDNN, TF32, float64"
    assert str(Numerics(threads=1, tf32=False)) == "1 thread, without TF32"
    assert EVERYTHING.kinds == set(KINDS)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_others_are_others(device: str) -> None:
    """What changes nothing on this machine is no noise, and a repeated way would count twice."""
    found = others(device)
    assert len(set(found)) == len(found) and len({str(each) for each in found}) == len(found)
    before = settings()
    for each in found:
        with each.within():
            assert each.float64 or settings() != before


def test_a_machine_of_few_cores_makes_enough_replays_for_the_usual_rate() -> None:
    with threads(1):
        assert len(others("cpu")) >= 19 and all(each.float64 is None for each in others("cpu")[:19])


def test_one_by_one_changes_one_kind_each() -> None:
    assert all(len(each.kinds) == 1 for each in one_by_one("cpu") + one_by_one("cuda"))
    assert {kind for each in one_by_one("cpu") for kind in each.kinds} == {
        "threads", "onednn", "deterministic", "float64",
    }  # fmt: skip
    assert one_by_one("cpu", ["onednn"]) == (Numerics(onednn=False),)


def test_what_cannot_be_varied_is_named() -> None:
    with pytest.raises(PolError, match="tf32 cannot be varied on cpu: deterministic, float64, onednn, threads can"):
        one_by_one("cpu", ["onednn", "tf32"])


def trained(workload: Workload, numerics: Numerics, steps: int = 3) -> dict[str, Tensor]:
    trainer = workload.trainer()
    with numerics.within():
        for step in range(steps):
            torch.manual_seed(step)
            trainer.step([workload.batches(step)])
    return trainer.save()


@pytest.mark.parametrize("workload", [CONVNET, TRANSFORMER], ids=["convnet", "transformer"])
@pytest.mark.parametrize("numerics", [Numerics(onednn=False), Numerics(float64=True)], ids=str)
def test_other_numerics_round_otherwise_and_take_the_same_step(workload: Workload, numerics: Numerics) -> None:
    usual, other = trained(workload, Numerics()), trained(workload, numerics)
    assert {name: each.dtype for name, each in usual.items()} == {name: each.dtype for name, each in other.items()}
    assert any(not torch.equal(usual[name], other[name]) for name in usual)
    for name in usual:
        assert torch.allclose(usual[name], other[name], rtol=1e-3, atol=1e-3), name


def test_doubled_rounds_once() -> None:
    x = torch.randn(1 << 14, generator=torch.Generator().manual_seed(0)) * 1e3
    with Doubled():
        found = (x * x).sum()
    assert found.dtype == torch.float32 and torch.equal(found, (x * x).double().sum().float())


def test_doubled_writes_in_place_and_leaves_views_alone() -> None:
    x = torch.ones(4)
    with Doubled():
        view = x[1:3]
        view += 0.5
        x.mul_(2)
    assert x.tolist() == [2.0, 3.0, 3.0, 2.0]
    norm = nn.BatchNorm1d(2)
    with Doubled():
        norm(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    assert norm.running_mean is not None and torch.allclose(norm.running_mean, torch.tensor([0.2, 0.4]))


def test_doubled_draws_what_is_drawn_without() -> None:
    def drawn() -> tuple[Tensor, ...]:
        torch.manual_seed(3)
        return torch.rand(5), F.dropout(torch.ones(100), 0.5), torch.randn(5), torch.get_rng_state()

    with Doubled():
        found = drawn()
    assert all(map(torch.equal, found, drawn()))


def test_doubled_leaves_other_types_alone() -> None:
    with Doubled():
        assert (torch.ones(2).double() / 3).dtype == torch.float64
        assert torch.ones(2).to(torch.bfloat16).add(1).dtype == torch.bfloat16
        assert torch.arange(3).add(1).tolist() == [1, 2, 3]


def test_numerics_are_data() -> None:
    assert astuple(Numerics(threads=2)) == (2, None, None, None, None, None, None)
