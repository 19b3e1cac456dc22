"""Draws a plane as a heatmap: panels side by side, with one colour scale. All numbers come with the
plane; none is computed here."""

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analysis import caption as words
from analysis import cells, layout, style
from analysis.caption import Caption
from analysis.cells import Look
from analysis.plane import Panel, Plane, PlaneCell

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = "YlGnBu_r"
"""ColorBrewer's yellow-green-blue: ordered by lightness, so it reads the same without red-green
vision and in grey."""
POWER = 0.6
"""The exponent of the colour scale. Below 1 it spreads the cells near the best, which differ least
and matter most."""
NAMES = {
    "regularizer.zoneout.z_cells": r"$\bf{z_{cells}}$, probability of preserving a cell",
    "regularizer.zoneout.z_states": r"$\bf{z_{states}}$, probability of preserving a state",
}
"""The names of axes; others are named by their key."""
_EQUALS = "\u00a0=\u00a0"
"""An equals sign at which no line breaks."""


def draw(plane: Plane, caption: Caption) -> "Figure":
    """The figure: numbers in the cells that have one, hatching by reason in the others, and marks
    at our best cell and the paper's.

    All panels share one colour scale.
    """
    width = max(
        layout.width(plane),
        6.6,
        2 * layout.MARGIN + 1.2 * layout.CHARACTER * 17 * len(caption.sweep),
    )
    sentences = _wrapped(words.sentences(plane, caption), width - 2 * layout.MARGIN, 10)
    places, hatchings = _places(plane, width - 0.8), _hatchings(plane)
    legend_lines = sum(str(mark.get_label()).count("\n") + 1 for mark in places) + bool(hatchings)
    titles = [
        _wrapped([words.assignment(panel.held)], layout.cells_width(plane) + 0.2, 9.5)
        for panel in plane.panels
    ]
    head, foot = 0.6 + layout.LINE * len(sentences), 0.15 + 1.15 * layout.LINE * legend_lines
    geometry = layout.of(plane, width, head, foot, title_lines=max(map(len, titles)))
    figure = style.figure(geometry.width, geometry.height)
    figure.set_layout_engine("none")
    left, top = layout.MARGIN / geometry.width, 1 - layout.MARGIN / geometry.height
    figure.text(left, top, caption.sweep, va="top", fontsize=17, fontweight="bold", color=style.INK)
    look: style.ArtistOptions = {
        "va": "top",
        "fontsize": 10,
        "color": style.QUIET,
        "linespacing": 1.4,
    }
    figure.text(left, top - 0.38 / geometry.height, "\n".join(sentences), **look)
    _panels(figure, geometry, plane, caption, titles)
    look = {
        "frameon": False,
        "fontsize": 9,
        "labelcolor": style.INK,
        "columnspacing": 1.8,
        "borderaxespad": 0.3,
    }
    for handles, bottom, number in (
        (places, bool(hatchings), 1),
        (hatchings, False, len(cells.WHY)),
    ):
        if handles:
            corner = 0.05 / geometry.width, (0.05 + 1.15 * layout.LINE * bottom) / geometry.height
            figure.legend(
                handles=handles, loc="lower left", bbox_to_anchor=corner, ncols=number, **look
            )
    return figure


def _wrapped(lines: Iterable[str], width: float, size: float) -> list[str]:
    """The lines, wrapped so that none is wider than `width` inches at font size `size`, in points.

    A line breaks at a dot if it has one, else between words. `key = value` stays together.
    """
    most = max(20, int(width / (layout.CHARACTER * size)))
    rows: list[str] = []
    for line in lines:
        first, *parts = line.split(words.DOT)
        rows.append(first)
        for part in parts:
            if len(rows[-1] + words.DOT + part) <= most:
                rows[-1] += words.DOT + part
            else:
                rows.append(part)
    wrapped = [part for row in rows for part in textwrap.wrap(row.replace(" = ", _EQUALS), most)]
    return [part.replace(_EQUALS, " = ") for part in wrapped]


