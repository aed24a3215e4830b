"""Read proofs in the layout of Zhang et al. (2022), ZhangRui98/Adversarial-examples-for-Proof-of-Learning.

A folder has `model_step_I` for every state, which torch.save wrote of {net}; `dataset.txt`, a line `PATH/N.png LABEL`
for each record in the order of use; and these images in `dataset`, where 8 bits round the noise that was added to them.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from polarchive.errors import PolError
from polarchive.importers import saved
from polarchive.importers.proof import ALWAYS, NO_OPTIMIZER, NO_SETTINGS, Batch, Indices, Settings, States, Stored

MARK: Final = "dataset.txt"
MAX_IMAGE: Final = 16 << 20  # bytes
MAX_PIXELS: Final = 1 << 22
_LINE: Final = re.compile(r"(?:[^ ]*/)?([0-9]{1,9}\.png) ([0-9]{1,9})")


class Zhang:
    """Hold a proof that brings its data as images, and keeps nothing of the optimizer.

    PolError if the images do not make equal batches for all steps.
    """

    layout: str = "Zhang et al. (2022)"
    indices: Indices | None = None

    def __init__(self, folder: Path) -> None:
        self.states = States.of(folder, "model_step_")
        self._folder = folder / "dataset"
        saved.refuse_link(self._folder)
        self._records = [_record(line, folder / MARK) for line in saved.lines(folder / MARK)]
        count, steps = len(self._records), self.states.steps
        if not count or count % steps:
            raise PolError(f"{folder / MARK}: {count} images cannot be shared out evenly to {steps} steps")
        self._batch = count // steps
        size = f"no size of a batch: {count} images for {steps} steps make it {self._batch}"
        rounded = "no data as they were made: 8 bits round what was added to the images"
        self.lacks: Sequence[str] = (*ALWAYS, NO_SETTINGS, NO_OPTIMIZER, size, rounded)

    def state(self, step: int) -> Stored:
        """Return the weights at a step."""
        stored = Stored.read(self.states.paths[step])
        return Stored(stored.path, stored.net)

    def settings(self, stored: Stored) -> Settings:
        """Return what tells no groups: no settings are recorded."""
        return lambda ahead: ()

    def batch(self, step: int) -> Batch:
        """Return the images of a step, float32 in [0, 1] of shape (batch, 3, height, width), and labels, int64."""
        records = self._records[step * self._batch : (step + 1) * self._batch]
        images = [_image(self._folder / name) for name, _ in records]
        if len({image.shape for image in images}) > 1:
            raise PolError(f"{self._folder}: the images of step {step} differ in size")
        return torch.stack(images), torch.tensor([label for _, label in records])


def _record(line: str, path: Path) -> tuple[str, int]:
    found = _LINE.fullmatch(line.rstrip())
    if not found:
        raise PolError(f"{path}: a line that is not of the form PATH/N.png LABEL")
    return found[1], int(found[2])


def _image(path: Path) -> Tensor:
    """Return an image, float32 of shape (3, height, width), as torchvision's ToTensor does."""
    try:
        from PIL import Image
    except ImportError:
        raise PolError("the images of this proof are read with Pillow: pip install pillow") from None
    saved.require_file(path, MAX_IMAGE)
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels")
            pixels = np.array(image.convert("RGB"))
    except Exception as error:  # a foreign image fails in as many ways as it likes
        raise PolError(f"{path}: not an image to read: {saved.told(error)}") from None
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float().div(255)
