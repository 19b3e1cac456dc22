"""A plane of two hyperparameters: what the trials say of each cell. Pure computation: a table in,
numbers out.

Where more keys than the two axes were searched, there is a panel for each combination of the
others; where these are too many, one panel with the best over them in each cell.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis import points
from analysis.load import plain
from analysis.points import SEED, Point, Searched
from zoneout_core.errors import SpaceError
from zoneout_core.records import CHARACTERS, TrialState

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

X, Y = "regularizer.zoneout.z_cells", "regularizer.zoneout.z_states"
PAPER_PLANE = ("char_ptb", CHARACTERS.objective, X, Y)
"""Task, metric and axes of the one plane of which the paper has a value."""
PAPER_BEST, PAPER_BPC = (0.5, 0.05), 1.362
"""(z_cells, z_states) of the paper's best character model, and its validation bits per character
(Table 1)."""
MOST = 16
"""Values along an axis that can still be read."""
MOST_PANELS = 12
"""Panels that can still be read."""

PlaneCell = tuple[int, int]
"""(row, column) of a plane."""


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Rows are values of `y`, columns of `x`, both ascending."""

    x_key: str
    y_key: str
    x: tuple[float, ...]
    y: tuple[float, ...]

    def cell(self, at: Mapping[str, object]) -> PlaneCell:
        """Where a point lies."""
        return self.y.index(plain(self.y_key, at[self.y_key])), self.x.index(
            plain(self.x_key, at[self.x_key])
        )


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plane."""

    held: Mapping[str, object]
    """What tells it from the other panels: values by key."""
    cells: Mapping[PlaneCell, Point]
    """The point of each cell that the space has; over several combinations, the best of them."""
    combinations: Mapping[PlaneCell, int]
    """How many combinations of the other keys have a value there. One, or more where the cell shows
    their best."""

    def mean(self, axes: Axes) -> "NDArray[np.float64]":
        """[y, x] Means over seeds; NaN in cells without a complete trial."""
        import numpy as np

        found = np.full((len(axes.y), len(axes.x)), np.nan)
        for cell, point in self.cells.items():
            found[cell] = point.mean
        return found


@dataclass(frozen=True, kw_only=True)
class Plane:
    """What the trials say."""

    axes: Axes
    metric: str
    """Lower is better."""
    keys: tuple[str, ...]
    """All that was searched, but the seed."""
    points: tuple[Point, ...]
    """All of them, whatever the panels show."""
    panels: tuple[Panel, ...]
    held: Mapping[str, object]
    """Searched keys that are the same everywhere."""
    over: tuple[str, ...]
    """Other keys, over which each cell shows its best; none = each cell is one point, and `panels`
    has all of them."""
    best: tuple[int, PlaneCell] | None
    """Panel and cell of the lowest mean, the first of equals; None when no trial completed."""
    paper: PlaneCell | None
    """The paper's best cell, where this is the paper's plane and has it."""
    trials: Mapping[TrialState, int]
    """How many there are in each state."""
    repeats: int
    """How many of them a sampler drew again, the seed included: they count once."""


def plane(
    frame: "pd.DataFrame",
    task: str,
    metric: str,
    searched: Searched,
    x_key: str = X,
    y_key: str = Y,
) -> Plane:
    """The plane of a task's table of trials (`analysis.load`); `metric` is one of its columns.

    Only complete trials count; the others are counted by their state. Raises `SpaceError` when a
    key was not searched, is not a number, or has too many values for a plane.
    """
    if SEED in (x_key, y_key):
        searched = replace(searched, keys=(*searched.keys, SEED))
    found = points.compute(frame, metric, searched)
    known = [*(point.at for point in found), *searched.points]
    axes = Axes(
        x_key=x_key,
        y_key=y_key,
        x=_axis(known, searched.keys, x_key),
        y=_axis(known, searched.keys, y_key),
    )
    held, varied = _told_apart(found, [key for key in searched.keys if key not in (x_key, y_key)])
    panels = _panels(found, axes, varied)
    if not searched.points:  # whatever was not drawn may be in the space
        panels = [_filled(panel, axes) for panel in panels]
    if len(panels) > MOST_PANELS or not searched.whole:
        over = varied
    else:
        over = ()
    if over:
        panels = [_best_over(found, axes, {axes.cell(at) for at in searched.points})]
    return Plane(
        axes=axes,
        metric=metric,
        keys=searched.keys,
        points=tuple(found),
        panels=tuple(panels),
        held=held,
        over=tuple(over),
        best=_lowest(panels),
        paper=_paper(axes) if (task, metric, x_key, y_key) == PAPER_PLANE else None,
        trials=Counter(TrialState(state) for state in frame["state"]),
        repeats=len(frame) - sum(len(point.values) + sum(point.lost.values()) for point in found),
    )


def _told_apart(
    found: Iterable[Point], others: Iterable[str]
) -> tuple[dict[str, object], tuple[str, ...]]:
    """What all points have in common of these keys, and which keys tell them apart."""
    values = {key: list(dict.fromkeys(point.at.get(key) for point in found)) for key in others}
    held = {key: given[0] for key, given in values.items() if len(given) == 1}
    return held, tuple(key for key in values if key not in held)


def _panels(found: Iterable[Point], axes: Axes, varied: Sequence[str]) -> list[Panel]:
    """One for each combination of the keys that vary."""
    by_combination: dict[tuple[object, ...], dict[PlaneCell, Point]] = {}
    for point in found:
        by_combination.setdefault(tuple(point.at.get(key) for key in varied), {})[
            axes.cell(point.at)
        ] = point
    return [
        Panel(
            held={
                key: value
                for key, value in zip(varied, combination, strict=True)
                if value is not None
            },
            cells=cells,
            combinations={cell: 1 for cell, point in cells.items() if point.values},
        )
        for combination, cells in by_combination.items()
    ]


def _filled(panel: Panel, axes: Axes) -> Panel:
    every = [(row, column) for row in range(len(axes.y)) for column in range(len(axes.x))]
    return replace(
        panel, cells={cell: panel.cells.get(cell, _nothing(axes, cell, [])) for cell in every}
    )


def _best_over(found: Iterable[Point], axes: Axes, known: Collection[PlaneCell]) -> Panel:
    """One panel over all combinations: of each cell its best point, or all that was lost there."""
    at: dict[PlaneCell, list[Point]] = {cell: [] for cell in known}
    for point in found:
        at.setdefault(axes.cell(point.at), []).append(point)
    done = {cell: [point for point in those if point.values] for cell, those in at.items()}
    cells = {
        cell: (
            min(done[cell], key=lambda point: point.mean)
            if done[cell]
            else _nothing(axes, cell, those)
        )
        for cell, those in at.items()
    }
    return Panel(
        held={},
        cells=cells,
        combinations={cell: len(those) for cell, those in done.items() if those},
    )


def _nothing(axes: Axes, cell: PlaneCell, those: Iterable[Point]) -> Point:
    """A cell that has no value, whatever the other keys are."""
    lost: Counter[TrialState] = Counter()
    for point in those:
        lost.update(point.lost)
    row, column = cell
    return Point(
        at={axes.x_key: axes.x[column], axes.y_key: axes.y[row]},
        values=(),
        lost=lost,
        seeds=sum(lost.values()),
    )


def _axis(
    known: Iterable[Mapping[str, object]], keys: Collection[str], key: str
) -> tuple[float, ...]:
    """The distinct values of a key, ascending."""
    another = "Choose others with: sweep report RUN --x-axis KEY --y-axis KEY"
    if key not in keys:
        raise SpaceError(
            f"An axis of the heatmap must be a searched key, but {key!r} is none of {sorted(keys)}."
            f" {another}"
        )
    given = {plain(key, at[key]) if key in at else math.nan for at in known}
    if any(isinstance(value, str) for value in given):
        words = sorted(str(value) for value in given)
        raise SpaceError(
            f"An axis of the heatmap must be a number, but {key!r} has {words}. {another}"
        )
    if len(given) > MOST or any(math.isnan(value) for value in given):
        raise SpaceError(
            f"An axis of the heatmap must be a grid of at most {MOST} values, but {key!r} has"
            f" {len(given)}. Look at the table instead: sweep export RUN"
        )
    return tuple(sorted(given))


def _lowest(panels: Iterable[Panel]) -> tuple[int, PlaneCell] | None:
    means = [
        (point.mean, number, cell)
        for number, panel in enumerate(panels)
        for cell, point in panel.cells.items()
        if point.values
    ]
    if not means:
        return None
    return min(means)[1:]


def _paper(axes: Axes) -> PlaneCell | None:
    z_cells, z_states = PAPER_BEST
    if z_cells in axes.x and z_states in axes.y:
        return axes.cell({axes.x_key: z_cells, axes.y_key: z_states})
    return None
