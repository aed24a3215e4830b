"""Calculate what a draw is worth, what the paper's lemmas say, and what spoofs cost; no archive is needed."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any, Final

import click

from polarchive.measures import theory
from polarchive.measures.costs import Setting
from polarchive.measures.costs import costs as costs_of
from polarchive.measures.odds import counted, detection, draws_for

_COUNT: Final = click.IntRange(min=1)
_SHARE: Final = click.FloatRange(0, 1)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def command() -> None:
    """Calculate odds, the bounds of Lemmas 4 and 5, and costs of spoofs, from numbers alone."""


@command.command()
@click.option("--segments", required=True, type=_COUNT, help="How many there are to draw from.")
@click.option("--draw", "drawn", required=True, type=click.IntRange(min=0), help="How many are drawn and replayed.")
@click.option("--bad", default=1, show_default=True, type=_COUNT, help="How many are bad, at least.")
@click.option("--fraction", default=0.1, show_default=True, type=_SHARE, help="Which share is bad, besides.")
@click.option("--reach", default=0.99, show_default=True, type=_SHARE, help="Say how many must be drawn for this.")
@_JSON
def draw(segments: int, drawn: int, bad: int, fraction: float, reach: float, as_json: bool) -> None:
    """Tell how likely a draw meets a bad segment. What a policy always takes is not drawn: leave it out."""
    met = {
        str(number): {"met": detection(segments, number, drawn), "draws": draws_for(segments, number, reach)}
        for number in (bad, counted(segments, fraction))
    }
    _print(
        {"segments": segments, "drawn": drawn, "reach": reach, "bad": met},
        f"{drawn} of {segments} segments drawn",
        *(
            f"{number} bad: met with probability {each['met']:.4g}; {each['draws']} draws reach {reach:g}"
            for number, each in met.items()
        ),
        as_json=as_json,
    )


@command.command()
@click.option("--mean", required=True, type=float, help="The mean cost of honest proofs.")
@click.option("--variance", required=True, type=float, help="The variance of honest costs.")
@click.option("--c", required=True, type=float, help="A spoof costs less than this share of the mean, on average.")
@click.option("--spoof-variance", required=True, type=float, help="The variance of what a spoof costs.")
@_JSON
def stability(mean: float, variance: float, c: float, spoof_variance: float, as_json: bool) -> None:
    """Bound how stable a c-cheap algorithm must be (Lemma 4)."""
    found = theory.stability(mean=mean, variance=variance, c=c, spoof_variance=spoof_variance)
    _print(
        asdict(found),
        f"what a c-cheap algorithm makes two times in three, honest training makes with probability {found.proved:.4g} "
        "at most",
        f"the paper prints {found.printed:.4g}, which its proof does not bear out",
        as_json=as_json,
    )


@command.command()
@click.option("--mean", required=True, type=float, help="The mean cost of honest proofs.")
@click.option("--variance", required=True, type=float, help="The variance of honest costs.")
@click.option("--c", required=True, type=float, help="The share of the mean that a cheap proof costs less than.")
@_JSON
def queries(mean: float, variance: float, c: float, as_json: bool) -> None:
    """Bound how many draws a cheap proof takes (Lemma 5)."""
    found = theory.queries(mean=mean, variance=variance, c=c)
    _print(
        asdict(found),
        f"to find a c-cheap proof with probability 2/3 takes {found.needed:.0f} draws or more",
        f"with probability 2/3, {found.issued:.0f} draws or more are made until one is found",
        f"the paper prints {found.printed:.4g}",
        as_json=as_json,
    )


@command.command()
@click.option("--k", required=True, type=_COUNT, help="Steps between recorded states.")
@click.option("--steps", required=True, type=_COUNT, help="Steps of the honest run.")
@click.option("--epoch", required=True, type=float, help="Steps of an epoch.")
@click.option("--spoofed", type=_COUNT, help="Steps of the spoof, if not those of the run.")
@click.option("--top", default=5, show_default=True, type=click.IntRange(min=0), help="Q: updates judged an epoch.")
@click.option("--iterations", default=10, show_default=True, type=click.IntRange(min=0), help="n: of optimised data.")
@_JSON
def costs(k: int, steps: int, epoch: float, spoofed: int | None, top: int, iterations: int, as_json: bool) -> None:
    """Count what training and spoofs cost (Appendix B), in forward passes."""
    setting = Setting(k=k, steps=steps, epoch=epoch, spoofed=spoofed or steps, q=top, n=iterations)
    found = costs_of(setting)
    _print(
        {name: asdict(cost) for name, cost in found.items()},
        f"{'':30}{'per update':>14}{'in all':>16}{'of training':>14}",
        *(f"{name:30}{each.update:>14,.4g}{each.total:>16,.0f}{each.ratio:>14.4g}" for name, each in found.items()),
        as_json=as_json,
    )


def _print(found: Mapping[str, Any], *lines: str, as_json: bool) -> None:
    click.echo(json.dumps(_plain(found), indent=2) if as_json else "\n".join(lines))


def _plain(value: Any) -> Any:
    """Return numbers as JSON can say them: NaN and infinities as words."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return str(value) if isinstance(value, float) and not isfinite(value) else value
