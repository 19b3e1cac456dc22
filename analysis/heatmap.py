"""Draws a plane as a heatmap. Thin: every number is the plane's."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from analysis.plane import PAPER_BEST, PAPER_BPC, Cell, Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = "YlGnBu_r"
"""ColorBrewer's yellow-green-blue: ordered by lightness, so it reads the same without red-green vision and in grey."""
NAMES = {
    "regularizer.z_cells": r"$\bf{z_{cells}}$, probability of preserving a cell",
    "regularizer.z_states": r"$\bf{z_{states}}$, probability of preserving a state",
}
"""What axes are called for readers; others by their key."""
_LABEL: dict[str, Any] = {"boxstyle": "round,pad=0.35", "facecolor": "#f5f6f8", "edgecolor": "none"}
_INK, _QUIET, _FAINT, _PAPER, _BEST = "#1a2233", "#667085", "#c3cad6", "#ffffff", "#d9480f"
_STAR: dict[str, Any] = {"marker": "*", "markersize": 13, "mfc": "#ffd43b", "mec": _INK, "linestyle": ""}


class Caption(NamedTuple):
    """What a reader has to know to read the figure."""

    sweep: str
    task: str
    cell: str
    """A file name of `zoneout_core.cells`."""
    layers: int
    hidden: int
    """H"""
    epochs: int
    metric: str
    """What the numbers are, in words; lower is better."""

    @property
    def model(self) -> str:
        """`LSTM, H = 1000`, `2 x GRU, H = 100`"""
        layers = f"{self.layers} × " if self.layers > 1 else ""
        return f"{layers}{self.cell.upper().replace('_', '-')}, H = {self.hidden}"


def draw(plane: Plane, caption: Caption) -> "Figure":
    """The plane with a number in every cell; missing cells hatched, our best and the paper's best cell marked."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, PowerNorm
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows, columns = plane.mean.shape
    width = max(6.6, 3.3 + 0.95 * columns, 0.08 * len(_subtitle(plane, caption)))  # inches, as are all sizes
    size = width, max(4.0, 2.6 + 0.72 * rows)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=size, dpi=160, facecolor=_PAPER, layout=layout)
    axes = figure.add_subplot()
    colours = ListedColormap(colormaps[COLOURS](np.linspace(0.1, 1.0, 256)))  # from blue, not from black
    low, high = _limits(plane.mean)
    norm = PowerNorm(0.6, low, high)  # cells near the best differ least and matter most
    edges_x, edges_y = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    mesh = axes.pcolormesh(edges_x, edges_y, plane.mean, cmap=colours, norm=norm, edgecolors=_PAPER, linewidth=3)
    for cell in np.ndindex(rows, columns):
        _write(axes, plane, (cell[0], cell[1]), colours(norm(plane.mean[cell])))
    _label(axes, plane, caption)
    _mark(axes, plane)
    beyond = np.nanmax(plane.mean, initial=-np.inf) > high
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=28, extend="max" if beyond else "neither")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9, labelcolor=_QUIET)
    bar.set_label(f"{caption.metric} (lower is better)", color=_INK, fontsize=10, labelpad=10)
    return figure


def _limits(mean: "np.ndarray[Any, np.dtype[np.float64]]") -> tuple[float, float]:
    """The colour scale: all values but far outliers above, which would wash out all other differences."""
    values = mean[~np.isnan(mean)]
    if not values.size:
        return 0.0, 1.0
    low, middle, upper = np.quantile(values, (0.0, 0.5, 0.75))
    high = min(values.max(), upper + 4 * max(upper - low, middle - low))
    return float(low), float(max(high, low + 0.01 * min(1.0, abs(low)), low + 1e-9))


def _write(axes: "Axes", plane: Plane, cell: Cell, colour: tuple[float, ...]) -> None:
    """A cell's mean, how many trials it is of, and how many did not complete."""
    row, column = cell
    lost = [
        f"{counts[cell]} {word}"
        for counts, word in ((plane.pruned, "pruned"), (plane.failed, "failed"))
        if counts[cell]
    ]
    if not plane.complete[cell]:
        _hatch(axes, cell)
        axes.text(
            column, row, "\n".join(lost) or "no trial", ha="center", va="center", fontsize=8, color=_QUIET, bbox=_LABEL
        )
        return
    ink = _PAPER if np.dot(colour[:3], (0.2126, 0.7152, 0.0722)) < 0.6 else _INK
    lines = [f"n = {plane.complete[cell]}", ", ".join(lost)] if lost else [f"n = {plane.complete[cell]}"]
    axes.text(column, row + 0.1, _number(plane.mean[cell], 3), ha="center", va="center", fontsize=12, color=ink)
    axes.text(column, row - 0.12, "\n".join(lines), ha="center", va="top", fontsize=7, color=ink, alpha=0.8)


