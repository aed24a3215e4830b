"""Draw what was measured, as SVG that is the same for the same numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from polarchive.verification.calibration import Calibration, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
_MARKS: Final = "os^Dvp*"
_STYLE: Final[dict[str, Any]] = {
    "svg.hashsalt": "polarchive",  # else ids are drawn at random
    "svg.fonttype": "none",  # text stays text
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
}


def noise(calibration: Calibration, path: str | Path) -> None:
    """Draw ε_repr against the step, a line for each source of noise, at a `path` that ends in .svg (or .png, .pdf)."""
    from matplotlib import rc_context  # takes a second to load, and only drawing needs it
    from matplotlib.figure import Figure

    with rc_context(_STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        axes = figure.add_subplot()
        for place, spread in enumerate(calibration.spreads):
            _line(axes, spread, calibration.d_ref.mean, place)
        axes.set_yscale("log")
        axes.set_xlabel("first step of the segment")
        axes.set_ylabel("ε_repr / d_ref")
        least = min(limits.steps for limits in calibration.limits)
        axes.set_title(f"Honest noise over {least} step{'s' * (least != 1)}, by its source", loc="left")
        figure.legend(loc="outside right upper", frameon=False)
        metadata = {"Date": None} if Path(path).suffix == ".svg" else None
        figure.savefig(path, metadata=metadata, dpi=150)


def _line(axes: "Axes", spread: Spread, d_ref: float, place: int) -> None:
    """Draw one source; what is exact everywhere has no place on a logarithmic axis, and is named alone."""
    points = [(step, gap / d_ref) for step, gap in zip(spread.steps, spread.gaps, strict=True) if gap]
    if not points:
        axes.plot([], [], linestyle="", label=f"{spread.name}: exact")
        return
    steps, gaps = zip(*points, strict=True)
    colour, mark = _COLOURS[place % len(_COLOURS)], _MARKS[place % len(_MARKS)]
    axes.plot(steps, gaps, label=spread.name, color=colour, marker=mark, markersize=3, linewidth=1)
