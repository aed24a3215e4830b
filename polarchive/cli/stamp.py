"""Have timestamp authorities stamp a run."""

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from polarchive.cli.exits import Exit, exit_code
from polarchive.format.archive import open_archive
from polarchive.format.stamp import Stamp

if TYPE_CHECKING:
    from polarchive.exchange.late import Added, New


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--tsa", "urls", multiple=True, required=True, help="The URL of a timestamp authority (RFC 3161).")
@click.option(
    "--tsa-root",
    "roots",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="PEM of roots; a stamp whose certificates lead to none of them is not kept.",
)
@click.option("--renew", is_flag=True, help="Renew the stamps that are there.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Leave the archive at PATH as it is."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    path: Path, urls: tuple[str, ...], roots: tuple[str, ...], renew: bool, output: Path | None, as_json: bool
) -> int:
    """Have the last head of the archive or run directory PATH stamped, and keep the stamp beside it.

    It proves that the run existed by now. A stamp loses its force when its authority's certificate ends; renew it
    before that, and it does not: --renew stamps every stamped head once more, together with the stamps that it has.
    """
    from polarchive.exchange import late
    from polarchive.exchange.stamps import StampClient

    if output is not None and path.is_dir():
        raise click.UsageError("a run directory keeps its stamps itself: -o is for archives")
    added = late.add(path, StampClient(urls, roots=roots), renew=renew, target=output)
    digest = _digest(output or path) if added.stamps else None
    for line in [json.dumps(_plain(added, digest))] if as_json else _lines(added, digest):
        click.echo(line)
    for error in added.failures:
        click.echo(f"polarc: {error}", err=True)
    return max(map(exit_code, added.failures), default=Exit.OK)


def _digest(path: Path) -> str | None:
    """Return the digest of an archive, which is another one now."""
    if path.is_dir():
        return None
    with open_archive(path, trusted=None) as archive:
        return archive.digest.hex() if archive.digest else None


def _lines(added: "Added", digest: str | None) -> list[str]:
    return [*map(_line, added.stamps), *([f"digest {digest}"] if digest else [])]


def _line(new: "New") -> str:
    accuracy = "give or take what it does not say" if new.stamp.accuracy is None else f"± {_seconds(new.stamp)} s"
    return f"{new.name}: {new.stamp.time:%FT%TZ} {accuracy}, policy {new.stamp.policy}, by {new.url}"


def _seconds(stamp: Stamp) -> str | None:
    return None if stamp.accuracy is None else f"{stamp.accuracy / timedelta(seconds=1):g}"


def _plain(added: "Added", digest: str | None) -> dict[str, Any]:
    stamps = [
        {
            "name": new.name,
            "head": new.size,
            "time": new.stamp.time.isoformat(),
            "accuracy": _seconds(new.stamp),
            "policy": new.stamp.policy,
            "authority": new.url,
        }
        for new in added.stamps
    ]
    return {"stamps": stamps, "failures": [str(error) for error in added.failures], "archive": digest}
