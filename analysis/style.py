"""The style of all figures: colours, the look of axes, and files whose bytes depend on the numbers
alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, FAINT, PAPER, BEST = "#1a2233", "#667085", "#c3cad6", "#ffffff", "#d9480f"
"""Text, secondary text, grid lines, background, and what stands out."""
COLOURS = ("#667085", "#1c7ed6", BEST, "#2b8a3e", "#ae3ec9", "#e8a100", "#0b7285")
"""The colours of systems, in the order of their listing. Their lightness differs too, for readers
without red-green vision."""
DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))
ArtistOptions = dict[str, Any]
"""Keyword arguments of matplotlib's artists, whose types differ from artist to artist."""
STAR: ArtistOptions = {
    "marker": "*",
    "markersize": 12,
    "mfc": "#ffd43b",
    "mec": INK,
    "linestyle": "",
}
"""The paper's value, in every figure."""
_RC: dict[Any, Any] = {"svg.fonttype": "path", "font.family": "DejaVu Sans"}


def figure(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, wspace=0.04)
    return Figure(figsize=(width, height), dpi=160, facecolor=PAPER, layout=layout)


def title(axes: "Axes", text: str, subtitle: str) -> None:
    """Put a title at the left, and below it a subtitle: task, network, scale."""
    lines = subtitle.count("\n") + 1
    axes.set_title(text, loc="left", fontsize=14, fontweight="bold", color=INK, pad=16 + 13 * lines)
    axes.annotate(
        subtitle,
        (0, 1),
        (0, 9),
        "axes fraction",
        "offset points",
        fontsize=9,
        color=QUIET,
        va="bottom",
    )


def frame(axes: "Axes", x_label: str, y_label: str) -> None:
    """Named axes, faint grid lines, no box."""
    axes.set_xlabel(x_label, fontsize=11, color=INK, labelpad=7)
    axes.set_ylabel(y_label, fontsize=11, color=INK, labelpad=7)
    axes.ticklabel_format(useOffset=False)
    axes.tick_params(length=0, labelsize=10, labelcolor=INK)
    axes.grid(color=FAINT, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def legend(figure: "Figure", handles: Sequence[Any], columns: int) -> None:
    """Put the legend below the axes, where it hides no curve."""
    look: ArtistOptions = {
        "frameon": False,
        "fontsize": 9,
        "labelcolor": INK,
        "columnspacing": 2.0,
    }
    if handles:
        figure.legend(handles=list(handles), loc="outside lower left", ncols=columns, **look)


def save(draw: Callable[[], "Figure"], folder: Path, name: str) -> list[Path]:
    """Draw NAME.png and NAME.svg. Equal numbers give equal bytes: no date, no random ids, no style
    of the user's."""
    from matplotlib import rc_context

    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    with rc_context(_RC | {"svg.hashsalt": name}):
        figure = draw()
        figure.savefig(png, metadata={"Software": None})
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
    return [png, svg]
