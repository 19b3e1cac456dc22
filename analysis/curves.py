"""Learning curves over epochs (Figures 4, 5 and 7): means over seeds (`compute`) and their drawing
(`draw`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from analysis import style
from analysis.confidence import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 5
"""Curves of at most this many epochs have a dot at each epoch, since a single one draws no line."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One system's mean over seeds, epoch by epoch."""

    title: str
    colour: int
    """Index of its system."""
    word: str
    """The metric in a word: `train` (with masks on), `valid`, ..."""
    dashed: bool
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    half_width: tuple[float, ...]
    """Half of the confidence interval at each epoch; zeros with one seed."""
    seeds: int


@dataclass(frozen=True, kw_only=True)
class CurvePanel:
    """One pair of axes."""

    title: str
    subtitle: str
    y_label: str
    epochs: int
    """The paper's horizontal axis goes from 0 to here."""
    curves: tuple[Curve, ...]
    published: Mapping[str, float] = field(default_factory=dict)
    """The paper's final value by system title: a star at the right edge."""
    y_limits: tuple[float, float] | None = None
    """The paper's vertical axis, which is widened where our curves leave it."""


def compute(
    frame: "pd.DataFrame", systems: Mapping[str, str], metrics: Mapping[str, str], epochs: int
) -> list[Curve]:
    """A curve of each metric, {word: column}, for each system, {label: title}. Those of the last
    metric are solid, the others dashed.

    `frame` has a line per trial and epoch: `label seed epoch` and the metrics. An epoch counts only
    if every seed of its system reached it, so that no curve jumps where a seed ended early. Systems
    without trials have no curve.
    """
    curves = []
    for colour, (label, title) in enumerate(systems.items()):
        trials = frame[(frame["label"] == label) & (frame["epoch"] <= epochs)]
        seeds = trials["seed"].nunique()
        assert not trials.duplicated(["seed", "epoch"]).any(), (
            f"{label}: a mean over something else than seeds"
        )
        reached = trials["epoch"].value_counts()
        complete = sorted(
            int(epoch) for epoch in trials["epoch"].unique() if reached[epoch] == seeds
        )
        for number, (word, metric) in enumerate(metrics.items(), start=1):
            means = [
                Estimate(tuple(trials.loc[trials["epoch"] == epoch, metric])) for epoch in complete
            ]
            curves.append(
                Curve(
                    title=title,
                    colour=colour,
                    word=word,
                    dashed=number < len(metrics),
                    epochs=tuple(complete),
                    mean=tuple(estimate.mean for estimate in means),
                    half_width=tuple(estimate.half_width or 0.0 for estimate in means),
                    seeds=seeds,
                )
            )
    return [curve for curve in curves if curve.epochs]


def draw(panels: Sequence[CurvePanel]) -> "Figure":
    """The panels side by side, with one legend."""
    figure = style.figure(6.2 * len(panels), 5.2)
    handles: style.ArtistOptions = {}
    seeds_differ = len({curve.seeds for panel in panels for curve in panel.curves}) > 1
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        style.title(axes, panel.title, panel.subtitle)
        style.frame(axes, "epoch", panel.y_label)
        for curve in panel.curves:
            handles |= _line(axes, curve, seeds_differ)
        _limit(axes, panel)
        if panel.published and panel.curves:
            handles |= _stars(axes, panel)
    style.legend(figure, list(handles.values()), columns=2 * len(panels))
    return figure


def _line(axes: "Axes", curve: Curve, seeds_differ: bool) -> style.ArtistOptions:
    colour = style.COLOURS[curve.colour % len(style.COLOURS)]
    name = f"{curve.title}: {curve.word}" + (f" (n = {curve.seeds})" if seeds_differ else "")
    x, y, half = np.array(curve.epochs), np.array(curve.mean), np.array(curve.half_width)
    look: style.ArtistOptions = {"dashes": (4, 1.8), "alpha": 0.75} if curve.dashed else {}
    if len(x) <= FEW:
        look |= {
            "clip_on": False,
            "marker": "o",
            "markersize": 4.5,
            "mfc": style.PAPER if curve.dashed else colour,
        }
    (line,) = axes.plot(x, y, color=colour, linewidth=1.8, label=name, **look)
    if half.any():
        axes.fill_between(x, y - half, y + half, color=colour, alpha=0.15, linewidth=0)
    return {name: line}


def _limit(axes: "Axes", panel: CurvePanel) -> None:
    """Set the paper's axes, and widen the vertical one where our curves would leave it."""
    from matplotlib.ticker import MaxNLocator

    shown = [value for curve in panel.curves for value in curve.mean] + list(
        panel.published.values()
    )
    axes.set_xlim(0, panel.epochs)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not shown:
        axes.set_yticks([])
        axes.text(
            0.5,
            0.5,
            "not run",
            transform=axes.transAxes,
            ha="center",
            fontsize=13,
            color=style.QUIET,
        )
        return
    low = min(shown)
    high = max(shown)
    if len(shown) > 40:
        high = float(np.quantile(shown, 0.97))
    if panel.y_limits is not None:
        low = min(low, panel.y_limits[0])
        high = max(panel.y_limits[1], high)
    margin = 0.05 * max(high - low, 1e-3)
    axes.set_ylim(low - margin, high + margin)


def _stars(axes: "Axes", panel: CurvePanel) -> style.ArtistOptions:
    """The paper's final values at the right edge, in the colour of their system."""
    from matplotlib.lines import Line2D

    colours = {
        curve.title: style.COLOURS[curve.colour % len(style.COLOURS)] for curve in panel.curves
    }
    for title, value in panel.published.items():
        star = style.STAR | {"mfc": colours.get(title, style.FAINT)}
        axes.plot(panel.epochs, value, clip_on=False, zorder=5, **star)
    name = "paper's best valid"
    return {name: Line2D([], [], label=name, **style.STAR | {"mfc": style.PAPER})}