def _panels(
    figure: "Figure",
    geometry: layout.FigureLayout,
    plane: Plane,
    caption: Caption,
    titles: list[list[str]],
) -> None:
    """Draw all panels, the names of the axes, and the colour bar."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, PowerNorm

    means = np.stack([panel.mean(plane.axes) for panel in plane.panels])
    low, high = _limits(means)
    points = [point for panel in plane.panels for point in panel.cells.values() if point.values]
    look = Look(
        colours=ListedColormap(
            colormaps[COLOURS](np.linspace(0.1, 1.0, 256))
        ),  # from blue, not from black
        norm=PowerNorm(POWER, low, high),
        size=12.0 if len(plane.panels) == 1 else 9.5,
        seeds_differ=len(
            {len(point.values) for point in points} | {point.seeds for point in points}
        )
        > 1,
        tries_differ=len(
            {number for panel in plane.panels for number in panel.combinations.values()}
        )
        > 1,
    )
    for number, (panel, title) in enumerate(zip(plane.panels, titles, strict=True)):
        axes = figure.add_axes(geometry.box(*geometry.place(number), *geometry.panel))
        axes.set_title("\n".join(title), loc="left", fontsize=9.5, color=style.INK)
        _panel(axes, plane, panel, means[number], look)
        if plane.best is not None and plane.best[0] == number:
            _frame(axes, plane.best[1])
    _name_axes(figure, geometry, plane)
    beyond = np.nanmax(means, initial=-np.inf) > high
    last = geometry.place(geometry.rows * geometry.columns - 1)
    bottom, top = last[1], geometry.top
    place = geometry.box(
        geometry.width - layout.RIGHT + layout.BAR_GAP, bottom, layout.BAR, top - bottom
    )
    shares = ScalarMappable(look.norm, look.colours)
    bar = figure.colorbar(
        shares, cax=figure.add_axes(place), extend="max" if beyond else "neither", extendfrac=0.03
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9, labelcolor=style.QUIET)
    label = f"{caption.metric} (lower is better)\npower scale ({POWER:g}): finer near the best"
    x, y = (geometry.width - layout.MARGIN) / geometry.width, geometry.middle[1] / geometry.height
    turned: style.ArtistOptions = {
        "rotation": "vertical",
        "ha": "right",
        "va": "center",
        "multialignment": "center",
    }
    figure.text(x, y, label, color=style.INK, fontsize=9.5, **turned)


def _panel(
    axes: "Axes", plane: Plane, panel: Panel, mean: npt.NDArray[np.float64], look: Look
) -> None:
    x, y = plane.axes.x, plane.axes.y
    edges = np.arange(len(x) + 1) - 0.5, np.arange(len(y) + 1) - 0.5
    axes.pcolormesh(
        *edges, mean, cmap=look.colours, norm=look.norm, edgecolors=style.PAPER, linewidth=3
    )
    for row, column in np.ndindex(len(y), len(x)):
        cells.write(axes, panel, (row, column), look)
    if plane.paper is not None:
        star = style.STAR | {"markersize": 1.1 * look.size}
        axes.plot(plane.paper[1] + 0.36, plane.paper[0] + 0.31, zorder=5, **star)
    axes.set_xticks(range(len(x)), [f"{value:g}" for value in x])
    axes.set_yticks(range(len(y)), [f"{value:g}" for value in y])
    axes.tick_params(length=0, labelsize=11 if len(plane.panels) == 1 else 9, labelcolor=style.INK)
    axes.spines[:].set_visible(False)


def _name_axes(figure: "Figure", geometry: layout.FigureLayout, plane: Plane) -> None:
    """Name the axes, once for all panels. The names say that zoneout's probability is one of
    PRESERVING."""
    x, y = (NAMES.get(key, key) for key in (plane.axes.x_key, plane.axes.y_key))
    middle_x, middle_y = geometry.middle
    below = geometry.place(geometry.rows * geometry.columns - 1)[1] - layout.TICKS - 0.06
    look: style.ArtistOptions = {"fontsize": 11, "color": style.INK}
    figure.text(
        middle_x / geometry.width, below / geometry.height, x, ha="center", va="top", **look
    )
    figure.text(
        layout.MARGIN / geometry.width,
        middle_y / geometry.height,
        y,
        ha="left",
        va="center",
        rotation="vertical",
        **look,
    )


def _frame(axes: "Axes", cell: PlaneCell) -> None:
    from matplotlib.patches import Rectangle

    corner = cell[1] - 0.485, cell[0] - 0.485
    axes.add_patch(
        Rectangle(corner, 0.97, 0.97, fill=False, edgecolor=style.BEST, linewidth=3.2, zorder=4)
    )


def _limits(means: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the colour scale. It leaves out far outliers above, which would hide all other
    differences."""
    values = means[~np.isnan(means)]
    if not values.size:
        return 0.0, 1.0
    low, middle, upper = np.quantile(values, (0.0, 0.5, 0.75))
    high = min(values.max(), upper + 4 * max(upper - low, middle - low))
    return float(low), float(max(high, low + 0.01 * min(1.0, abs(low)), low + 1e-9))


def _places(plane: Plane, width: float) -> list["Artist"]:
    """The legend's entries for the frame and the star."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    marks: list[Artist] = []
    if plane.best is not None:
        text = "\n".join(_wrapped([words.best(plane)], width, 9))
        marks.append(
            Rectangle((0, 0), 1, 1, fill=False, edgecolor=style.BEST, linewidth=2.4, label=text)
        )
    if plane.paper is not None:
        text = "\n".join(_wrapped([words.papers_best(plane)], width, 9))
        marks.append(Line2D([], [], label=text, **style.STAR))
    return marks


def _hatchings(plane: Plane) -> list["Artist"]:
    """The legend's entries for the hatchings in the figure."""
    every = [
        (row, column) for row in range(len(plane.axes.y)) for column in range(len(plane.axes.x))
    ]
    reasons = {cells.why(panel, cell) for panel in plane.panels for cell in every}
    return [cells.patch(reason) for reason in cells.WHY if reason in reasons]
