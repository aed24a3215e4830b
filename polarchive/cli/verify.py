"""Check an archive's seal and, with a trainer, replay it."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from polarchive.cli import judging, loading, signing, streams, trusting, working
from polarchive.cli.exits import Exit
from polarchive.cli.judging import ledger_option
from polarchive.cli.targets import Target
from polarchive.cli.travelling import Named
from polarchive.format import disk
from polarchive.format.archive import Archive, open_archive
from polarchive.trust.demands import Seen
from polarchive.trust.keys import read_secret
from polarchive.trust.trust import Trust
from polarchive.verification import sealed

if TYPE_CHECKING:
    from polarchive.verification.policy import Policy

_MOST_THREADS = 256
_OF_SEAL = ("path", "keys", "trustfile", "as_json")


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@trusting.options
@click.option("--trainer", help="Your FILE.py:function that returns a trainer; without it the seal alone is checked.")
@click.option(
    "--batches",
    help="FILE.py:function that returns the batch of a step, a folder of them, an answer.polr, or https://HOST:PORT.",
)
@click.option("--as", "own", type=click.Path(exists=True, dir_okay=False), help="Your own signing key, for a server.")
@click.option("--resume", is_flag=True, help="Go on with a verification over a server that was broken off.")
@click.option("--patience", default=300.0, show_default=True, help="Seconds for which a server is tried.")
@judging.policy_options
@ledger_option
@click.option(
    "--secret", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The run's secret, if it is salted."
)
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads, of each worker; by default as recorded.")
@click.option(
    "--model", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A released model to tie in."
)
@working.options
@click.option("--segments", help="Replay only these, as START:STOP.")
@click.option("--exact", is_flag=True, help="As --policy exact: bit for bit, on a machine like the recording one.")
@click.option("--report", type=Target(), help="Also write the JSON object to a file.")
@click.option("--html", type=Target(), help="Also write a page to read.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(path: Path, as_json: bool, **options: Any) -> int:
    """Verify the archive or run directory PATH, which a key that you trust must have signed."""
    _require_sense(options)
    trust = trusting.trusted(options["keys"], options["trustfile"])
    with open_archive(path, trusted=trust.keys) as archive:
        if not options["trainer"]:
            return _seal(archive, trust, as_json)
        return _replay(archive, trust, as_json, **options)


def _require_sense(options: dict[str, Any]) -> None:
    """Refuse, before anything is read, options that would be ignored or cannot be followed."""
    if not options["trainer"] and (given := _of_replay()):
        raise click.UsageError(f"{', '.join(given)}: they tell of a replay, which needs --trainer")
    if options["trainer"] and not options["batches"]:
        raise click.UsageError("--trainer needs --batches, which shows the data of each step")
    if options["device"] != "cpu":
        devices = options["device"].split(",")
        loading.require_devices(devices[:1] if options["scheduler"] else devices)  # a cluster may have the others


def _of_replay() -> list[str]:
    """Return the options on the command line that mean nothing where the seal alone is checked."""
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    return [each.opts[0] for each in context.command.params if each.name in given.difference(_OF_SEAL)]


def _seal(archive: Archive, trust: Trust, as_json: bool) -> int:
    archive.seal()
    seen = Seen.of(archive, trust)
    click.echo(json.dumps(sealed.as_json(archive, seen)) if as_json else "\n".join(sealed.text(archive, seen)))
    return Exit.REJECTED if seen.unmet else Exit.OK


def _replay(archive: Archive, trust: Trust, as_json: bool, **options: Any) -> int:
    import torch

    from polarchive.verification import report
    from polarchive.verification.page.document import page
    from polarchive.verification.verify import verify

    share = working.share(options["workers"]) or torch.get_num_threads()
    torch.set_num_threads(options["threads"] or _recorded_threads(archive) or share)
    build = _function(options["trainer"], options)
    shelf = working.shelf(options["keep"], options["trainer"])
    with (
        streams.apart(),
        _data(archive, policy := _policy(archive, options), **options) as (data, notes),
        working.executor(options["workers"], options["scheduler"], bool(options["secret"])) as executor,
    ):
        verdict = verify(
            archive,
            build,
            policy=policy,
            trust=trust,
            device=options["device"],
            executor=executor,
            shelf=shelf,
            progress=_progress if sys.stderr.isatty() and not as_json else lambda done, total: None,
            **data,
        )
        notes(verdict.result)
    told = json.dumps(report.as_json(verdict))
    click.echo(told if as_json else "\n".join([*report.text(verdict), *working.taken(shelf)]))
    for target, said in ((options["report"], told), (options["html"], page(verdict) if options["html"] else "")):
        if target:
            with disk.replacing(target) as file:
                file.write(said.encode())
    return {"accepted": Exit.OK, "rejected": Exit.REJECTED, "inconclusive": Exit.INCONCLUSIVE}[verdict.result]


def _policy(archive: Archive, options: dict[str, Any]) -> "Policy":
    from polarchive.verification.checks.released import Released

    policy = judging.chosen(
        "exact" if options["exact"] else options["policy"], options["select"], options["calibration"]
    )
    if options["segments"]:
        policy = replace(policy, selection=loading.segments(options["segments"], archive))
    return replace(policy, of_case=(*policy.of_case, Released(options["model"]))) if options["model"] else policy


@contextmanager
def _data(archive: Archive, chosen: "Policy", **options: Any) -> Iterator[tuple[dict[str, Any], Callable[[str], None]]]:
    """Give what shows the batches: one's own function, a prover's answer, or its server; and who notes the verdict."""
    where, secret = options["batches"], options["secret"]
    remote, answer = where.startswith("https://"), where.endswith((".polr", ".polr.age"))
    if not remote and not answer:
        yield (
            {"batches": _shown(where, options), "secret": read_secret(secret) if secret else None},
            lambda result: None,
        )
        return
    if remote and not options["own"]:
        raise click.UsageError("a prover's server answers judges it knows: --as gives your own signing key")
    if remote and _travels(options):
        raise click.UsageError("workers need data at hand: polarc challenge asks the prover for a file")
    ledger, own = judging.opened(options["ledger"]), signing.signer(options["own"]) if options["own"] else None
    source = (
        judging.served(archive, where, chosen, ledger, own, options["resume"], options["patience"])
        if remote and own
        else judging.answered(archive, Path(where), chosen, ledger, own, _travels(options))
    )
    with source as (sent, states, nonce):
        told = {"batches": sent, "states": states, "nonce": nonce, "earlier": judging.earlier(archive, ledger)}
        yield told, lambda result: ledger.finished(archive.header.run, archive.heads[-1], result)


def _travels(options: dict[str, Any]) -> bool:
    return bool(options["workers"] or options["scheduler"])


def _function(reference: str, options: dict[str, Any]) -> Callable[..., Any]:
    """Return the judge's function of this name, in a form that travels if workers are to call it."""
    return Named.of(reference) if _travels(options) else loading.function(reference)


def _shown(where: str, options: dict[str, Any]) -> Callable[..., Any]:
    """Return what shows batches: the judge's function, or a folder in which they were kept."""
    if not Path(where).is_dir():
        return _function(where, options)
    from polarchive.training.kept import kept

    return partial(kept, Path(where).resolve())


def _recorded_threads(archive: Archive) -> int | None:
    """Return how many threads the run says it used: with as many, rounding falls the same way on a like machine."""
    stated = archive.header.stack.get("threads", "")
    return int(stated) if stated.isdecimal() and len(stated) < 4 and 0 < int(stated) <= _MOST_THREADS else None


def _progress(done: int, total: int) -> None:
    click.echo(f"\rreplaying segment {done} of {total}" + "\n" * (done == total), err=True, nl=False)