def _number(value: float, digits: int) -> str:
    """With so many decimals, or for a small value (an error rate, a cost) so many digits."""
    return f"{value:.{digits}f}" if abs(value) >= 0.1 else f"{value:.{digits}g}"


def _hatch(axes: "Axes", cell: Cell) -> None:
    from matplotlib.patches import Rectangle

    low = cell[1] - 0.46, cell[0] - 0.46
    axes.add_patch(Rectangle(low, 0.92, 0.92, facecolor="#f5f6f8", edgecolor=_FAINT, hatch="////", linewidth=0))


def _subtitle(plane: Plane, caption: Caption) -> str:
    lost = [
        f"{counts.sum()} {word}"
        for counts, word in ((plane.pruned, "pruned"), (plane.failed, "failed"))
        if counts.sum()
    ]
    count = ", ".join([f"{plane.complete.sum()} complete {'trial' if plane.complete.sum() == 1 else 'trials'}", *lost])
    epochs = "1 epoch" if caption.epochs == 1 else f"{caption.epochs} epochs"
    return f"{caption.task}  ·  {caption.model}  ·  {epochs}  ·  {count}"


def _label(axes: "Axes", plane: Plane, caption: Caption) -> None:
    """Title, axes and ticks. The axes say which way the probability counts: zoneout's is of PRESERVING."""
    axes.set_title(caption.sweep, loc="left", fontsize=17, fontweight="bold", color=_INK, pad=30)
    subtitle = axes.annotate(
        _subtitle(plane, caption), (0, 1), (0, 11), "axes fraction", "offset points", fontsize=10, color=_QUIET
    )
    subtitle.set_in_layout(False)  # it may reach over the colour bar; the figure is wide enough
    axes.set_xlabel(NAMES.get(plane.x_key, plane.x_key), fontsize=11, color=_INK, labelpad=9)
    axes.set_ylabel(NAMES.get(plane.y_key, plane.y_key), fontsize=11, color=_INK, labelpad=9)
    axes.set_xticks(range(len(plane.x)), [f"{value:g}" for value in plane.x])
    axes.set_yticks(range(len(plane.y)), [f"{value:g}" for value in plane.y])
    axes.tick_params(length=0, labelsize=11, labelcolor=_INK)
    axes.spines[:].set_visible(False)


def _mark(axes: "Axes", plane: Plane) -> None:
    """Frames our best cell, puts a star on the paper's, and says in a legend what that means."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    handles: list[Any] = []
    if plane.best is not None:
        row, column = plane.best
        frame = Rectangle(
            (column - 0.485, row - 0.485), 0.97, 0.97, fill=False, edgecolor=_BEST, linewidth=3.2, zorder=4
        )
        axes.add_patch(frame)
        text = f"best cell: {_number(plane.mean[plane.best], 4)} at ({plane.x[column]:g}, {plane.y[row]:g})"
        handles.append(Rectangle((0, 0), 1, 1, fill=False, edgecolor=_BEST, linewidth=2.4, label=text))
    if plane.paper is not None:
        row, column = plane.paper
        axes.plot(column + 0.36, row + 0.31, zorder=5, **_STAR)
        text = f"paper's best: {PAPER_BPC:g} at ({PAPER_BEST[0]:g}, {PAPER_BEST[1]:g}); Penn Treebank, H = 1000"
        handles.append(Line2D([], [], label=text, **_STAR))
    if handles:
        look: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": _INK, "columnspacing": 2.5}
        axes.figure.legend(handles=handles, loc="outside lower left", ncols=2, **look)
