"""Settle whose a model is, where two archives claim it."""

import json
from contextlib import ExitStack
from pathlib import Path

import click

from polarchive.cli import trusting
from polarchive.cli.exits import Exit


@click.command()
@click.argument("first", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("second", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@trusting.options
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What polarc verify --report wrote about one of them; give it twice.",
)
@click.option("--symmetries", help="Your FILE.py:function that returns what permutations and scales leave unchanged.")
@click.option(
    "--d-ref", type=click.FloatRange(0, min_open=True), help="The distance of independent models of this kind."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    first: Path,
    second: Path,
    keys: tuple[str, ...],
    trustfile: Path | None,
    reports: tuple[Path, ...],
    symmetries: str | None,
    d_ref: float | None,
    as_json: bool,
) -> int:
    """Find between the archives FIRST and SECOND, whose owners both claim a model.

    Replay each with polarc verify --report FILE first, and give both files here. Exits with 0 if the finding is
    decided, with 4 if not.
    """
    from polarchive.cli import loading
    from polarchive.verification.dispute import report
    from polarchive.verification.dispute.claim import Claim, Report
    from polarchive.verification.dispute.decision import decide
    from polarchive.verification.dispute.facts import Facts

    trust = trusting.trusted(keys, trustfile)
    names = (first.name, second.name) if first.name != second.name else (str(first), str(second))
    known = [Report.read(path) for path in reports]
    with ExitStack() as stack:
        a, b = (Claim.of(name, path, trust, known) for name, path in zip(names, (first, second), strict=True))
        for claim in (a, b):
            if claim.archive is not None:
                stack.enter_context(claim.archive)
        used = {claim.report.archive for claim in (a, b) if claim.report}
        if stray := [path for path, each in zip(reports, known, strict=True) if each.archive not in used]:
            raise click.UsageError(f"{stray[0]}: a report on neither of these archives")
        facts = (
            Facts.of(a, b, loading.function(symmetries) if symmetries else None, d_ref)
            if a.archive and b.archive
            else None
        )
        decision = decide(a, b, facts)
        said = report.as_json(a, b, facts, decision) if as_json else report.text(a, b, facts, decision)
        click.echo(json.dumps(said) if as_json else "\n".join(said))
    return Exit.OK if decision.decided else Exit.INCONCLUSIVE
