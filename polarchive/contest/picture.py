"""Draw a contest: who let what pass, and at what cost."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from polarchive.contest.protocol import Protocol
from polarchive.contest.rows import Match, Row, Spoof

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = {"accepted": "#d55e00", "inconclusive": "#e69f00", "rejected": "#0072b2"}
_SIGNS: Final = {"accepted": "passes", "inconclusive": "open", "rejected": ""}
_STYLE: Final[dict[str, Any]] = {"svg.hashsalt": "polarchive", "svg.fonttype": "none", "font.size": 8}


def draw(matches: Mapping[str, Match], path: str | Path, protocol: Protocol = Protocol.COMMITTED) -> None:
    """Draw a field for each attack and policy under one protocol, and bars of costs, at a `path` of .svg or .png.

    The same contest gives the same bytes.
    """
    from matplotlib import rc_context  # takes a second to load, and only drawing needs it
    from matplotlib.figure import Figure

    names = list(matches)
    with rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(9.0, 0.8 + 0.24 * len(names)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
        _verdicts(left, [row for match in matches.values() for row in match.rows if row.protocol is protocol], names)
        _costs(right, {name: match.spoofs[0] for name, match in matches.items() if match.spoofs}, names)
        left.set_title(f"What passes, {protocol.value}", loc="left")
        metadata = {"Date": None} if Path(path).suffix == ".svg" else None
        figure.savefig(path, metadata=metadata, dpi=150)


def _verdicts(axes: "Axes", rows: list[Row], names: list[str]) -> None:
    policies = list(dict.fromkeys(row.policy for row in rows))
    for row in rows:
        place = policies.index(row.policy), names.index(row.attack)
        axes.barh(place[1], 0.94, left=place[0] - 0.47, height=0.86, color=_COLOURS[row.verdict])
        text = _SIGNS[row.verdict] or ", ".join(row.by[:2])
        axes.text(*place, text, ha="center", va="center", color="white", fontsize=6.5)
    axes.set_xticks(range(len(policies)), policies)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _costs(axes: "Axes", spoofs: Mapping[str, Spoof], names: list[str]) -> None:
    honest = spoofs["honest"].flops if "honest" in spoofs else 1
    for name, spoof in spoofs.items():
        axes.barh(names.index(name), max(spoof.flops / max(honest, 1), 1e-3), height=0.6, color="#777777")
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_title("operations / honest", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
