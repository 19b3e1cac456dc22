"""Bars of systems (Figure 3, right): our means with their confidence intervals, and the paper's
values as stars."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import style
from analysis.paper_table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One system."""

    title: str
    ours: float | None
    half_width: float | None
    """Half of the confidence interval; None with one seed."""
    paper: float | None
    state: str
    seeds: int = 0
    """How many seeds completed."""


def compute(table: Table, metric: str) -> list[Bar]:
    """A bar for each line of the table, in its order."""
    (number,) = [index for index, column in enumerate(table.columns) if column.metric == metric]
    return [
        Bar(
            title=line.row.title,
            ours=entry.ours.mean if entry.ours else None,
            half_width=entry.ours.half_width if entry.ours else None,
            paper=entry.paper,
            state=line.state,
            seeds=len(line.seeds),
        )
        for line in table.lines
        for entry in (line.entries[number],)
    ]


def draw(bars: Sequence[Bar], title: str, subtitle: str, x_label: str) -> "Figure":
    """Horizontal bars, the first system at the top. The axis begins near the best value, not at
    zero, and says so."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure = style.figure(8.4, 2.0 + 0.52 * len(bars))
    axes = figure.add_subplot()
    style.title(axes, title, subtitle)
    style.frame(axes, f"{x_label}; the axis does not begin at 0", "")
    axes.grid(visible=False, axis="y")
    low, high = _limits(bars)
    seeds_differ = len({bar.seeds for bar in bars if bar.ours is not None}) > 1
    for place, bar in enumerate(bars):
        _bar(axes, place, bar, low, high, seeds_differ)
    axes.set_yticks(range(len(bars)), [bar.title for bar in bars])
    axes.invert_yaxis()
    axes.set_xlim(low, high)
    handles: list[object] = [
        Patch(color=style.COLOURS[1], label="ours (whiskers: 95 % confidence over seeds)")
    ]
    if any(bar.paper is not None for bar in bars):
        handles.append(Line2D([], [], label="paper", **style.STAR))
    style.legend(figure, handles, columns=2)
    return figure


def _limits(bars: Sequence[Bar]) -> tuple[float, float]:
    """The ends of the axis, with room at the left for the numbers inside the bars."""
    ends = [
        bar.ours + sign * (bar.half_width or 0.0)
        for bar in bars
        if bar.ours is not None
        for sign in (-1, 1)
    ]
    values = [*ends, *(bar.paper for bar in bars if bar.paper is not None)]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    width = max(high - low, 0.05 * high)
    return low - 0.3 * width, high + 0.08 * width


def _bar(axes: "Axes", place: int, bar: Bar, low: float, high: float, seeds_differ: bool) -> None:
    if bar.ours is None:
        axes.text(low, place, f"  {bar.state}", va="center", fontsize=9, color=style.QUIET)
    else:
        axes.barh(place, bar.ours - low, left=low, height=0.62, color=style.COLOURS[1], alpha=0.85)
        if seeds_differ:
            n = f"  (n = {bar.seeds})"
        else:
            n = ""
        axes.text(low, place, f"  {bar.ours:.3f}{n}", va="center", fontsize=10, color=style.PAPER)
        if bar.half_width is not None:
            axes.errorbar(
                bar.ours, place, xerr=bar.half_width, color=style.INK, capsize=4, linewidth=1.4
            )
    if bar.paper is not None:
        axes.plot(bar.paper, place, zorder=5, **style.STAR)
