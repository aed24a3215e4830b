"""Test the CIFAR-10 example: the model of the paper, repeatable augmentation, and the order of the data."""

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from polarchive.measures.kinship import kinship
from polarchive.measures.symmetry import Group, State, apply
from tests.measures.networks import disguise, state_of

ROOT = Path(__file__).parents[1]
SLICE = ROOT / "tests/data/cifar10_256.npz"
RECORDS = 1000


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """Load the example from its file, as a judge does."""
    spec = importlib.util.spec_from_file_location("cifar10_example", ROOT / "examples/cifar10.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def images() -> Tensor:
    with np.load(SLICE) as arrays:
        return torch.from_numpy(arrays["images"])


@pytest.fixture
def numbered_data(tmp_path: Path) -> Path:
    """Write a data set whose labels are spread evenly and whose images carry their own number."""
    numbers = np.arange(RECORDS)
    images = np.zeros((RECORDS, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers // 256, numbers % 256
    np.save(tmp_path / "train_images.npy", images)
    np.save(tmp_path / "train_labels.npy", (numbers % 10).astype(np.uint8))
    return tmp_path


def numbers_in(images: Tensor) -> Tensor:
    return images[:, 0, 0, 0].long() * 256 + images[:, 0, 0, 1]


def test_slice_is_genuine() -> None:
    with np.load(SLICE) as arrays:
        content = arrays["images"].tobytes() + arrays["labels"].tobytes()
        assert arrays["images"].shape == (256, 32, 32, 3)
        assert arrays["labels"][:5].tolist() == [6, 9, 9, 4, 1]
    assert hashlib.sha256(content).hexdigest() == "756825c4d58ac639d6ce58eae439db6429be790cd2da61efa4c4f65dd7d38387"


def test_resnet20_has_the_parameters_of_the_paper(example: ModuleType) -> None:
    assert sum(parameter.numel() for parameter in example.ResNet20().parameters()) == 269_722


def test_resnet20_gives_ten_finite_logits(example: ModuleType, images: Tensor) -> None:
    logits = example.ResNet20()(example.normalise(images[:4]))
    assert logits.shape == (4, 10)
    assert logits.isfinite().all()


def test_normalised_images_are_centred(example: ModuleType, images: Tensor) -> None:
    pixels = example.normalise(images)
    assert pixels.shape == (256, 3, 32, 32)
    assert pixels.mean().abs() < 0.1
    assert (pixels.std() - 1).abs() < 0.1


def test_augmentation_repeats_under_a_seed(example: ModuleType, images: Tensor) -> None:
    torch.manual_seed(1)
    first, other = example.augment(images), example.augment(images)
    torch.manual_seed(1)
    again = example.augment(images)
    assert first.shape == images.shape and first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_augmentation_is_a_padded_crop_or_its_mirror(example: ModuleType, images: Tensor) -> None:
    torch.manual_seed(0)
    for image, result in zip(images[:16], example.augment(images[:16]), strict=True):
        padded = torch.nn.functional.pad(image, (0, 0, 4, 4, 4, 4))
        crops = padded.unfold(0, 32, 1).unfold(1, 32, 1).permute(0, 1, 3, 4, 2).reshape(81, 32, 32, 3)
        crops = torch.cat([crops, crops.flip(2)])
        assert (crops == result).all(dim=(1, 2, 3)).any()


def test_batches_of_an_epoch_are_a_permutation(example: ModuleType, numbered_data: Path) -> None:
    steps = [example.batches(step, numbered_data) for step in range(2 * RECORDS // 128 + 1)]
    visited = torch.cat([numbers_in(images) for images, _ in steps])
    first, second = visited[:RECORDS], visited[RECORDS : 2 * RECORDS]
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(RECORDS))
    assert not torch.equal(first, second)


def test_batches_keep_images_and_labels_together(example: ModuleType, numbered_data: Path) -> None:
    images, labels = example.batches(5, numbered_data)
    assert images.shape == (128, 32, 32, 3) and images.dtype == torch.uint8 and labels.dtype == torch.int64
    assert torch.equal(numbers_in(images) % 10, labels)


def test_missing_data_is_one_clear_line(example: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"run python tools/cifar10\.py$"):
        example.batches(0, tmp_path)


def test_a_step_of_training_lowers_the_loss(example: ModuleType, images: Tensor) -> None:
    torch.manual_seed(0)
    with np.load(SLICE) as arrays:
        batch = images[:32], torch.from_numpy(arrays["labels"][:32]).long()
    model, optimizer = example.prepare("cpu")
    losses = [example.update(model, optimizer, batch) for _ in range(10)]
    assert min(losses[5:]) < losses[0]


def resnet20(example: ModuleType, seed: int) -> nn.Module:
    """Make the model in float64, as if trained: nothing constant; without the epsilon by which scales change it."""
    torch.manual_seed(seed)
    model: nn.Module = example.ResNet20().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


def logits(model: nn.Module, state: State, images: Tensor) -> Tensor:
    model.load_state_dict({name.removeprefix("model/"): tensor for name, tensor in state.items()})
    with torch.no_grad():
        result: Tensor = model(images)
    return result


def test_symmetries_do_not_change_what_the_model_computes(example: ModuleType, images: Tensor) -> None:
    model = resnet20(example, 0)
    state, pixels = state_of(model), example.normalise(images[:8]).double()
    hidden = disguise(state, example.symmetries(None), 1)
    changed = {name for name in state if not torch.equal(state[name], hidden[name])}
    assert {name for name in state if "num_batches" not in name} - changed == {"model/linear.bias"}
    torch.testing.assert_close(logits(model, hidden, pixels), logits(model, state, pixels), rtol=1e-10, atol=1e-10)


def test_a_stage_cannot_be_permuted_alone(example: ModuleType, images: Tensor) -> None:
    model = resnet20(example, 0)
    state, pixels = state_of(model), example.normalise(images[:2]).double()
    whole: Group = example.symmetries(None)[0]
    alone = Group(tuple(axis for axis in whole.axes if axis.at == tuple(range(16))))  # all that the first stage has
    moved = apply(state, [alone], [torch.arange(16).flip(0)])
    assert len(alone.axes) == 24
    assert not torch.allclose(logits(model, moved, pixels), logits(model, state, pixels), rtol=0.1)


def test_a_hidden_copy_is_found_and_an_independent_model_is_not(example: ModuleType) -> None:
    mine, other = state_of(resnet20(example, 0)), state_of(resnet20(example, 1))
    groups = example.symmetries(None)
    found = kinship(mine, disguise(mine, groups, 2), symmetries=groups)
    assert found.near(1e-12) and found.alike == 1 and kinship(mine, disguise(mine, groups, 2)).least > 0.5
    assert kinship(mine, disguise(other, groups, 2), symmetries=groups).least > 0.5
