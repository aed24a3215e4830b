"""Make the test vectors of SPEC.md: valid and hostile bytes, each with what a reader must say of them.

    python tools/vectors.py [--check]

Writes tests/vectors/NAME.vec for every function in tools/catalogue, or compares with what is there. A file is lines of
text (`name`, `kind`, `what`, `expect`, `spec`, then parameters), an empty line, and the raw bytes. To add a vector, add
a function to the catalogue and run this; large ones are made by the tests and never written.
"""

import sys
from pathlib import Path

import click

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tools.catalogue import PLANS, Plan, everything, vectors  # noqa: E402

FOLDER = ROOT / "tests" / "vectors"


def plans() -> list[Plan]:
    """Return what is planned, of large vectors too."""
    assert everything  # which loads every part of the catalogue
    return list(PLANS.values())


def files() -> dict[str, bytes]:
    """Return all committed vectors by the name of their file."""
    return {f"{vector.name}.vec": vector.encode() for vector in vectors()}


def differences(folder: Path) -> list[str]:
    """Name the files in `folder` that are not those that would be written."""
    wanted, found = files(), {path.name: path.read_bytes() for path in folder.glob("*")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def write(folder: Path) -> int:
    """Write all vectors into `folder`, remove what is not one, and return how many there are."""
    wanted = files()
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*"):
        if path.name not in wanted:
            path.unlink()
    for name, data in wanted.items():
        (folder / name).write_bytes(data)
    return len(wanted)


@click.command()
@click.option("--check", is_flag=True, help="Compare with the committed files and write nothing.")
def main(check: bool) -> None:
    """Write tests/vectors, or compare it with the catalogue."""
    if not check:
        click.echo(f"{write(FOLDER)} vectors in {FOLDER.relative_to(ROOT)}")
    elif found := differences(FOLDER):
        raise click.ClickException(f"{len(found)} files differ: {', '.join(found[:10])}")


if __name__ == "__main__":
    main()
