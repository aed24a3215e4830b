"""Let attacks meet policies."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from polarchive.cli.exits import Exit
from polarchive.errors import PolError
from polarchive.format import disk

if TYPE_CHECKING:
    from polarchive.contest.arena import Arena
    from polarchive.contest.protocol import Protocol

_PROTOCOLS: Final = ("public", "at-challenge", "committed", "stamped")
_Named = TypeVar("_Named")


@click.command()
@click.option("--workload", required=True, help="Your FILE.py:function that returns the training to be stolen.")
@click.option("--attacks", help="Names, with commas between them; by default all.")
@click.option("--policies", help="Names or TOML files, with commas between them; by default all that have a name.")
@click.option("--protocols", default="public,at-challenge,committed", show_default=True, help="Of these, and stamped.")
@click.option("--delta", "fraction", default=0.008, show_default=True, help="The static threshold, of d_ref.")
@click.option("--top", default=5, show_default=True, type=click.IntRange(1), help="Q: largest updates of an epoch.")
@click.option("--drawn", default=20, show_default=True, type=click.IntRange(0), help="Segments of a challenge.")
@click.option("--seed", default=1, show_default=True, help="The adversary's.")
@click.option("--tsa", help="The URL of a timestamp authority, for the protocol that stamps.")
@click.option("--tsa-root", type=click.Path(exists=True, dir_okay=False), help="PEM of its root.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.")
@click.option("--table", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables as Markdown.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw who passes, as SVG or PNG.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="For all of it.")
def command(output: Path, table: Path | None, plot: Path | None, as_json: bool, **options: Any) -> int:
    """Have attacks forge proofs of a victim's model, and every policy judge what they made.

    A contest that was broken off goes on when it is called again.
    """
    from polarchive.attacks.catalogue import CATALOGUE
    from polarchive.contest import picture
    from polarchive.contest.contest import contest
    from polarchive.contest.judges import NAMES, judges
    from polarchive.contest.table import markdown

    arena = _arena(output, options)
    attacks = _chosen(options["attacks"], CATALOGUE, "attack")
    arena.prepare()
    policies = judges(arena, _names(options["policies"]) or NAMES)
    quiet = as_json or not sys.stderr.isatty()
    tell = _silence if quiet else _told
    matches = dict(contest(arena, attacks, policies, _protocols(options), tell))
    if table:
        with disk.replacing(table) as file:
            file.write("\n".join(markdown(matches)).encode())
    if plot:
        picture.draw(matches, plot)
    said = {name: match.as_json() for name, match in matches.items()}
    click.echo(json.dumps(said) if as_json else "\n".join(markdown(matches)))
    return Exit.OK


def _arena(folder: Path, options: Mapping[str, Any]) -> "Arena":
    import torch

    from polarchive.cli import loading
    from polarchive.contest.arena import Arena
    from polarchive.exchange.stamps import StampClient

    if options["threads"]:
        torch.set_num_threads(options["threads"])
    if bool(options["tsa"]) != bool(options["tsa_root"]):
        raise click.UsageError("--tsa and --tsa-root go together: a judge believes an authority by its root")
    settings = {name: options[name] for name in ("fraction", "top", "drawn", "seed")}
    authority = StampClient(options["tsa"], roots=options["tsa_root"]) if options["tsa"] else None
    return Arena(folder, loading.function(options["workload"])(), authority=authority, **settings)


def _protocols(options: Mapping[str, Any]) -> list["Protocol"]:
    from polarchive.contest.protocol import Protocol

    known = dict(zip(_PROTOCOLS, Protocol, strict=True))
    found = list(_chosen(options["protocols"], known, "protocol").values())
    if Protocol.STAMPED in found and not options["tsa"]:
        raise click.UsageError("the protocol stamped needs --tsa URL and --tsa-root PEM")
    return found


def _chosen(text: str | None, known: Mapping[str, _Named], what: str) -> dict[str, _Named]:
    """Return those of the known that a list names, all without a list."""
    names = _names(text) or list(known)
    if odd := next((name for name in names if name not in known), None):
        raise PolError(f"{odd}: no {what} has this name; known are {', '.join(known)}")
    return {name: known[name] for name in names}


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _silence(name: str) -> Callable[[int, int], None]:
    return lambda done, total: None


def _told(name: str) -> Callable[[int, int], None]:
    click.echo(f"\r\033[K{name}: forging", nl=False, err=True)
    return lambda done, total: click.echo(f"\r\033[K{name}: replayed {done} of {total}", nl=done == total, err=True)
