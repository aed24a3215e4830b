"""Tell what an archive or run directory says of itself."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from polarchive.format.inspect import Summary, inspect
from polarchive.format.marks import Mark
from polarchive.format.tensors import size_of

_FEW: Final = 3


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(path: Path, as_json: bool) -> None:
    """Tell what the archive or run directory at PATH says of itself. Nothing of it is verified."""
    summary = inspect(path)
    click.echo(json.dumps(_plain(summary), indent=2) if as_json else "\n".join(_lines(path, summary)))


def _lines(path: Path, summary: Summary) -> list[str]:
    header = summary.header
    state = f"{len(header.layout)} tensors, {size_of(header.layout):,} bytes"
    salted = "salted" if header.commitment.salted else "unsalted"
    lines = [
        f"{path}: not verified (polarc verify does that)",
        f"run      {header.run.hex()}, signed by {header.key}",
        f"steps    {summary.steps} in {summary.segments} segments of {header.every}, over {summary.records} records",
        f"end      {'finished' if summary.finished else 'none: the run is unfinished'}",
        f"heads    {summary.heads}, with {summary.stamps} stamps",
        *_failed(summary.failed),
        f"data     {header.commitment.mode}, {salted}: {', '.join(field.name for field in header.schema.fields)}",
        f"state    {state}; state 0 is {header.initial.kind}",
        f"stored   {summary.stored_states} states, {summary.raw_bytes:,} bytes; {summary.stored_bytes:,} in all",
        *(f"  {kind}: {raw:,} bytes, stored in {stored:,}" for kind, (raw, stored) in summary.kinds.items()),
        f"stack    {', '.join(f'{name} {value}' for name, value in header.stack.items())}",
    ]
    if summary.use is not None:
        use = summary.use
        lines.append(f"used     {use.distinct:,} of {use.records:,} records, the most used one {use.most} times")
    return [*lines, *([f"dropped  {summary.dropped} bytes after the last signed head"] if summary.dropped else [])]


def _failed(marks: Sequence[Mark]) -> list[str]:
    """Return what to say of stamps that did not come: how many, and the last few."""
    more = f"the last {_FEW} of {len(marks)} times" if len(marks) > _FEW else f"{len(marks)} times"
    head = [f"  {more} a stamp did not come:"] if marks else []
    return head + [
        f"  {datetime.fromtimestamp(each.time, UTC):%FT%TZ} head {each.size}: {each.message}" for each in marks[-_FEW:]
    ]


def _plain(summary: Summary) -> dict[str, Any]:
    header = summary.header
    counts = {name: value for name, value in asdict(summary).items() if name != "header"}
    return {
        "verified": False,
        **counts,
        "run": header.run.hex(),
        "key": str(header.key),
        "every": header.every,
        "mode": header.commitment.mode,
        "salted": header.commitment.salted,
        "initial": header.initial.kind,
        "stack": dict(header.stack),
    }
