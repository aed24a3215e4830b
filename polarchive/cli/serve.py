"""Answer judges' challenges over the network."""

import signal
from pathlib import Path
from threading import Event
from typing import Any

import click

from polarchive.cli import proving, signing, streams
from polarchive.errors import PolError
from polarchive.format.archive import open_archive
from polarchive.trust.keys import load_verifier


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8443, show_default=True, help="0 for any that is free.")
@click.option("--releases", type=click.Path(dir_okay=False, path_type=Path), help="By default RUN.releases.jsonl.")
@click.option(
    "--unstamped", is_flag=True, help="Serve though no stamp shows that the run existed before its challenge."
)
@proving.options
def command(run: Path, host: str, port: int, releases: Path | None, unstamped: bool, **options: Any) -> None:
    """Show the data of RUN to the judges named by --judge, for what their signed challenges draw, until interrupted.

    Both sides recognise each other by their keys; every release and refusal is on record before anything leaves.
    """
    from polarchive.exchange.desk import Desk
    from polarchive.exchange.releases import Releases
    from polarchive.exchange.server import Server

    signer, judges = signing.signer(options["own"]), [load_verifier(path) for path in options["judges"]]
    record = Releases(releases or run.with_name(run.name + ".releases.jsonl"))
    stop = Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stop.set())
    with open_archive(run, trusted=[signer.key]) as archive:
        if not unstamped and not archive.attached.over(archive.heads[-1].size):
            raise PolError(f"{run}: its last head has no stamp (polarc stamp adds one; --unstamped serves it as it is)")
        prover = proving.Prover.of(archive, options["batches"], options["secret"], options["trainer"])
        desk = Desk(archive, signer, prover.openings, prover.state, record, tell=_tell)
        with Server(host, port, desk, signer, judges) as server:
            click.echo(f"serving {run} at {server.url} for {', '.join(judge.name for judge in judges)}")
            with streams.apart():
                stop.wait()
    record.close()
    click.echo("stopped")


def _tell(fact: object) -> None:
    who = getattr(getattr(fact, "judge", None), "name", None) or getattr(fact, "address", "")
    what = getattr(fact, "reason", None) or getattr(fact, "part", None) or "a request"
    click.echo(f"{type(fact).__name__.lower()} {who}: {what}", err=True)
