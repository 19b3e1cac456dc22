"""Cells of a heatmap: a number on a colour, or a hatching and a word that say why there is no
number."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import caption as words
from analysis import style
from analysis.caption import STATES
from analysis.plane import Panel, PlaneCell
from analysis.points import Point
from zoneout_core.records import TrialState

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.patches import Rectangle

NOT_RUN, NO_POINT = "not run", "not in the space"
WHY = (*STATES, NOT_RUN, NO_POINT)
"""Why a cell has no number."""
_LOOKS: dict[str, style.ArtistOptions] = {
    TrialState.FAILED: {"facecolor": "#fbe3dc", "edgecolor": "#dd9c86", "hatch": "xxxx"},
    TrialState.PRUNED: {"facecolor": "#fbf1d9", "edgecolor": "#d9bd7a", "hatch": "\\\\\\\\"},
    TrialState.INTERRUPTED: {"facecolor": "#efe6f7", "edgecolor": "#bba3d3", "hatch": "----"},
    TrialState.RUNNING: {"facecolor": "#e3effa", "edgecolor": "#9dbfdf", "hatch": "..."},
    TrialState.WAITING: {"facecolor": "#f1f5f9", "edgecolor": "#b7c6d6", "hatch": ".."},
    NOT_RUN: {"facecolor": "#f5f6f8", "edgecolor": style.FAINT, "hatch": "////"},
    NO_POINT: {"facecolor": style.PAPER, "edgecolor": style.FAINT},
}
_LABEL: style.ArtistOptions = {
    "boxstyle": "round,pad=0.3",
    "facecolor": style.PAPER,
    "edgecolor": "none",
    "alpha": 0.85,
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What all panels share."""

    colours: "Colormap"
    norm: "Normalize"
    size: float
    """The font size of the numbers, in points."""
    seeds_differ: bool
    """Whether the cells are means over different numbers of seeds. Each then says its number."""
    tries_differ: bool
    """Whether the cells are the best of different numbers of combinations. Each then says its
    number."""


def why(panel: Panel, cell: PlaneCell) -> str | None:
    """Why the cell has no number: one of `WHY`; None where it has one."""
    if cell not in panel.cells:
        return NO_POINT
    point = panel.cells[cell]
    if point.values:
        return None
    return next((state for state in STATES if point.lost.get(state)), NOT_RUN)


def write(axes: "Axes", panel: Panel, cell: PlaneCell, look: Look) -> None:
    """Write a cell's mean and the small print below it, or hatch the cell and say why."""
    row, column = cell
    point = panel.cells.get(cell)
    reason = why(panel, cell)
    if point is None or reason is not None:
        axes.add_patch(patch(reason or NO_POINT, cell))
        if point is None:
            text = "–"
        else:
            text = "\n".join(_lost(point)) or NOT_RUN
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=0.66 * look.size,
            color=style.QUIET,
            bbox=_LABEL,
        )
        return
    red, green, blue, _ = look.colours(look.norm(point.mean))
    if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.6:
        ink = style.PAPER
    else:
        ink = style.INK
    small_print = _small_print(panel, cell, point, look)
    raised = 0.1 if small_print else 0.0
    axes.text(
        column,
        row + raised,
        words.number(point.mean, 3),
        ha="center",
        va="center",
        fontsize=look.size,
        color=ink,
    )
    axes.text(
        column,
        row - 0.12,
        "\n".join(small_print),
        ha="center",
        va="top",
        fontsize=0.58 * look.size,
        color=ink,
        alpha=0.85,
    )


def patch(reason: str, cell: PlaneCell = (0, 0)) -> "Rectangle":
    """The hatching of a cell without a number; its label is the reason."""
    from matplotlib.patches import Rectangle

    corner = cell[1] - 0.475, cell[0] - 0.475
    return Rectangle(corner, 0.95, 0.95, linewidth=0, label=reason, **_LOOKS[reason])


def _small_print(panel: Panel, cell: PlaneCell, point: Point, look: Look) -> list[str]:
    lines = []
    if look.tries_differ:
        lines.append(f"best of {panel.combinations[cell]}")
    if look.seeds_differ:
        lines.append(words.seeds(point))
    if lost := _lost(point):
        lines.append(", ".join(lost))
    return lines


def _lost(point: Point) -> list[str]:
    return [f"{point.lost[state]} {state}" for state in STATES if point.lost.get(state)]
