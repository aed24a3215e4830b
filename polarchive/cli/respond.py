"""Answer a judge's challenge with a file."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from polarchive.cli import proving, signing, streams
from polarchive.cli.targets import Target
from polarchive.errors import PolError
from polarchive.exchange.sealed import SUFFIX, seal
from polarchive.format import answer, request
from polarchive.format.archive import open_archive
from polarchive.format.opening import spread
from polarchive.format.part import BatchPart, Part, StatePart
from polarchive.format.request import MAX_REQUEST, Request
from polarchive.format.tensors import Array
from polarchive.trust.keys import load_verifier

if TYPE_CHECKING:
    from polarchive.cli.proving import Prover


@click.command()
@click.argument("challenge", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=Target())
@click.option("--encrypt", is_flag=True, help="Encrypt it with age to the judge's key; -o then ends with .polr.age.")
@proving.options
def command(challenge: Path, run: Path, output: Path, encrypt: bool, **options: Any) -> None:
    """Answer the judge's file CHALLENGE about the archive or run directory RUN.

    The answer holds the batches of the challenged steps, in the clear unless --encrypt is given: it is for that judge
    only.
    """
    if encrypt != output.name.endswith(SUFFIX):
        raise click.UsageError(f"-o {output}: a name that ends with {SUFFIX} goes with --encrypt, and only with it")
    signer = signing.signer(options["own"])
    document = _read(challenge)
    asked = request.open_request(document)
    with open_archive(run, trusted=[signer.key]) as archive:
        if asked.head != archive.heads[-1]:
            raise PolError(f"{challenge}: not about this run and its last head")
        if asked.key not in [load_verifier(path) for path in options["judges"]]:
            raise PolError(f"{challenge}: signed by {asked.key}, which no --judge names")
        if asked.expires <= time.time():
            raise PolError(f"{challenge}: has expired")
        prover = proving.Prover.of(archive, options["batches"], options["secret"], options["trainer"])
        with streams.apart(), TemporaryDirectory(dir=output.parent) as folder:
            plain = Path(folder) / "answer.polr" if encrypt else output
            answer.write(plain, document, _parts(asked, prover), signer)
            if encrypt:
                seal(plain, output, asked.key)
    click.echo(f"{output}: {len(asked.segments)} segments for {asked.key.name}, {output.stat().st_size:,} bytes")


def _parts(asked: Request, prover: "Prover") -> Iterator[tuple[Part, Mapping[str, Array]]]:
    for index in asked.segments:
        segment = prover.archive.segments[index]
        for step in range(segment.first, segment.first + segment.steps):
            for micro, opening in enumerate(prover.openings(step)):
                yield BatchPart(step, micro), spread(opening)
    yield from ((StatePart(index), prover.state(index)) for index in asked.states)


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_REQUEST:
        raise PolError(f"{path}: more than {MAX_REQUEST} bytes")
    return path.read_bytes()
